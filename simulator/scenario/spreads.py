"""Values that a scenario leaves open within bounds: `2` or `[2, 8]`, `"5s"` or `["1s", "5s"]`.

Owns the reading of such bounds and the draw between them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import ClassVar, Self

from simulator.units import Duration, Factor, Quantity, Share, Temperature


class _Between:
    """Two bounds; no dataclass, because msgspec would read that as a table and not ask us."""

    __slots__ = ("high", "low")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.low}, {self.high})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and repr(other) == repr(self)

    low: float
    high: float


class Spread(_Between):
    """From the lowest to the highest value, both included; equal where the value is fixed."""

    __slots__ = ()
    kind: ClassVar[type[Quantity]]

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high

    @classmethod
    def read(cls, value: object) -> Self:
        """Read one value or a list of two; raise ValueError that says what is wrong."""
        return cls(*bounds(value, cls.kind.read))

    def draw(self, rng: random.Random) -> float:
        """Draw evenly between the bounds."""
        return self.low if self.low == self.high else rng.uniform(self.low, self.high)


class Durations(Spread):
    """Seconds."""

    kind = Duration


class Shares(Spread):
    """Parts of a whole."""

    kind = Share


class Factors(Spread):
    """How many times as much."""

    kind = Factor


class Temperatures(Spread):
    """Degrees Celsius."""

    kind = Temperature


class Counts(_Between):
    """Whole numbers from the lowest to the highest, both included."""

    __slots__ = ()
    low: int
    high: int

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high

    @classmethod
    def read(cls, value: object) -> Self:
        """Read one number or a list of two; raise ValueError that says what is wrong."""
        low, high = bounds(value, _whole)
        return cls(int(low), int(high))

    def draw(self, rng: random.Random) -> int:
        """Draw evenly between the bounds."""
        return self.low if self.low == self.high else rng.randint(self.low, self.high)


_MOST = 1_000_000  # tokens of one text; far beyond any context


def _whole(value: object) -> float:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST:
        raise ValueError(f"'{str(value)[:40]}' is not a whole number from 1 to {_MOST}")
    return value


def bounds(value: object, read: Callable[[object], float]) -> tuple[float, float]:
    """Read `x` or `[low, high]`, each by `read`."""
    if not isinstance(value, list):
        only = read(value)
        return only, only
    if len(value) != 2:
        raise ValueError(f"a list of {len(value)} is no range; write one value, or two: [least, most]")
    low, high = read(value[0]), read(value[1])
    if low > high:
        raise ValueError(f"the range ends below its start; write [{value[1]!r}, {value[0]!r}]")
    return low, high
