"""Many figures in a few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, tenth and ninetieth percentile."""

    median: float
    tenth: float
    ninetieth: float


def spread(values: Sequence[float]) -> Spread | None:
    """Sum up values; None where there are none."""
    if not values:
        return None
    tenths = quantiles(values, n=10, method="inclusive") if len(values) > 1 else [values[0]]
    return Spread(median(values), tenths[0], tenths[-1])
