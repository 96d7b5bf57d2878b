"""Multi-token prediction (MTP): the last stage's own guess at what follows the token that it draws.

Owns which slots of the prediction's cache a session has, and the order in which they are filled. Must not
know what computes them: that is a `Predictor`.

Slot i takes the main network's hidden state at position i, before the final norm, and token i + 1, and
predicts token i + 2. So a slot can be filled when the token behind its position is known: those of a prompt
with the next frame, the newest with the token that is drawn. Applied to its own output and its own guess,
the layer guesses further tokens; such slots are taken back, because better ones come with the next frame.

Guesses are verified by the main network, so nothing here must be complete: where a hidden state or a token
was never seen here, its slot is left out, and the ones behind it move up. Only distances between slots count.

Source: Xiaomi LLM-Core Team, MiMo (2025), after DeepSeek-AI, DeepSeek-V3 (2024).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol

import numpy as np
from numpy.typing import NDArray

from mesh.engines.cache import C

Rows = NDArray[np.float32]

_KEPT_ROWS = 16
"""Hidden states of a frame that stay: the next one may begin so far before its end, with guesses rejected."""


@dataclass(frozen=True, slots=True)
class Part(Generic[C]):
    """Slots of one session that are to be filled, behind those that it has."""

    cache: C
    hidden: Rows
    """[slots, hidden]: the main network's, or the layer's own where it goes on from a guess."""
    tokens: tuple[int, ...]
    """One behind each."""


class Predictor(Protocol[C]):
    """The layer of one last stage, with embedding and head."""

    def new_cache(self, context: int) -> C:
        """Allot room for a session."""

    def predict(self, parts: Sequence[Part[C]]) -> Sequence[Rows]:
        """Fill slots; return what the layer makes of them, [slots, hidden] each. Caches then end behind."""

    def scores(self, hidden: Rows) -> Rows:
        """Score what the layer made, [slots, hidden]: [slots, vocab]."""


class Slots(Generic[C]):
    """What one session's prediction has seen."""

    def __init__(self, cache: C) -> None:
        self.cache = cache
        """Keys and values of the slots."""
        self._positions: list[int] = []
        self._tokens: list[int] = []
        """The token that each slot took."""
        self._rows: Rows = np.empty((0, 0), np.float32)
        """Hidden states of the positions up to `_rows_end`."""
        self._rows_end = 0

    def copy_from(self, source: Slots[C], num_positions: int) -> None:
        """Begin as another session does in its first positions; the token behind them may be another."""
        count = bisect_left(source._positions, num_positions - 1)
        self._positions, self._tokens = source._positions[:count], source._tokens[:count]
        self.cache.copy_from(source.cache, count)
        kept = num_positions - (source._rows_end - len(source._rows))
        if kept > 0:
            self._rows = source._rows[:kept]
            self._rows_end = min(source._rows_end, num_positions)

    def part(self, start: int, hidden: Rows, tokens: Sequence[int]) -> Part[C] | None:
        """Take a frame from position `start` on: its hidden states and the tokens from there on.

        `tokens` are those of its rows that are known to be right, and those that were drawn behind them.
        Takes back what followed from other tokens; returns what is to be filled, None where that is nothing.
        """
        self._cut(start, tokens[0])
        first, rows, behind = start, hidden[: len(tokens) - 1], tuple(tokens[1:])
        if (earlier := self._open_row(start - 1)) is not None:
            first, rows, behind = start - 1, np.concatenate((earlier, rows)), tuple(tokens)
        self._rows, self._rows_end = hidden[-_KEPT_ROWS:].copy(), start + len(hidden)
        rows, behind = rows[: self.num_left], behind[: self.num_left]
        self._positions += range(first, first + len(rows))
        self._tokens += behind
        return Part(self.cache, rows, behind) if behind else None

    @property
    def num_left(self) -> int:
        """Slots that there is room for."""
        return self.cache.context - self.cache.length

    def take_back_guesses(self) -> None:
        """Forget the slots that were filled by guesses."""
        self.cache.length = len(self._positions)

    def _cut(self, start: int, token: int) -> None:
        """Keep the slots before position `start`, where this token stands now."""
        count = bisect_left(self._positions, start - 1)
        if self._positions[count : count + 1] == [start - 1] and self._tokens[count] == token:
            count += 1
        del self._positions[count:], self._tokens[count:]
        self.cache.length = count

    def _open_row(self, position: int) -> Rows | None:
        """The hidden state of a position that has no slot, [1, hidden], where it was kept."""
        at = position - (self._rows_end - len(self._rows))
        is_filled = bool(self._positions) and self._positions[-1] == position
        return self._rows[at : at + 1] if 0 <= at < len(self._rows) and not is_filled else None
