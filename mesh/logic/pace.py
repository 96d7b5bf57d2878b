"""How long something takes as a rule, and a stage for its batches in particular.

Owns running means that follow what is measured, but slowly: a device that becomes fifty times as slow must
not make that its rule before somebody has noticed. Pure: seconds come in.

A batch is known by its rows and by how many sessions they belong to. Both are told apart by powers of two:
weights are read once for all rows, so that a row alone may cost twenty times as much as one of many, and each
session has a cache of its own to be read.
"""

from __future__ import annotations

_WEIGHT = 0.2  # of the newest measurement: some ten make a rule
_MOST_TIMES = 2.0  # the mean: what is above counts as that
_MANY_ROWS = 16  # from so many on a batch says what a prompt's rows cost

_NOISE = 1.12  # times as much or as little: what swings by less is not told anew

_Kind = tuple[int, int]
_ALONE: _Kind = (0, 0)
"""A single row."""


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


class Told:
    """A figure that is told to others: anew only when it has changed by more than noise does."""

    def __init__(self) -> None:
        self._told = 0.0

    def of(self, seconds: float) -> float:
        """Return what is told while the figure is this one; 0 stands for none."""
        if not self._told or not seconds or not 1 / _NOISE < seconds / self._told < _NOISE:
            self._told = seconds
        return self._told


class Pace:
    """The measured pace of one worker at one stage."""

    def __init__(self) -> None:
        self._rows: dict[_Kind, RunningMean] = {}
        """Of one row, by the kind of batch."""
        self._prompt_row = RunningMean()

    @property
    def row_s(self) -> float:
        """What one row of a prompt takes, in batches of many; 0 where none was measured."""
        return self._prompt_row.seconds

    @property
    def step_s(self) -> float:
        """What a single row takes, of one session and alone; 0 where none was measured."""
        return self._rows[_ALONE].seconds if _ALONE in self._rows else 0.0

    def measured(self, num_rows: int, seconds: float, num_sessions: int = 1) -> None:
        """A batch took so long."""
        each_s = seconds / max(1, num_rows)
        self._rows.setdefault(_kind(num_rows, num_sessions), RunningMean()).add(each_s)
        if num_rows >= _MANY_ROWS:
            self._prompt_row.add(each_s)

    def usual_s(self, num_rows: int, num_sessions: int = 1) -> float:
        """How long such a batch takes as a rule; 0 where none like it was measured.

        Where there was none of its kind the nearest counts, and no batch takes less than a single row.
        """
        kind = _kind(num_rows, num_sessions)
        alone_s = self.step_s
        if kind == _ALONE or not self._rows:
            return alone_s  # a row of many takes a fraction: it says nothing of one alone
        nearest = min(self._rows, key=lambda known: (_distance(known, kind), known))
        return max(alone_s, self._rows[nearest].seconds * num_rows)

    def rows_within(self, seconds: float) -> int | None:
        """How many rows of a prompt run in that time; None where none was measured."""
        return int(seconds / self.row_s) if self.row_s else None


def _kind(num_rows: int, num_sessions: int) -> _Kind:
    return max(0, num_rows - 1).bit_length(), max(0, num_sessions - 1).bit_length()


def _distance(one: _Kind, other: _Kind) -> int:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])
