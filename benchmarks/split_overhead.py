"""What splitting costs: decode by the bare engine against three devices of one thread each, in turn.

Run `make bench`, or `python -m benchmarks.split_overhead [ROUNDS]`. Both decode the same answer with one
thread at a time. Prints the medians and the ratio round by round, and writes them with the machine's
description to benchmarks/results/split_overhead.json.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from mesh.adapters.torch_engine import TorchEngine
from mesh.model.families import model_spec
from mesh.model.gguf import GgufFile
from mesh.ports import Sampled, Step
from mesh.spec import ModelSpec
from mesh.store.shelf import ModelStore
from mesh.types import CacheKey, Precision, Sampling, SessionId, StageKey, TokenIds
from nodes.options import DEFAULT_MODEL, default_data_dir

NUM_TOKENS = 150
NUM_PROMPT_TOKENS = 40
PROMPT = "Tell me a story about a fox."
RESULTS = Path(__file__).parent / "results" / "split_overhead.json"


def bare_engine(path: Path, spec: ModelSpec) -> float:
    """Tokens a second of the whole model in this process, from the first token to the last."""
    torch.set_num_threads(1)
    engine, key = TorchEngine(), StageKey(spec.digest, spec.whole, Precision.INT4)
    cache = CacheKey(SessionId("bench"), key)
    engine.load(key, path, spec)
    engine.open(cache, 1024, Sampling())
    ids = tuple(range(1000, 1000 + NUM_PROMPT_TOKENS))
    drawn = engine.run(Step(cache, 0, TokenIds(ids), sample=True))
    began_s = time.perf_counter()  # noqa: TID251  a benchmark runs on the real clock
    for _ in range(NUM_TOKENS - 1):
        assert isinstance(drawn, Sampled)
        drawn = engine.run(Step(cache, drawn.position, TokenIds((drawn.token,)), sample=True))
    return (NUM_TOKENS - 1) / (time.perf_counter() - began_s)  # noqa: TID251


def three_devices() -> tuple[float, float]:
    """Tokens a second of `mesh demo`, and seconds from its start to the first token."""
    words = ("demo", "--json", "--seed", "1", "--max-tokens", str(NUM_TOKENS), "--prompt", PROMPT)
    shown = subprocess.run(
        [sys.executable, "-m", "nodes.cli", *words], capture_output=True, text=True, check=True
    )
    answer = json.loads(shown.stdout)
    return answer["tokens_per_s"], answer["start_to_first_token_s"]


def main() -> None:
    """Measure in turn and write the result."""
    num_rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    path, ref = ModelStore(default_data_dir()).verified(DEFAULT_MODEL)
    with GgufFile.open(path) as file:
        spec = model_spec(file, ref.name, ref.digest)
    rounds = []
    for _ in range(num_rounds):
        bare = bare_engine(path, spec)
        split, first_s = three_devices()
        rounds.append({"bare": round(bare, 1), "split": round(split, 1), "first_token_s": round(first_s, 2)})
        print(f"bare {bare:5.1f} tokens/s   three devices {split:5.1f}   ratio {split / bare:.2f}")  # noqa: T201
    ratio = statistics.median(one["split"] / one["bare"] for one in rounds)
    print(f"median ratio {ratio:.2f}")  # noqa: T201
    machine = {"cpu": _cpu(), "python": platform.python_version(), "torch": torch.__version__}
    result = {"machine": machine, "rounds": rounds, "median_ratio": round(ratio, 3)}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main()
