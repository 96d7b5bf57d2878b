"""What is done with one seed of a sweep, and what is kept of it.

Owns the small values that come back from other processes. Must not know where a trial runs.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass

from simulator.result import Complaint, Figures, RunResult, Verdict
from simulator.script import Script

Run = Callable[[Script], RunResult]


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that came to its end."""

    seed: int
    verdict: Verdict
    complaints: tuple[Complaint, ...]
    digest: str
    figures: Figures
    ended_s: float
    num_events: int

    @property
    def holds(self) -> bool:
        """Whether nothing is to be complained of."""
        return self.verdict is Verdict.HELD


@dataclass(frozen=True, slots=True)
class Raised:
    """A run that came to no end: a bug in the simulator itself, or a worker that died."""

    seed: int
    text: str
    traceback: str | None = None

    @property
    def holds(self) -> bool:
        """Never."""
        return False


Outcome = Ran | Raised


@dataclass(frozen=True, slots=True)
class Trial:
    """What to do with a seed. It travels to other processes, so its parts are functions of modules."""

    script_of: Callable[[int], Script]
    run: Run

    def result(self, seed: int) -> RunResult:
        """Run the seed's script; raises what the run raises."""
        return self.run(self.script_of(seed))

    def outcome(self, seed: int) -> Outcome:
        """Run the seed's script; what it raises is part of the outcome."""
        try:
            result = self.result(seed)
        except Exception as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            return Raised(seed, text, traceback.format_exc())
        return Ran(
            seed,
            result.verdict,
            result.complaints,
            result.digest,
            result.figures,
            result.ended_s,
            len(result.events),
        )
