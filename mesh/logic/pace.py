"""How long something takes as a rule, and a stage for its frames in particular.

Owns running means that follow what is measured, but slowly: a device that becomes fifty times as slow must
not make that its rule before somebody has noticed. Pure: seconds come in.
"""

from __future__ import annotations

_WEIGHT = 0.2  # of the newest measurement: some ten make a rule
_MOST_TIMES = 2.0  # the mean: what is above counts as that


class RunningMean:
    """The mean of measurements, the newer ones counting more."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """0 until something was measured."""

    def add(self, seconds: float) -> None:
        """Take a measurement."""
        if self.seconds:
            seconds = min(seconds, _MOST_TIMES * self.seconds)
            self.seconds += _WEIGHT * (seconds - self.seconds)
        else:
            self.seconds = seconds


class Pace:
    """The measured pace of one worker at one stage."""

    def __init__(self) -> None:
        self._single = RunningMean()
        self._row = RunningMean()

    def measured(self, num_rows: int, seconds: float) -> None:
        """A frame took so long."""
        if num_rows == 1:
            self._single.add(seconds)
        else:
            self._row.add(seconds / max(1, num_rows))

    def usual_s(self, num_rows: int) -> float:
        """How long such a frame takes as a rule; 0 where none like it was measured."""
        if num_rows == 1:
            return self._single.seconds  # a row of many takes a fraction: it says nothing of one alone
        return max(self._single.seconds, self._row.seconds * num_rows)
