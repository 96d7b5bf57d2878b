"""Guesses at the tokens that come next.

Owns the drafters: those that guess by the session's own text, and those that are told what a model guessed.
Pure. What a guess is worth, and how much of it is sent, is the business of `mesh.logic.speculation`; a wrong
one costs time and never changes the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple, Protocol

from mesh.types import Drafting

_LONGEST, _SHORTEST = 4, 2  # tokens that a place in the text must have in common with its end
_TELLING = 16  # a longer run in common says no more
_GRADES = (3, 4, 8, 16)  # tokens in common from which on a guess belongs to the next grade


class Kind(NamedTuple):
    """Guesses of one kind are about as often right."""

    drafter: str
    grade: int
    hope: float
    """How often, before one was seen."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What may come next."""

    tokens: tuple[int, ...]
    kinds: tuple[Kind, ...]
    """Of each, given that those before it are right."""

    def first(self, count: int) -> Guess:
        """Return the first tokens of it alone."""
        return Guess(self.tokens[:count], self.kinds[:count])

    def behind(self, count: int) -> Guess:
        """Return what is behind the first tokens."""
        return Guess(self.tokens[count:], self.kinds[count:])


NOTHING = Guess((), ())


class Drafter(Protocol):
    """Guesses for one session."""

    @property
    def name(self) -> str:
        """As it is told to people."""

    def came(self, tokens: Sequence[int]) -> None:
        """Take tokens of the session, in their order: those of the prompt too."""

    def guess(self, most: int, pending: Sequence[int] = ()) -> Guess:
        """Return so many tokens at most that may follow all that came, and `pending` behind it."""


class PromptLookup:
    """Looks where the text's last tokens stood before, and takes what followed there.

    Text that is quoted, edited or summed up repeats itself. Source: Saxena, Prompt Lookup Decoding (2023).
    """

    name = Drafting.LOOKUP

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

    def guess(self, most: int, pending: Sequence[int] = ()) -> Guess:
        """Guess by the longest run that stood before, the last time that it did; see the protocol."""
        text = [*self._tokens, *pending] if pending else self._tokens
        for length in range(min(_LONGEST, len(text)), _SHORTEST - 1, -1):
            at = self._behind.get(tuple(text[-length:]))
            if at is not None:
                tokens = _following(text, at, most)
                return Guess(tokens, (_lookup_kind(_common_length(text, at)),) * len(tokens))
        return NOTHING


def _following(text: list[int], at: int, most: int) -> tuple[int, ...]:
    """What followed from a place on; text that goes round in circles is followed round."""
    found = text[at : at + most]
    period = len(text) - at
    while len(found) < most:
        found.append(found[len(found) - period])
    return tuple(found)


def _common_length(text: list[int], at: int) -> int:
    """How many tokens before a place are those at the end."""
    length = 0
    while length < min(at, _TELLING) and text[at - 1 - length] == text[-1 - length]:
        length += 1
    return length


def _lookup_kind(common_length: int) -> Kind:
    grade = sum(common_length >= least for least in _GRADES)
    return Kind(PromptLookup.name, grade, 0.2 + 0.15 * grade)


class Told:
    """Passes on what a model guessed: the layer for multi-token prediction, or a smaller model."""

    def __init__(self, name: str, vocab_size: int | None = None) -> None:
        """`vocab_size`: that of the model which verifies; a small one's table may be filled up further."""
        self.name = name
        """See the protocol."""
        self._vocab_size = vocab_size
        self._guessed: tuple[int, ...] = ()
        self._num_used = 0
        """Of what was told, tokens that have come since."""

    def told(self, guessed: Sequence[int]) -> None:
        """Take what may follow all that came, up to a token that is none."""
        self._guessed, self._num_used = tuple(takewhile(self._is_token, guessed)), 0

    def came(self, tokens: Sequence[int]) -> None:
        """Take tokens; where they are those that were guessed, what is behind them still is a guess."""
        count = len(tokens)
        is_right = self._guessed[:count] == tuple(tokens)
        self._num_used += count
        self._guessed = self._guessed[count:] if is_right else ()

    def guess(self, most: int, pending: Sequence[int] = ()) -> Guess:
        """Return what was told; see the protocol."""
        start = len(pending)
        if self._guessed[:start] != tuple(pending):
            return NOTHING
        tokens = self._guessed[start : start + max(0, most)]
        grades = range(self._num_used + start, self._num_used + start + len(tokens))
        return Guess(tokens, tuple(Kind(self.name, grade, _HOPE * _FADES**grade) for grade in grades))

    def _is_token(self, token: int) -> bool:
        return self._vocab_size is None or 0 <= token < self._vocab_size


_HOPE, _FADES = 0.75, 0.9  # of a model's first guess, and of each one behind it
