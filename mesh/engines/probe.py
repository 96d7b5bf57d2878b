"""How fast this device computes: the speeds of an engine on one span, measured in a few seconds.

Owns what is run and how figures come of it. The clock is the caller's. Must not know where models lie, or
where the record is kept.

What is run, for a span that has the output head: frames of 256 rows; then steps of one token for each of 1,
2, 4 and 8 sessions, with the head and without it in turn, so that both are known. Each figure is the
fastest of its kind: what else the device does can only slow it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mesh.engines.copying import copy_rate
from mesh.engines.engine import Engine
from mesh.errors import MeshError
from mesh.model.bf16 import narrow
from mesh.ports import Prefix, Step
from mesh.spec import ModelSpec
from mesh.types import (
    SPEED_VERSION,
    CacheKey,
    Hidden,
    Payload,
    Precision,
    Sampling,
    SessionId,
    Span,
    SpeedRecord,
    StageKey,
    StepSpeed,
    TokenIds,
)

PREFILL_ROWS = 256
NUM_SESSIONS = (1, 2, 4, 8)
MOST_LAYERS_BYTES = 256 * 2**20
"""Of the layers that are measured: more than any cache of a processor holds, so memory is what is met."""

_LEAST_S = 1e-9
_CONTEXT = PREFILL_ROWS + 1
_GREEDY = Sampling()
_PREFILL_SHARE, _STEP_SHARE, _COPY_SHARE = 0.35, 0.12, 0.12  # of the time, a step's for each of NUM_SESSIONS


@dataclass(frozen=True, slots=True)
class Subject:
    """A model on disk, on which speed is measured."""

    path: Path
    spec: ModelSpec
    precision: Precision = Precision.INT4

    @property
    def key(self) -> StageKey:
        """The last layers and the output head, so many layers as MOST_LAYERS_BYTES hold; at least one."""
        spec = self.spec
        fitting = MOST_LAYERS_BYTES // spec.layer_bytes(self.precision)
        num_layers = min(spec.num_layers, max(1, fitting))
        return StageKey(spec.digest, Span(spec.num_layers - num_layers, spec.num_layers), self.precision)


@dataclass(frozen=True, slots=True)
class Probed:
    """An engine and what it is."""

    engine: Engine
    name: str
    kind: str
    """For which processor its arithmetic was made."""
    num_threads: int


@dataclass(frozen=True, slots=True)
class Watch:
    """How time is told, and how much of it there is."""

    clock: Callable[[], float]
    """Seconds; its zero means nothing."""
    seconds: float
    """For all that is timed; loading comes before, and a slow device takes longer."""

    def fastest(self, works: Sequence[Callable[[], None]], share: float) -> list[float]:
        """Do pieces of work in turn, once at least, for a share of the time; return each one's least."""
        began_s = self.clock()
        rounds: list[list[float]] = []
        while not rounds or self.clock() - began_s < share * self.seconds:
            rounds.append([self._seconds(work) for work in works])
        return [min(times) for times in zip(*rounds, strict=True)]

    def _seconds(self, work: Callable[[], None]) -> float:
        began_s = self.clock()
        work()
        return max(self.clock() - began_s, _LEAST_S)


def probe(probed: Probed, subject: Subject, watch: Watch) -> SpeedRecord:
    """Measure an engine on a model; afterwards it holds nothing of it.

    Raises what loading and running raise: ModelCorrupt, UnsupportedModel, NotFinite.
    """
    key, spec = subject.key, subject.spec
    probed.engine.load(key, subject.path, spec)
    sessions = _Sessions(probed.engine, key, spec)
    try:
        sessions.open()
        (prefill_s,) = watch.fastest([sessions.prefill], _PREFILL_SHARE)
        steps = tuple(_step_speed(sessions, count, watch) for count in NUM_SESSIONS)
    finally:
        sessions.close()
        probed.engine.unload(key)
    return SpeedRecord(
        version=SPEED_VERSION,
        engine=probed.name,
        kind=probed.kind,
        num_threads=probed.num_threads,
        model=spec.name,
        precision=key.precision,
        num_layers=spec.num_layers,
        layer_bytes=spec.layer_bytes(key.precision),
        steps=steps,
        prefill_layer_row_s=prefill_s / PREFILL_ROWS / key.span.num_layers,
        memory_rate_bytes_per_s=copy_rate(probed.num_threads, watch.clock, _COPY_SHARE * watch.seconds),
    )


def _step_speed(sessions: _Sessions, num_sessions: int, watch: Watch) -> StepSpeed:
    """Time steps without the head and with it in turn: what slows the machine for a while slows both."""
    works = [partial(sessions.step, num_sessions, sample=sample) for sample in (False, True)]
    layers_s, all_s = watch.fastest(works, _STEP_SHARE)
    return StepSpeed(num_sessions, layers_s / sessions.num_layers, max(all_s - layers_s, _LEAST_S))


class _Sessions:
    """Sessions on one loaded span, each with as many positions behind it as a prefill has rows."""

    def __init__(self, engine: Engine, key: StageKey, spec: ModelSpec) -> None:
        self.num_layers = key.span.num_layers
        self._engine = engine
        names = [SessionId(f"{index:016x}") for index in range(NUM_SESSIONS[-1])]
        self._caches = [CacheKey(name, key) for name in names]
        self._rows = _payload(spec, key.span, PREFILL_ROWS)
        self._row = _payload(spec, key.span, 1)

    def open(self) -> None:
        """Compute the first session's positions, which also warms up, and copy them to the others."""
        first, *others = self._caches
        self._engine.open(first, _CONTEXT, _GREEDY)
        self.prefill()
        for cache in others:
            self._engine.open(cache, _CONTEXT, _GREEDY, Prefix(first, PREFILL_ROWS))

    def prefill(self) -> None:
        """Compute the first session's positions again."""
        self._run([Step(self._caches[0], 0, self._rows, sample=False)])

    def step(self, num_sessions: int, *, sample: bool) -> None:
        """Compute one position of so many sessions, always the same one."""
        some = self._caches[:num_sessions]
        self._run([Step(cache, PREFILL_ROWS, self._row, sample) for cache in some])

    def close(self) -> None:
        """Free what was opened."""
        for cache in self._caches:
            self._engine.close(cache)

    def _run(self, steps: Sequence[Step]) -> None:
        for result in self._engine.run(steps):
            if isinstance(result, MeshError):
                raise result


def _payload(spec: ModelSpec, span: Span, num_rows: int) -> Payload:
    """Tokens where the span begins with them, else hidden states of a usual size in bf16."""
    rng = np.random.default_rng(0)
    if spec.is_first(span):
        return TokenIds(tuple(rng.integers(0, spec.vocab_size, num_rows).tolist()))
    rows = rng.standard_normal((num_rows, spec.hidden_size), np.float32)
    return Hidden(narrow(rows).tobytes())
