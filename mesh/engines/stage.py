"""One span of a model in memory, as `mesh.engines.staged` and `mesh.engines.guessing` see it.

Owns the protocol that each kind of arithmetic fulfils, and a frame's way through it as a value. Must not know
what computes, nor whose sessions there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mesh.engines.cache import C
from mesh.engines.mtp import Predictor, Slots
from mesh.errors import NotFinite
from mesh.ports import Step
from mesh.spec import ModelSpec
from mesh.types import Payload, Sampling, Span


class Run(Protocol):
    """A frame of one session that has begun, and what its rows have become."""

    @property
    def num_rows(self) -> int:
        """Positions by which it takes its session further."""


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

    @property
    def predictor(self) -> Predictor[C] | None:
        """What it guesses further tokens by; None where the model has no such layer, or it is not here."""

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

    def hidden(self, run: R) -> NDArray[np.float32]:
        """Return the hidden states as numbers: [rows, hidden]."""

    def scores(self, runs: Sequence[R], counts: Sequence[int]) -> Sequence[NDArray[np.float32]]:
        """Score so many of the last rows of each, [count, vocab] each; only the last stage of a model can."""


def per_run(rows: NDArray[np.float32], counts: Sequence[int]) -> list[NDArray[np.float32]]:
    """Cut rows of several runs into those of each."""
    return [rows[end - count : end] for end, count in zip(accumulate(counts), counts, strict=True)]


@dataclass(frozen=True, slots=True)
class Session(Generic[C, R]):
    """One session at one stage."""

    stage: Stage[C, R]
    cache: C
    sampling: Sampling
    slots: Slots[C] | None
    """Of its multi-token prediction."""


@dataclass(frozen=True, slots=True)
class Work(Generic[C, R]):
    """A frame that has begun."""

    index: int
    """Which of the batch's steps it is."""
    step: Step
    run: R
    session: Session[C, R]

    @property
    def position(self) -> int:
        """Of the first token that is drawn."""
        return self.step.start + self.run.num_rows - len(self.step.drafts)
