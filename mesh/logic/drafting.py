"""Guesses at the tokens that come next.

Owns the ways to guess that need nothing but the text of the session itself. Pure. What a guess is worth, and
how much of it is sent, is the business of `mesh.logic.speculation`; a wrong one costs time and never changes
the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

_LONGEST, _SHORTEST = 4, 2  # tokens that a place in the text must have in common with its end
_TELLING = 16  # a longer run in common says no more


@dataclass(frozen=True, slots=True)
class Guess:
    """What may come next."""

    tokens: tuple[int, ...]
    grade: int = 0
    """Guesses of one grade are about as often right."""


NOTHING = Guess(())


class Drafter(Protocol):
    """Guesses for one session."""

    @property
    def name(self) -> str:
        """As it is told to people."""

    def came(self, tokens: Sequence[int]) -> None:
        """Take tokens of the session, in their order: those of the prompt too."""

    def guess(self, most: int) -> Guess:
        """Return so many tokens at most that may follow all that came."""


class PromptLookup:
    """Looks where the text's last tokens stood before, and takes what followed there.

    Text that is quoted, edited or summed up repeats itself. Source: Saxena, Prompt Lookup Decoding (2023).
    """

    name = "lookup"

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._behind: dict[tuple[int, ...], int] = {}
        """By some tokens in a row, where what followed them last begins."""

    def came(self, tokens: Sequence[int]) -> None:
        """Take tokens; see the protocol."""
        known, behind = self._tokens, self._behind
        for token in tokens:
            at = len(known)  # what follows the known ones begins here
            for length in range(_SHORTEST, min(_LONGEST, at) + 1):
                behind[tuple(known[at - length :])] = at
            known.append(token)

    def guess(self, most: int) -> Guess:
        """Guess by the longest run that stood before, the last time that it did; see the protocol."""
        known = self._tokens
        for length in range(min(_LONGEST, len(known)), _SHORTEST - 1, -1):
            at = self._behind.get(tuple(known[-length:]))
            if at is not None:
                return Guess(self._following(at, most), self._common_length(at))
        return NOTHING

    def _following(self, at: int, most: int) -> tuple[int, ...]:
        """What followed from a place on; text that goes round in circles is followed round."""
        found = self._tokens[at : at + most]
        period = len(self._tokens) - at
        while len(found) < most:
            found.append(found[len(found) - period])
        return tuple(found)

    def _common_length(self, at: int) -> int:
        """How many tokens before a place are those at the end."""
        known = self._tokens
        length = 0
        while length < min(at, _TELLING) and known[at - 1 - length] == known[-1 - length]:
            length += 1
        return length
