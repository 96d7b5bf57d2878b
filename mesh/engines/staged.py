"""The books of an engine that has a stage for each span: which are loaded, and whose caches they have.

Owns stages, caches, and a batch's way through a stage, up to the drawing of tokens. Must not know what
computes; that is a `Stage`, one class for each kind of arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from mesh.engines.cache import C
from mesh.engines.guessing import guess
from mesh.engines.mtp import Slots
from mesh.engines.stage import R, Session, Stage, Work
from mesh.errors import InternalError, MeshError, ShapeMismatch, StageNotLoaded, UnknownSession
from mesh.model.edges import check_ids
from mesh.model.sampling import sample
from mesh.ports import Prefix, Sampled, Step, StepResult
from mesh.spec import ModelSpec
from mesh.types import CacheKey, Hidden, Sampling, StageKey


class StagedEngine(Generic[C, R]):
    """Stages in this process's memory, or in a graphics card's; see `mesh.engines.engine.Engine`."""

    def __init__(self, load: Callable[[StageKey, Path, ModelSpec], Stage[C, R]]) -> None:
        self._load = load
        self._stages: dict[StageKey, Stage[C, R]] = {}
        self._sessions: dict[CacheKey, Session[C, R]] = {}

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
        slots = Slots(stage.predictor.new_cache(context)) if stage.predictor else None
        if prefix and source:
            shared = min(prefix.positions, source.cache.length, context)
            allotted.copy_from(source.cache, shared)
            if slots and source.slots:
                slots.copy_from(source.slots, shared)
        self._sessions[cache] = Session(stage, allotted, sampling, slots)
        return allotted.length

    def close(self, cache: CacheKey) -> None:
        """Free a session's cache."""
        self._sessions.pop(cache, None)

    def run(self, steps: Sequence[Step]) -> list[StepResult]:
        """Run frames of one stage as a batch."""
        results: list[StepResult] = [None] * len(steps)
        works: list[Work[C, R]] = []
        for index, step in enumerate(steps):
            try:
                works.append(self._begun(index, step))
            except MeshError as error:
                results[index] = error
        if works:
            _compute(works, results)
        return results

    def _begun(self, index: int, step: Step) -> Work[C, R]:
        session = self._sessions.get(step.cache)
        if session is None:
            raise UnknownSession(f"session {step.cache.session_id} is not open here")
        run = session.stage.begin(step.payload, step.start, session.cache)
        if step.drafts and run.num_rows <= len(step.drafts):
            raise ShapeMismatch(f"{len(step.drafts)} drafts in a frame of {run.num_rows} rows")
        if step.tokens:
            _check_tokens(step.tokens, run.num_rows, session.stage.spec)
        return Work(index, step, run, session)


def _check_tokens(tokens: Sequence[int], num_rows: int, spec: ModelSpec) -> None:
    """Refuse tokens to guess by that cannot be those of the rows."""
    if num_rows != len(tokens):
        raise ShapeMismatch(f"{len(tokens)} tokens for a frame of {num_rows} rows")
    check_ids(spec, min(tokens), max(tokens))


def _compute(works: Sequence[Work[C, R]], results: list[StepResult]) -> None:
    stage = works[0].session.stage
    sampled: list[Work[C, R]] = []
    for work, error in zip(works, stage.compute([work.run for work in works]), strict=True):
        if error is not None:
            results[work.index] = error
        elif not stage.spec.is_last(stage.span):
            results[work.index] = Hidden(stage.to_bytes(work.run))
        elif work.step.sample:
            sampled.append(work)
    if sampled:
        _sample(stage, sampled, results)
    guess(stage, works, results)


def _sample(stage: Stage[C, R], works: Sequence[Work[C, R]], results: list[StepResult]) -> None:
    """Draw a token for each frame from its last row, and before that from those that drafts follow."""
    counts = [1 + len(work.step.drafts) for work in works]
    for work, logits in zip(works, stage.scores([work.run for work in works], counts), strict=True):
        try:
            tokens = _drawn(logits, work.step.drafts, work.session.sampling, work.position)
            results[work.index] = Sampled(work.position, tokens[0], tuple(tokens[1:]))
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
