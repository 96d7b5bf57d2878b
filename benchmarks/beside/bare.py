"""The bare engine: the whole model in one process and one thread, without network, roles or clients.

Run as `python -m benchmarks.beside.bare DATA_DIR MODEL TOKENS`; prints tokens a second, from the first token
to the last, as one JSON number. The engine is the one that an agent of this machine takes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from mesh.adapters.disk_library import DiskLibrary
from mesh.engines.choosing import EngineName, engine_maker
from mesh.engines.engine import Engine
from mesh.errors import InternalError
from mesh.ports import Sampled, Step
from mesh.spec import ModelSpec
from mesh.store.shelf import ModelStore
from mesh.types import CacheKey, Precision, Sampling, SessionId, StageKey, TokenIds

_CONTEXT = 2048
_NUM_PROMPT_TOKENS = 40
_FIRST_TOKEN = 1000  # of a prompt that means nothing


def decode_rate(path: Path, spec: ModelSpec, num_tokens: int) -> float:
    """Tokens a second after the first; num_tokens must be 2 or more."""
    engine = engine_maker(EngineName.AUTO, 1)()
    cache = CacheKey(SessionId("bench"), StageKey(spec.digest, spec.whole, Precision.INT4))
    engine.load(cache.stage, path, spec)
    engine.open(cache, _CONTEXT, Sampling())
    prompt = tuple(range(_FIRST_TOKEN, _FIRST_TOKEN + _NUM_PROMPT_TOKENS))
    drawn = _draw(engine, Step(cache, 0, TokenIds(prompt), sample=True))
    began_s = time.perf_counter()  # noqa: TID251  a benchmark runs on the real clock
    for _ in range(num_tokens - 1):
        drawn = _draw(engine, Step(cache, drawn.position, TokenIds((drawn.token,)), sample=True))
    return (num_tokens - 1) / (time.perf_counter() - began_s)  # noqa: TID251


def _draw(engine: Engine, step: Step) -> Sampled:
    (result,) = engine.run([step])
    if not isinstance(result, Sampled):
        raise InternalError(f"the engine drew no token: {result}")
    return result


def main() -> None:
    """Measure once."""
    data_dir, model, num_tokens = sys.argv[1:]
    store = ModelStore(Path(data_dir))
    spec = asyncio.run(DiskLibrary(store).spec(model))
    print(json.dumps(decode_rate(store.path(model), spec, int(num_tokens))))  # noqa: T201  read by `rounds`


if __name__ == "__main__":
    main()
