"""Many seeds of one scenario: which fail, and what they have in common.

Owns what a sweep came to. Must not know where the runs take place; that is `workers` or `ray_workers`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from statistics import median
from typing import Protocol

from simulator.result import Figures, Verdict
from simulator.search.trial import Outcome, Ran, Trial


class Place(Protocol):
    """Where seeds are run: `run_in_processes`, `run_on_ray`."""

    def __call__(self, trial: Trial, seeds: Sequence[int], /) -> Generator[Outcome]:
        """Yield an outcome for every seed, in any order."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all runs that have it."""

    least: float
    median: float
    most: float


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep, ended."""

    outcomes: tuple[Outcome, ...]
    """By seed."""
    wall_s: float

    @property
    def ran(self) -> tuple[Ran, ...]:
        """The runs that came to an end."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Ran))

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """Every seed that did not hold."""
        return tuple(outcome for outcome in self.outcomes if not outcome.holds)

    @property
    def first_failed_run(self) -> Ran | None:
        """The lowest seed whose run came to its end and did not hold."""
        return next((run for run in self.ran if not run.holds), None)

    def num_of(self, verdict: Verdict) -> int:
        """How many runs ended so."""
        return sum(run.verdict is verdict for run in self.ran)

    @property
    def num_raised(self) -> int:
        """How many runs came to no end."""
        return len(self.outcomes) - len(self.ran)

    @property
    def num_events(self) -> int:
        """Of all runs."""
        return sum(run.num_events for run in self.ran)

    @property
    def virtual_s(self) -> float:
        """Virtual time of all runs."""
        return sum(run.ended_s for run in self.ran)

    @property
    def digest(self) -> str:
        """Stands for all runs: the same seeds give the same digest, wherever and however many at once."""
        text = "\n".join(f"{run.seed} {run.digest}" for run in self.ran)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def spreads(self) -> dict[str, Spread]:
        """Each figure over all runs that have it."""
        found = {field.name: self._values(field.name) for field in fields(Figures)}
        return {name: Spread(min(v), median(v), max(v)) for name, v in found.items() if v}

    def _values(self, figure: str) -> list[float]:
        values = (getattr(run.figures, figure) for run in self.ran)
        return [value for value in values if value is not None]


def sweep(
    trial: Trial, seeds: Sequence[int], place: Place, progress: Callable[[Outcome], None] | None = None
) -> Sweep:
    """Run every seed; `progress` is called with each outcome as it comes.

    Interrupted, or where `progress` raises, the place ends at once.
    """
    began_s = time.perf_counter()  # noqa: TID251  throughput is a matter of the real clock
    outcomes: list[Outcome] = []
    with closing(place(trial, seeds)) as coming:
        for outcome in coming:
            outcomes.append(outcome)
            if progress:
                progress(outcome)
    wall_s = time.perf_counter() - began_s  # noqa: TID251
    return Sweep(tuple(sorted(outcomes, key=lambda outcome: outcome.seed)), wall_s)
