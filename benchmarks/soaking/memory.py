"""Whether a process's memory stays as it is: samples over time, and what they come to.

Owns the arithmetic. Memory goes up and down with what is served at the moment, so medians over long windows
are compared: the first after the warm-up, and the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MOST_GROWTH = 0.03
"""Of the first window's median, until the last."""

_WINDOW = 1 / 3  # of the time after the warm-up


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one process."""

    at_s: float
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class Growth:
    """A process's memory after the warm-up and at the end."""

    first_bytes: float
    last_bytes: float

    @property
    def share(self) -> float:
        """Growth by the first; negative where memory was given back."""
        return self.last_bytes / self.first_bytes - 1

    def is_flat(self, most: float = MOST_GROWTH) -> bool:
        """Whether it grew by less than a share."""
        return self.share < most


def growth(samples: Sequence[Sample], warm_s: float) -> Growth:
    """Compare the windows; raise ValueError where there are no samples after the warm-up."""
    warm = [sample for sample in samples if sample.at_s >= warm_s]
    if not warm:
        raise ValueError(f"no sample after the warm-up of {warm_s:g} s")
    width_s = (warm[-1].at_s - warm[0].at_s) * _WINDOW
    first = [sample.resident_bytes for sample in warm if sample.at_s <= warm[0].at_s + width_s]
    last = [sample.resident_bytes for sample in warm if sample.at_s >= warm[-1].at_s - width_s]
    return Growth(median(first), median(last))
