"""The books of an engine that has a stage for each span: which are loaded, and whose caches they have.

Owns stages, caches, and a batch's way through a stage, up to the drawing of tokens. Must not know what
computes; that is a `Stage`, one class for each kind of arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from mesh.errors import (
    InternalError,
    MeshError,
    NotFinite,
    ShapeMismatch,
    StageNotLoaded,
    UnknownSession,
)
from mesh.model.sampling import sample
from mesh.ports import Prefix, Sampled, Step, StepResult
from mesh.spec import ModelSpec
from mesh.types import CacheKey, Hidden, Payload, Sampling, Span, StageKey


class Cache(Protocol):
    """The keys and values of one session at one stage."""

    length: int
    """Positions that are filled."""

    def copy_from(self, source: Self, num_positions: int, /) -> None:
        """Begin with the first positions of another session's cache of the same stage."""


class Run(Protocol):
    """A frame of one session that has begun, and what its rows have become."""

    @property
    def num_rows(self) -> int:
        """Positions by which it takes its session further."""


C = TypeVar("C", bound=Cache)
R = TypeVar("R", bound=Run)


class Stage(Protocol[C, R]):
    """One span of a model in memory. No row's results depend on its company."""

    @property
    def spec(self) -> ModelSpec:
        """The model."""

    @property
    def span(self) -> Span:
        """Its layers."""

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights in memory."""

    def new_cache(self, context: int) -> C:
        """Allot room for a session; raise ContextExceeded or InsufficientMemory."""

    def begin(self, payload: Payload, start: int, cache: C) -> R:
        """Check a frame and cut its cache back to its start.

        Raises ShapeMismatch, PositionGap or ContextExceeded, and leaves the cache as it was.
        """

    def compute(self, runs: Sequence[R]) -> Sequence[NotFinite | None]:
        """Take frames of different sessions through all layers; their caches then end behind them.

        Returns an error for each whose numbers are none; its cache ends where the frame starts.
        """

    def to_bytes(self, run: R) -> bytes:
        """Return the hidden states that go to the next stage."""

    def scores(self, runs: Sequence[R], counts: Sequence[int]) -> Sequence[NDArray[np.float32]]:
        """Score so many of the last rows of each, [count, vocab] each; only the last stage of a model can."""


def per_run(rows: NDArray[np.float32], counts: Sequence[int]) -> list[NDArray[np.float32]]:
    """Cut rows of several runs into those of each."""
    return [rows[end - count : end] for end, count in zip(accumulate(counts), counts, strict=True)]


@dataclass(frozen=True, slots=True)
class _Session(Generic[C, R]):
    stage: Stage[C, R]
    cache: C
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class _Work(Generic[C, R]):
    """A frame that has begun."""

    index: int
    """Which of the batch's steps it is."""
    step: Step
    run: R
    session: _Session[C, R]


class StagedEngine(Generic[C, R]):
    """Stages in this process's memory, or in a graphics card's; see `mesh.engines.engine.Engine`."""

    def __init__(self, load: Callable[[StageKey, Path, ModelSpec], Stage[C, R]]) -> None:
        self._load = load
        self._stages: dict[StageKey, Stage[C, R]] = {}
        self._sessions: dict[CacheKey, _Session[C, R]] = {}

    def load(self, key: StageKey, path: Path, spec: ModelSpec) -> int:
        """Read a span's weights where they are not yet here; return their bytes."""
        if key not in self._stages:
            self._stages[key] = self._load(key, path, spec)
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
        source = self._sessions.get(prefix.source) if prefix else None
        if prefix and source:
            allotted.copy_from(source.cache, min(prefix.positions, source.cache.length, context))
        self._sessions[cache] = _Session(stage, allotted, sampling)
        return allotted.length

    def close(self, cache: CacheKey) -> None:
        """Free a session's cache."""
        self._sessions.pop(cache, None)

    def run(self, steps: Sequence[Step]) -> list[StepResult]:
        """Run frames of one stage as a batch."""
        results: list[StepResult] = [None] * len(steps)
        works: list[_Work[C, R]] = []
        for index, step in enumerate(steps):
            try:
                works.append(self._begun(index, step))
            except MeshError as error:
                results[index] = error
        if works:
            _compute(works, results)
        return results

    def _begun(self, index: int, step: Step) -> _Work[C, R]:
        session = self._sessions.get(step.cache)
        if session is None:
            raise UnknownSession(f"session {step.cache.session_id} is not open here")
        run = session.stage.begin(step.payload, step.start, session.cache)
        if step.drafts and run.num_rows <= len(step.drafts):
            raise ShapeMismatch(f"{len(step.drafts)} drafts in a frame of {run.num_rows} rows")
        return _Work(index, step, run, session)


def _compute(works: Sequence[_Work[C, R]], results: list[StepResult]) -> None:
    stage = works[0].session.stage
    sampled: list[_Work[C, R]] = []
    for work, error in zip(works, stage.compute([work.run for work in works]), strict=True):
        if error is not None:
            results[work.index] = error
        elif not stage.spec.is_last(stage.span):
            results[work.index] = Hidden(stage.to_bytes(work.run))
        elif work.step.sample:
            sampled.append(work)
    if sampled:
        _sample(stage, sampled, results)


def _sample(stage: Stage[C, R], works: Sequence[_Work[C, R]], results: list[StepResult]) -> None:
    """Draw a token for each frame from its last row, and before that from those that drafts follow."""
    counts = [1 + len(work.step.drafts) for work in works]
    for work, logits in zip(works, stage.scores([work.run for work in works], counts), strict=True):
        position = work.step.start + work.run.num_rows - len(work.step.drafts)
        try:
            tokens = _drawn(logits, work.step.drafts, work.session.sampling, position)
            results[work.index] = Sampled(position, tokens[0], tuple(tokens[1:]))
        except InternalError as error:
            results[work.index] = error


def _drawn(
    logits: NDArray[np.float32], drafts: Sequence[int], sampling: Sampling, position: int
) -> list[int]:
    """The tokens from a position on, as far as the drafts before each were right."""
    tokens: list[int] = []
    for row, draft in zip(logits, (*drafts, None), strict=True):
        tokens.append(sample(row, sampling, position + len(tokens)))
        if tokens[-1] != draft:
            break
    return tokens
