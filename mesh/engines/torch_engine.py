"""The engine on torch: stages, caches and the steps through them, synchronous.

Owns the way from a frame's bytes to tensors and back. Must not know threads or messages:
`mesh.engines.compute` calls it on a thread of its own. Importing this module imports torch, which takes
seconds. All stages of an engine live in one placement: on the processor, or on a graphics card. Tokens are
drawn on the processor everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from mesh.errors import (
    InsufficientMemory,
    InternalError,
    MeshError,
    NotFinite,
    ShapeMismatch,
    StageNotLoaded,
    UnknownSession,
)
from mesh.model.kv_cache import KvCache
from mesh.model.placement import ON_PROCESSOR, Placement
from mesh.model.sampling import sample
from mesh.model.stage import Run, Stage
from mesh.ports import Prefix, Sampled, Step, StepResult
from mesh.spec import ModelSpec
from mesh.types import CacheKey, Hidden, Payload, Sampling, StageKey, TokenIds


@dataclass(frozen=True, slots=True)
class _Open:
    stage: Stage
    cache: KvCache
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class _Work:
    """A frame that has begun."""

    index: int
    """Which of the batch's steps it is."""
    step: Step
    run: Run
    session: _Open


class TorchEngine:
    """Stages in this process's memory, or in a graphics card's; see `mesh.engines.engine.Engine`.

    Raises InsufficientMemory beside what the protocol says, where a card is full.
    """

    def __init__(self, placement: Placement = ON_PROCESSOR) -> None:
        self._placement = placement
        self._stages: dict[StageKey, Stage] = {}
        self._caches: dict[CacheKey, _Open] = {}

    def load(self, key: StageKey, path: Path, spec: ModelSpec) -> int:
        """Read a span's weights; return their bytes."""
        if key not in self._stages:
            with self._full(f"layers {key.span} of {spec.name}"):
                self._stages[key] = Stage.load(path, spec, key.span, key.precision, self._placement)
        return self._stages[key].weights_bytes

    def unload(self, key: StageKey) -> None:
        """Free a span's weights."""
        self._stages.pop(key, None)

    def open(self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None) -> int:
        """Allot a session's cache, maybe with the beginning of another one."""
        stage = self._stages.get(cache.stage)
        if stage is None:
            raise StageNotLoaded(f"layers {cache.stage.span} are not loaded")
        with self._full(f"a session of {context} positions"):
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
        """Run frames of one stage as a batch; products are made over all rows where the stage `batches`."""
        results: list[StepResult] = [None] * len(steps)
        works: list[_Work] = []
        for index, step in enumerate(steps):
            try:
                works.append(self._begun(index, step))
            except MeshError as error:
                results[index] = error
        if works:
            with self._full(f"a batch of {len(works)} frames"):
                _compute(works, results)
        return results

    def _begun(self, index: int, step: Step) -> _Work:
        session = self._caches.get(step.cache)
        if session is None:
            raise UnknownSession(f"session {step.cache.session_id} is not open here")
        run = Run(_to_rows(step.payload, session.stage), step.start, session.cache)
        session.stage.begin(run)
        return _Work(index, step, run, session)

    @contextmanager
    def _full(self, what: str) -> Iterator[None]:
        """Say in our own words that a card is full; torch's are many lines."""
        try:
            yield
        except RuntimeError as error:
            # Apple's is a plain RuntimeError of torch.
            if isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error):
                where = self._placement.device
                text = f"the memory of {where} is full: no room for {what}; lend less with --memory"
                raise InsufficientMemory(text) from error
            raise


def _compute(works: Sequence[_Work], results: list[StepResult]) -> None:
    stage = works[0].session.stage
    sampled: list[tuple[_Work, torch.Tensor]] = []
    for work, hidden in zip(works, stage.compute([work.run for work in works]), strict=True):
        if isinstance(hidden, NotFinite):
            results[work.index] = hidden
        elif not stage.spec.is_last(stage.span):
            results[work.index] = Hidden(_to_bytes(hidden))
        elif work.step.sample:
            sampled.append((work, hidden[-1:]))
    if sampled:
        _sample(stage, sampled, results)


def _sample(stage: Stage, works: Sequence[tuple[_Work, torch.Tensor]], results: list[StepResult]) -> None:
    """Draw a token for each frame from its last row, [1, hidden]."""
    for (work, _), logits in zip(works, stage.scores([row for _, row in works]), strict=True):
        position = work.step.start + len(work.run.rows)
        try:
            results[work.index] = Sampled(position, sample(logits.numpy(), work.session.sampling, position))
        except InternalError as error:
            results[work.index] = error


def _to_rows(payload: Payload, stage: Stage) -> torch.Tensor:
    """Make a frame's payload a tensor: token ids [tokens], or hidden states [tokens, hidden]."""
    match payload:
        case TokenIds(ids):
            return torch.tensor(ids, dtype=torch.int64)
        case Hidden(data):
            dtype, size = stage.row_type, stage.spec.hidden_size
            if not data or len(data) % (size * dtype.itemsize):
                raise ShapeMismatch(f"{len(data)} bytes of hidden states are no rows of {size} {dtype}")
            return torch.frombuffer(bytearray(data), dtype=dtype).view(-1, size)
    raise InternalError(f"a payload of type {type(payload).__name__}")


def _to_bytes(hidden: torch.Tensor) -> bytes:
    # numpy has no bf16: the bytes pass as integers.
    return hidden.contiguous().view(torch.uint8).numpy().tobytes()
