"""Delta debugging: the part of a list that still fails, from which no single item can be left out.

Source: A. Zeller and R. Hildebrandt, Simplifying and Isolating Failure-Inducing Input, IEEE Transactions on
Software Engineering 28(2), 2002, figure 3, without the step that tests subsets: of devices and faults a
subset alone seldom fails, and its complements find the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def ddmin(items: Sequence[T], still_fails: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """Return items, in their order, that still fail and of which none can be left out alone.

    The whole list is known to fail and is not tried.
    """
    kept, num_parts = tuple(items), 1
    while kept:
        smaller = next((rest for rest in complements(kept, num_parts) if still_fails(rest)), None)
        if smaller is not None:
            kept, num_parts = smaller, max(num_parts - 1, 1)
        elif num_parts < len(kept):
            num_parts = min(2 * num_parts, len(kept))
        else:
            break
    return kept


def complements(items: tuple[T, ...], num_parts: int) -> list[tuple[T, ...]]:
    """All but one of so many parts, each part in turn, the last first; none where there are no parts."""
    if not num_parts:
        return []
    edges = [len(items) * part // num_parts for part in range(num_parts + 1)]
    return [items[: edges[part]] + items[edges[part + 1] :] for part in reversed(range(num_parts))]
