"""Numbers as the geometry of small charts.

Owns quantiles, round ticks and the paths of curves, in units of a chart's own view box. Must not know what
the numbers mean or what a chart looks like.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simulator.report.words import count, duration

WIDTH, HEIGHT = 520, 200
"""Of the drawing area of a distribution."""
SPARK_WIDTH, SPARK_HEIGHT = 220, 34

_MOST_STEPS = 240
"""Points of one curve; more cannot be seen at these widths."""
_LABEL_WIDTH = 30.0
"""Of one label; marks whose labels would touch share one."""
_LOG_FROM = 20.0
"""Where the largest value is so many times the median, the axis is logarithmic: else all but a few values
would stand in one spot."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A labelled place on an axis, in the chart's units."""

    place: float
    label: str


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many of some seconds were at most so long: an empirical cumulative distribution."""

    title: str
    what: str
    """How many values of what, in words."""
    numbers: tuple[tuple[str, str], ...]
    """Name and value of each figure, in words."""
    path: str = ""
    marks: tuple[Mark, ...] = ()
    ticks: tuple[Mark, ...] = ()
    is_log: bool = False


def quantile(ordered: Sequence[float], part: float) -> float:
    """Return a quantile of values in order, in between by proportion, so that 0.5 gives the median."""
    place = part * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def distribution(title: str, one: str, values_s: Iterable[float]) -> Distribution:
    """Return seconds as a curve, with p50, p90 and p99 marked and said in numbers."""
    ordered = sorted(values_s)
    what = count(len(ordered), one)
    if not ordered:
        return Distribution(title, what, ())
    parts = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
    named = [(name, quantile(ordered, part)) for name, part in parts]
    every = [("least", ordered[0]), *named, ("most", ordered[-1])]
    axis = _axis(ordered)
    return Distribution(
        title,
        what,
        tuple((name, duration(value)) for name, value in every),
        _steps(ordered, axis),
        _merged([Mark(round(axis.place(value), 1), name) for name, value in named]),
        axis.ticks(),
        axis.is_log,
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    least: float
    most: float
    is_log: bool

    def place(self, value: float) -> float:
        if self.is_log:
            return WIDTH * math.log(max(value, self.least) / self.least) / math.log(self.most / self.least)
        return WIDTH * (value - self.least) / (self.most - self.least)

    def ticks(self) -> tuple[Mark, ...]:
        values = _decades(self.least, self.most) if self.is_log else round_ticks(self.least, self.most)
        return tuple(Mark(round(self.place(value), 1), _plain(value)) for value in values)


def _merged(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """Marks from left to right, each too close to the one before joined to it."""
    merged: list[Mark] = []
    for mark in marks:
        room = _LABEL_WIDTH * (merged[-1].label.count(" ") + 2) / 2 if merged else 0.0
        if merged and mark.place - merged[-1].place < room:
            mark = Mark(mark.place, f"{merged.pop().label} {mark.label}")
        merged.append(mark)
    return tuple(merged)


def _axis(ordered: Sequence[float]) -> _Axis:
    least, most = ordered[0], ordered[-1]
    middle = quantile(ordered, 0.5)
    if middle > 0 and most / middle > _LOG_FROM:
        return _Axis(max(quantile(ordered, 0.02), middle / 10), most, True)
    room = (most - least) * 0.06 or max(most * 0.1, 1e-6)
    return _Axis(max(0.0, least - room), most + room, False)


def _steps(ordered: Sequence[float], axis: _Axis) -> str:
    """The curve rises at each value; of many, every n-th and the last are kept."""
    stride = max(1, math.ceil(len(ordered) / _MOST_STEPS))
    places = [*range(stride - 1, len(ordered), stride)]
    if places[-1] != len(ordered) - 1:
        places.append(len(ordered) - 1)
    steps = [
        f"H{axis.place(ordered[place]):.1f}V{HEIGHT * (1 - (place + 1) / len(ordered)):.1f}"
        for place in places
    ]
    return f"M0 {HEIGHT}{''.join(steps)}H{WIDTH}"


def round_ticks(least: float, most: float, wanted: int = 5) -> list[float]:
    """Return about so many round values within a range, steps of 1, 2 or 5 times a power of ten."""
    if most <= least:
        return [least]
    raw = (most - least) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if raw <= power * factor * 1.0001)
    first = math.ceil(least / step - 1e-9)
    return [place * step for place in range(first, math.floor(most / step + 1e-9) + 1)]


def _decades(least: float, most: float) -> list[float]:
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    whole = [10.0**power for power in powers if least <= 10.0**power <= most]
    finer = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return whole if len(whole) > 2 else [value for value in finer if least <= value <= most]


def _plain(seconds: float) -> str:
    if seconds >= 1 or seconds == 0:
        return f"{seconds:g} s"
    return f"{seconds * 1e3:g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.4g} µs"


@dataclass(frozen=True, slots=True)
class Spark:
    """One figure of one device over the whole run, small."""

    line: str
    area: str
    last: float
    most: float
    least: float


def spark(points: Sequence[tuple[float, float]], end_s: float, least: float, most: float) -> Spark | None:
    """Return (seconds, value) points as a curve between two values; None where there are no points."""
    if not points:
        return None
    stride = math.ceil(len(points) / _MOST_STEPS)
    thin = [*points[:-1:stride], points[-1]]
    places = [(_x(at_s, end_s), _y(value, least, most)) for at_s, value in thin]
    line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    area = f"{line}L{places[-1][0]:.1f} {SPARK_HEIGHT}L{places[0][0]:.1f} {SPARK_HEIGHT}Z"
    values = [value for _, value in points]
    return Spark(line, area, values[-1], max(values), min(values))


def _x(at_s: float, end_s: float) -> float:
    return SPARK_WIDTH * at_s / end_s if end_s > 0 else 0.0


def _y(value: float, least: float, most: float) -> float:
    part = (value - least) / (most - least) if most > least else 0.5
    return (SPARK_HEIGHT - 3) * (1 - min(max(part, 0.0), 1.0)) + 1.5
