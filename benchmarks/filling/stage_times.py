"""What a third of SmolLM2 takes on this machine: a frame, each further row, and a guess.

Owns the measuring. Must not know what it is used for.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesh.engines.choosing import EngineName, engine_maker
from mesh.engines.engine import Engine
from mesh.model.bf16 import narrow
from mesh.ports import Step
from mesh.spec import ModelSpec
from mesh.types import CacheKey, Hidden, Precision, Sampling, SessionId, Span, StageKey, TokenIds

NUM_STAGES = 3
_ROUNDS = 60
_POSITION = 100
_FEW, _MANY = 1, 8


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Seconds, the median of many frames."""

    step_s: float
    """A frame of no rows: what is left when each row's time is taken away."""
    row_s: float
    head_s: float
    """What the head adds at the last stage."""
    layer_s: float

    @property
    def guess_s(self) -> float:
        """A guess is a layer and the head."""
        return self.layer_s + self.head_s


def measured(path: Path, spec: ModelSpec) -> StageTimes:
    """Measure a middle and the last third on one thread."""
    engine = engine_maker(EngineName.AUTO, num_threads=1)()
    size = spec.num_layers // NUM_STAGES
    middle = _Stage.loaded(engine, path, spec, Span(size, 2 * size))
    last = _Stage.loaded(engine, path, spec, Span(2 * size, spec.num_layers))
    one_s, many_s = middle.seconds(_FEW), middle.seconds(_MANY)
    row_s = max(0.0, many_s - one_s) / (_MANY - _FEW)
    head_s = max(0.0, last.seconds(_FEW) - one_s)
    return StageTimes(one_s - row_s, row_s, head_s, one_s / size)


@dataclass(frozen=True, slots=True)
class _Stage:
    engine: Engine
    spec: ModelSpec
    cache: CacheKey

    @classmethod
    def loaded(cls, engine: Engine, path: Path, spec: ModelSpec, span: Span) -> _Stage:
        key = StageKey(spec.digest, span, Precision.INT4)
        engine.load(key, path, spec)
        stage = cls(engine, spec, CacheKey(SessionId("a"), key))
        engine.open(stage.cache, _POSITION + _MANY, Sampling())
        stage.run(0, _POSITION)
        return stage

    def run(self, start: int, num_rows: int) -> None:
        """Run rows of noise; what they are does not matter to the time."""
        if self.spec.is_first(self.cache.stage.span):
            payload: TokenIds | Hidden = TokenIds(tuple(range(num_rows)))
        else:
            payload = Hidden(narrow(_noise(num_rows, self.spec.hidden_size)).tobytes())
        self.engine.run([Step(self.cache, start, payload, sample=True)])

    def seconds(self, num_rows: int) -> float:
        """The median of many frames of so many rows."""
        seen: list[float] = []
        for _ in range(_ROUNDS):
            began_s = time.perf_counter()  # noqa: TID251  a benchmark runs on the real clock
            self.run(_POSITION, num_rows)
            seen.append(time.perf_counter() - began_s)  # noqa: TID251
        return statistics.median(seen)


def _noise(num_rows: int, size: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((num_rows, size)).astype(np.float32)
