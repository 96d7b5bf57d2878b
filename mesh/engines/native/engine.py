"""The engine on our own kernels.

Owns stages, caches and the way from a frame's bytes to rows and back. Must not know threads or messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesh.engines.native.cache import KvCache
from mesh.engines.native.kernels import Kernels
from mesh.engines.native.stage import Run, Stage
from mesh.errors import (
    InternalError,
    MeshError,
    NotFinite,
    ShapeMismatch,
    StageNotLoaded,
    UnknownSession,
    UnsupportedModel,
)
from mesh.model.sampling import sample
from mesh.ports import Prefix, Sampled, Step, StepResult
from mesh.spec import ModelSpec
from mesh.types import CacheKey, Hidden, Payload, Precision, Sampling, StageKey, TokenIds

_PRECISIONS = (Precision.INT4, Precision.INT8)
_HEAD_UNIT = 16  # numbers that the kernels take at once: heads are whole multiples


@dataclass(frozen=True, slots=True)
class _Open:
    stage: Stage
    cache: KvCache
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class _Work:
    """A frame whose rows are ready to be computed."""

    index: int
    """Which of the batch's steps it is."""
    step: Step
    run: Run
    session: _Open


def runs(key: StageKey, spec: ModelSpec) -> bool:
    """Whether this engine computes such a stage."""
    return key.precision in _PRECISIONS and spec.head_dim % _HEAD_UNIT == 0


class NativeEngine:
    """Stages in this process's memory; see `mesh.engines.engine.Engine`."""

    def __init__(self, kernels: Kernels, num_threads: int) -> None:
        self._kernels = kernels
        self._num_threads = num_threads
        self._stages: dict[StageKey, Stage] = {}
        self._caches: dict[CacheKey, _Open] = {}

    def load(self, key: StageKey, path: Path, spec: ModelSpec) -> int:
        """Read a span's weights, packed before or packed now; return their bytes."""
        if key not in self._stages:
            if not runs(key, spec):
                raise UnsupportedModel(
                    f"{spec.name} in {key.precision} with heads of {spec.head_dim}: the native engine takes "
                    f"{' and '.join(_PRECISIONS)} and heads in multiples of {_HEAD_UNIT}; use --engine torch"
                )
            self._stages[key] = Stage.load(self._kernels, path, spec, key)
        return self._stages[key].weights_bytes

    def unload(self, key: StageKey) -> None:
        """Free a span's weights."""
        self._stages.pop(key, None)

    def open(self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None) -> int:
        """Allot a session's cache, maybe with the beginning of another one."""
        stage = self._stages.get(cache.stage)
        if stage is None:
            raise StageNotLoaded(f"layers {cache.stage.span} are not loaded")
        allotted = stage.new_cache(context)
        source = self._caches.get(prefix.source) if prefix else None
        if prefix and source:
            allotted.copy_from(source.cache, min(prefix.positions, source.cache.length, context))
        self._caches[cache] = _Open(stage, allotted, sampling)
        return allotted.length

    def close(self, cache: CacheKey) -> None:
        """Free a session's cache."""
        self._caches.pop(cache, None)

    def run(self, steps: Sequence[Step]) -> list[StepResult]:
        """Run frames of one stage as a batch; products are made over all rows at once."""
        results: list[StepResult] = [None] * len(steps)
        works: list[_Work] = []
        for index, step in enumerate(steps):
            try:
                works.append(self._begun(index, step))
            except MeshError as error:
                results[index] = error
        if works:
            self._compute(works, results)
        return results

    def _begun(self, index: int, step: Step) -> _Work:
        session = self._caches.get(step.cache)
        if session is None:
            raise UnknownSession(f"session {step.cache.session_id} is not open here")
        rows = _rows_of(step.payload, session.stage)
        session.cache.begin(step.start, len(rows))
        return _Work(index, step, Run(session.cache, step.start, rows), session)

    def _compute(self, works: Sequence[_Work], results: list[StepResult]) -> None:
        stage = works[0].session.stage
        bad_layers = stage.forward([work.run for work in works], self._num_threads)
        sampled = []
        for work, bad_layer in zip(works, bad_layers, strict=True):
            if bad_layer is not None:
                results[work.index] = _not_finite(work, bad_layer)
                continue
            work.session.cache.finish(len(work.run.hidden))
            if not stage.spec.is_last(stage.span):
                results[work.index] = Hidden(_to_bytes(work.run.hidden))
            elif work.step.sample:
                sampled.append(work)
        if sampled:
            self._sample(stage, sampled, results)

    def _sample(self, stage: Stage, works: Sequence[_Work], results: list[StepResult]) -> None:
        last_rows = np.concatenate([work.run.hidden[-1:] for work in works])
        for work, logits in zip(works, stage.logits(last_rows, self._num_threads), strict=True):
            position = work.step.start + len(work.run.hidden)
            try:
                token = sample(logits, work.session.sampling, position)
                results[work.index] = Sampled(position, token)
            except InternalError as error:
                results[work.index] = error


def _rows_of(payload: Payload, stage: Stage) -> NDArray[np.float32]:
    """Make a frame's payload hidden states [tokens, hidden] float32; raise ShapeMismatch."""
    match payload:
        case TokenIds(ids):
            if not ids:
                raise ShapeMismatch("a frame without tokens")
            return stage.embed(np.asarray(ids, np.int64))
        case Hidden(data):
            return _to_rows(data, stage)
    raise InternalError(f"a payload of type {type(payload).__name__}")


def _to_rows(data: bytes, stage: Stage) -> NDArray[np.float32]:
    """Widen bf16, which numpy does not have, to float32: its bits are the upper half."""
    size = stage.spec.hidden_size
    if stage.spec.is_first(stage.span):
        raise ShapeMismatch(f"span {stage.span} takes tokens, not hidden states")
    if not data or len(data) % (2 * size):
        raise ShapeMismatch(f"{len(data)} bytes of hidden states are no rows of {size} bf16")
    wide = np.frombuffer(data, "<u2").astype(np.uint32) << np.uint32(16)
    return wide.view(np.float32).reshape(-1, size)


def _to_bytes(hidden: NDArray[np.float32]) -> bytes:
    """Narrow float32 that are numbers of bf16 already."""
    return (hidden.view(np.uint32) >> np.uint32(16)).astype("<u2").tobytes()


def _not_finite(work: _Work, bad_layer: int) -> NotFinite:
    name = work.session.stage.spec.name
    return NotFinite(
        f"layer {bad_layer} of {name} made numbers that are none, in positions from {work.step.start} on; "
        "the model's file or the input of that layer may be damaged: pull the model again"
    )
