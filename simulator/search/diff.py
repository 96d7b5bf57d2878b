"""Where two runs part.

Owns the comparison of two traces. Must not know what an event means, nor how it is put in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.trace import Event

CONTEXT = 5
"""Events shown before the difference."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first events of two runs that are not the same."""

    index: int
    """How many events the runs have in common before it."""
    before: tuple[Event, ...]
    """The last of those."""
    left: Event | None
    """None where the left run has ended."""
    right: Event | None
    num_left: int
    """How many events of the left run follow after `left`."""
    num_right: int


def first_difference(
    left: Sequence[Event], right: Sequence[Event], context: int = CONTEXT
) -> Difference | None:
    """Compare two traces event by event; None where all are the same.

    Runs whose events are the same may still differ in messages that were not kept; only digests tell.
    """
    index = _num_common(left, right)
    if index == len(left) == len(right):
        return None
    return Difference(
        index=index,
        before=tuple(left[max(0, index - context) : index]),
        left=left[index] if index < len(left) else None,
        right=right[index] if index < len(right) else None,
        num_left=max(0, len(left) - index - 1),
        num_right=max(0, len(right) - index - 1),
    )


def _num_common(left: Sequence[Event], right: Sequence[Event]) -> int:
    num_both = min(len(left), len(right))
    return next((i for i in range(num_both) if not _is_same(left[i], right[i])), num_both)


def _is_same(left: Event, right: Event) -> bool:
    """Compare as digests do: 1, 1.0 and True are three things, though Python calls them equal."""
    return left == right and repr(left.details) == repr(right.details)
