"""What splitting costs: decode by the bare engine against three devices of one thread each, in turn.

Run `make bench`, or `python -m benchmarks.split_overhead [ROUNDS]`. Both decode the same answer with one
thread at a time. Prints the medians and the ratio round by round, and writes them with the machine's
description to benchmarks/results/split_overhead.json.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.beside.bare import decode_rate
from mesh.adapters.disk_library import DiskLibrary
from mesh.store.shelf import ModelStore
from nodes.options import DEFAULT_MODEL, default_data_dir
from simulator.real.machine import describe_machine

NUM_TOKENS = 150
PROMPT = "Tell me a story about a fox."
RESULTS = Path(__file__).parent / "results" / "split_overhead.json"


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
    store = ModelStore(default_data_dir())
    path, spec = store.path(DEFAULT_MODEL), asyncio.run(DiskLibrary(store).spec(DEFAULT_MODEL))
    rounds = []
    for _ in range(num_rounds):
        bare = decode_rate(path, spec, NUM_TOKENS)
        split, first_s = three_devices()
        rounds.append({"bare": round(bare, 1), "split": round(split, 1), "first_token_s": round(first_s, 2)})
        print(f"bare {bare:5.1f} tokens/s   three devices {split:5.1f}   ratio {split / bare:.2f}")  # noqa: T201
    ratio = statistics.median(one["split"] / one["bare"] for one in rounds)
    print(f"median ratio {ratio:.2f}")  # noqa: T201
    result = {"machine": describe_machine(), "rounds": rounds, "median_ratio": round(ratio, 3)}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
