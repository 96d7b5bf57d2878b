"""Whether an agent's memory stays as it is: samples over time, and what they come to.

Owns the arithmetic. An agent's books go up and down with what is served and kept at the moment, by a whole
cache each time, and never above what its owner lends. What must not grow is the memory beside them: medians
of it over long windows are compared, the first after the warm-up, and the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MOST_GROWTH = 0.03
"""Of all memory in the first window, until the last."""

SWINGS_BYTES = 20_000_000
"""By which an agent's memory goes up and down within minutes, as it was seen over an hour: what its
allocator has not
given back yet. Two short windows may lie on different sides of that."""

_STEADY_S = 600.0  # from which on a window's median is above such swings
_WINDOW = 1 / 3  # of the time after the warm-up


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one agent."""

    at_s: float
    resident_bytes: int
    booked_bytes: int
    """Weights and caches, parked ones too, as it announces them."""

    @property
    def beside_bytes(self) -> int:
        """Memory that is in no books."""
        return self.resident_bytes - self.booked_bytes


@dataclass(frozen=True, slots=True)
class Growth:
    """An agent's memory beside its books, after the warm-up and at the end."""

    first_bytes: float
    last_bytes: float
    resident_bytes: float
    """All of it, after the warm-up."""
    window_s: float
    """Over which each of these is the median."""

    @property
    def share(self) -> float:
        """Growth, as a share of all its memory; negative where some was given back."""
        return (self.last_bytes - self.first_bytes) / self.resident_bytes

    @property
    def is_flat(self) -> bool:
        """Whether it grew by less than is borne."""
        is_swing = self.window_s < _STEADY_S and self.last_bytes - self.first_bytes < SWINGS_BYTES
        return self.share < MOST_GROWTH or is_swing


def growth(samples: Sequence[Sample], warm_s: float) -> Growth:
    """Compare the windows; raise ValueError where there are no samples after the warm-up."""
    warm = [sample for sample in samples if sample.at_s >= warm_s]
    if not warm:
        raise ValueError(f"no sample after the warm-up of {warm_s:g} s")
    width_s = (warm[-1].at_s - warm[0].at_s) * _WINDOW
    first = [sample for sample in warm if sample.at_s <= warm[0].at_s + width_s]
    last = [sample for sample in warm if sample.at_s >= warm[-1].at_s - width_s]
    return Growth(
        median(sample.beside_bytes for sample in first),
        median(sample.beside_bytes for sample in last),
        median(sample.resident_bytes for sample in first),
        width_s,
    )
