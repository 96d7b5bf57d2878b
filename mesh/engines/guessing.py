"""Guesses at what follows the tokens that a batch of frames has led to.

Owns the two ways to guess at a stage: by the model's own layer for multi-token prediction, and, where the
whole model is here, by going on with it; so a small model guesses for a large one. Must not know what
computes.

Guesses are drawn as the main network will draw, by the same chance for each position: where both score alike,
both draw the same token, at any temperature. Source: the coupling of Daliri et al., Coupling without
Communication and Drafter-Invariant Speculative Decoding (2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from mesh.engines.cache import C
from mesh.engines.mtp import Part, Predictor, Slots
from mesh.engines.stage import R, Stage, Work
from mesh.errors import InternalError
from mesh.model.sampling import sample
from mesh.ports import Sampled, StepResult
from mesh.types import TokenIds


def guess(stage: Stage[C, R], works: Sequence[Work[C, R]], results: list[StepResult]) -> None:
    """Add to each result what may follow it, as far as it is wanted and this stage can tell."""
    if stage.predictor is not None:
        _predict(stage, stage.predictor, works, results)
    elif stage.spec.is_first(stage.span) and stage.spec.is_last(stage.span):
        _go_on(stage, works, results)


@dataclass(slots=True)
class _Guessing(Generic[C, R]):
    """What is guessed behind one frame's tokens."""

    work: Work[C, R]
    drawn: Sampled
    tokens: list[int] = field(default_factory=list)
    is_done: bool = False

    @property
    def slots(self) -> Slots[C]:
        """Those of the session's prediction; only where it has one."""
        assert self.work.session.slots is not None
        return self.work.session.slots

    @property
    def position(self) -> int:
        """Of the next guess."""
        return self.drawn.position + 1 + len(self.drawn.more) + len(self.tokens)

    @property
    def newest(self) -> int:
        """The last token that was drawn or guessed."""
        return (self.drawn.token, *self.drawn.more, *self.tokens)[-1]

    def take(self, scores: NDArray[np.float32]) -> None:
        """Draw the next by its scores [vocab]; what is no number ends it."""
        session, step = self.work.session, self.work.step
        try:
            self.tokens.append(sample(scores, session.sampling, self.position))
        except InternalError:
            self.is_done = True
        is_full = self.position >= session.cache.context
        self.is_done |= is_full or len(self.tokens) >= step.num_wanted

    def tell(self, results: list[StepResult]) -> None:
        """Put what was guessed into the frame's result."""
        results[self.work.index] = replace(self.drawn, guessed=tuple(self.tokens))


def _wanted(work: Work[C, R], result: StepResult) -> _Guessing[C, R] | None:
    """What is to be guessed behind a frame; None where that is nothing."""
    if not isinstance(result, Sampled) or not work.step.num_wanted:
        return None
    guessing = _Guessing(work, result)
    return guessing if guessing.position < work.session.cache.context else None


def _predict(
    stage: Stage[C, R], predictor: Predictor[C], works: Sequence[Work[C, R]], results: list[StepResult]
) -> None:
    """Fill the slots of frames whose tokens are known, and guess on behind those that were drawn."""
    parts = [(work, part) for work in works if (part := _part(stage, work, results[work.index]))]
    if not parts:
        return
    made = predictor.predict([part for _, part in parts])
    found = [
        (guessing, hidden[-1:])
        for (work, _), hidden in zip(parts, made, strict=True)
        if (guessing := _wanted(work, results[work.index]))
    ]
    at_work = found
    while at_work:
        scores = predictor.scores(np.concatenate([hidden for _, hidden in at_work]))
        for (guessing, _), row in zip(at_work, scores, strict=True):
            guessing.take(row)
        at_work = _one_further(predictor, [one for one in at_work if not one[0].is_done])
    for guessing, _ in found:
        guessing.slots.take_back_guesses()
        guessing.tell(results)


def _part(stage: Stage[C, R], work: Work[C, R], result: StepResult) -> Part[C] | None:
    """The slots that a frame fills: those of its rows that stay, and whose next token is known."""
    slots, step = work.session.slots, work.step
    if slots is None or not step.tokens:
        return None
    match result:
        case Sampled(position, token, more):
            tokens = (*step.tokens[: position - step.start], token, *more)
        case None:
            tokens = step.tokens
        case _:
            return None
    return slots.part(step.start, stage.hidden(work.run), tokens)


_AtWork = tuple[_Guessing[C, R], NDArray[np.float32]]
"""With what the prediction's layer made last of it, [1, hidden]."""


def _one_further(predictor: Predictor[C], at_work: Sequence[_AtWork[C, R]]) -> list[_AtWork[C, R]]:
    """Apply the layer to its own output and guess."""
    parts = [Part(guessing.slots.cache, hidden, (guessing.newest,)) for guessing, hidden in at_work]
    made = predictor.predict(parts) if parts else ()
    return [(guessing, hidden) for (guessing, _), hidden in zip(at_work, made, strict=True)]


def _go_on(stage: Stage[C, R], works: Sequence[Work[C, R]], results: list[StepResult]) -> None:
    """Guess by going on; the caches end afterwards where they ended before."""
    found = [guessing for work in works if (guessing := _wanted(work, results[work.index]))]
    at_work = found
    while at_work:
        runs = [
            stage.begin(TokenIds((one.newest,)), one.position - 1, one.work.session.cache) for one in at_work
        ]
        errors = stage.compute(runs)
        scores = stage.scores(runs, [1] * len(runs))
        for one, error, (row,) in zip(at_work, errors, scores, strict=True):
            if error is None:
                one.take(row)
            one.is_done |= error is not None
        at_work = [one for one in at_work if not one.is_done]
    for one in found:
        one.work.session.cache.length = one.drawn.position + len(one.drawn.more)
        one.tell(results)
