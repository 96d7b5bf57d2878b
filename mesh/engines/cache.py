"""What the keys and values of one session have in common, wherever an engine keeps them."""

from __future__ import annotations

from typing import Protocol, Self, TypeVar


class Cache(Protocol):
    """The keys and values of one session: those of a stage, or of the layer that guesses behind it."""

    length: int
    """Slots that are filled: one for each position."""
    context: int
    """Slots that there may be."""

    def copy_from(self, source: Self, num_positions: int, /) -> None:
        """Begin with the first slots of another session's cache of the same kind."""


C = TypeVar("C", bound=Cache)
