"""A virtual and a real run of one script beside each other: metrics and signed errors.

Owns what is compared. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from simulator.real.host_costs import HostCosts
from simulator.result import RequestRecord

TPOT, TTFT = "time_per_token", "time_to_first_token"
FIRST_TPOT, FIRST_TTFT = "cold_time_per_token", "cold_time_to_first_token"


@dataclass(frozen=True, slots=True)
class Round:
    """One script in both modes, one directly after the other."""

    scenario: str
    costs: HostCosts
    """Of this machine, measured just before."""
    predicted: tuple[RequestRecord, ...]
    measured: tuple[RequestRecord, ...]
    late_s: float
    """Seconds by which this machine was slower than the devices: what no throttle can hide."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of one scenario, over all rounds."""

    scenario: str
    metric: str
    predicted_s: float
    measured_s: float
    limit: float
    """The largest error that is acceptable."""

    @property
    def error(self) -> float:
        """Predicted against measured: +0.1 says that the prediction is a tenth too long."""
        return self.predicted_s / self.measured_s - 1

    @property
    def is_close(self) -> bool:
        """Whether the error is acceptable."""
        return abs(self.error) <= self.limit


LIMITS: dict[str, float] = {TPOT: 0.10, TTFT: 0.25, FIRST_TPOT: 0.10, FIRST_TTFT: 0.25}
"""The metrics, and how close a prediction must be."""


def measures_of(records: Sequence[RequestRecord]) -> dict[str, float]:
    """Return the metrics of one run, in seconds: medians over its requests.

    The first request finds no stage loaded and counts for itself. A metric for which there was nothing to
    measure is left out.
    """
    answered = [record for record in records if record.is_answered]
    first = [record for record in answered if record.number == records[0].number]
    later = [record for record in answered if record.number != records[0].number]
    found = {
        TPOT: _median(later, lambda record: record.tpot_s),
        TTFT: _median(later, lambda record: record.ttft_s),
        FIRST_TPOT: _median(first, lambda record: record.tpot_s),
        FIRST_TTFT: _median(first, lambda record: record.ttft_s),
    }
    return {metric: value for metric, value in found.items() if value is not None}


def compare(rounds: Sequence[Round]) -> tuple[Comparison, ...]:
    """Compare the medians over the rounds of each scenario, in the order of their coming."""
    return tuple(
        comparison
        for scenario in dict.fromkeys(one.scenario for one in rounds)
        for comparison in _compare(scenario, [one for one in rounds if one.scenario == scenario])
    )


def _compare(scenario: str, rounds: Sequence[Round]) -> Iterator[Comparison]:
    predicted = [measures_of(one.predicted) for one in rounds]
    measured = [measures_of(one.measured) for one in rounds]
    for metric, limit in LIMITS.items():
        if all(metric in values for values in (*predicted, *measured)):
            predicted_s, measured_s = (_middle(side, metric) for side in (predicted, measured))
            yield Comparison(scenario, metric, predicted_s, measured_s, limit)


def _middle(runs: Sequence[dict[str, float]], metric: str) -> float:
    return median(values[metric] for values in runs)


def _median(records: Iterable[RequestRecord], value: Callable[[RequestRecord], float | None]) -> float | None:
    values = [found for record in records if (found := value(record)) is not None]
    return median(values) if values else None
