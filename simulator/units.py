"""Quantities with their units, as people write them in a scenario.

Owns the reading of durations, rates, sizes and the like. Each quantity is a float in the one unit that the
program counts in (seconds, bits a second, bytes, joules), so that whoever reads it afterwards needs to know
nothing of how it was written. Must not know where a text came from: a ValueError says what is wrong with it
and what would be right.
"""

from __future__ import annotations

import math
import re
from typing import ClassVar, Self

_AMOUNT = re.compile(r"\s*([+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?)\s*(.*?)\s*", re.ASCII | re.DOTALL)
_LONGEST_QUOTE = 60


class Quantity(float):
    """A number in the unit that the program counts in."""

    noun: ClassVar[str]
    """What is meant, with its article."""
    units: ClassVar[dict[str, float]]
    """How many of the program's units one of these is."""
    example: ClassVar[str]
    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float] = math.inf
    bare: ClassVar[bool] = False
    """Whether a number without a unit has one clear meaning."""

    @classmethod
    def read(cls, value: object) -> Self:
        """Read what stands in a scenario; raise ValueError that says what is wrong and what is right."""
        if isinstance(value, str):
            amount = cls._from_text(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            amount = cls._from_number(value)
        else:
            raise ValueError(f"{_quote(value)} is not {cls.noun}; write for instance {cls.example}")
        if not cls.lowest <= amount <= cls.highest or math.isinf(amount):
            raise ValueError(f"{_quote(value)} cannot be {cls.noun}; {cls._limits()}")
        return cls(amount)

    @classmethod
    def _from_number(cls, value: float) -> float:
        if not cls.bare:
            raise ValueError(f"{_quote(value)} has no unit; write for instance {cls.example}")
        return float(value)

    @classmethod
    def _from_text(cls, text: str) -> float:
        found = _AMOUNT.fullmatch(text)
        if found is None:
            raise ValueError(f"{_quote(text)} is not {cls.noun}; write for instance {cls.example}")
        amount, unit = float(found[1]), found[2]
        if not unit:
            return cls._from_number(amount) if cls.bare else cls._refuse_bare(text)
        if unit not in cls.units:
            valid = ", ".join(cls.units)
            raise ValueError(f"{_quote(text)} has the unit {_quote(unit)}; {cls.noun} has one of {valid}")
        return cls._scaled(amount, unit)

    @classmethod
    def _refuse_bare(cls, text: str) -> float:
        raise ValueError(f"{_quote(text)} has no unit; write for instance {cls.example}")

    @classmethod
    def _scaled(cls, amount: float, unit: str) -> float:
        factor = cls.units[unit]
        # Dividing by 1000 is exact to the last bit where multiplying by 0.001 is not: 9 ms equals 0.009 s.
        return amount * factor if factor >= 1 else amount / round(1 / factor)

    @classmethod
    def _limits(cls) -> str:
        if math.isinf(cls.highest):
            return f"it must be {cls.lowest:g} or more"
        return f"it must be from {cls.lowest:g} to {cls.highest:g}"


class Duration(Quantity):
    """Seconds."""

    noun = "a duration"
    units: ClassVar[dict[str, float]] = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
    example = "5s or 300ms"


class Rate(Quantity):
    """Bits a second."""

    noun = "a rate"
    units: ClassVar[dict[str, float]] = {"bit/s": 1.0, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9}
    example = "'400 Mbit/s' or '1 Gbit/s'"


class Size(Quantity):
    """Bytes; MB and GB are powers of ten, MiB and GiB powers of two, as IEC 80000-13 has it."""

    noun = "a size"
    units: ClassVar[dict[str, float]] = {
        "B": 1.0,
        **{f"{letter}B": 1000.0**power for power, letter in enumerate("kMGT", 1)},
        **{f"{letter}iB": 1024.0**power for power, letter in enumerate("KMGT", 1)},
    }
    example = "300MB or 1.9GiB"
    highest = 2.0**62


class Share(Quantity):
    """A part of a whole, from 0 to 1: a probability, a quality, a battery's level."""

    noun = "a share"
    units: ClassVar[dict[str, float]] = {"%": 0.01}
    example = "0.05 or '5 %'"
    highest = 1.0
    bare = True

    @classmethod
    def _limits(cls) -> str:
        return "it must be from 0 to 1, or from 0 % to 100 %"


class Factor(Quantity):
    """How many times as much."""

    noun = "a factor"
    units: ClassVar[dict[str, float]] = {"x": 1.0, "times": 1.0}
    example = "50 or '50x'"
    lowest = 1.0
    bare = True


class Temperature(Quantity):
    """Degrees Celsius."""

    noun = "a temperature"
    units: ClassVar[dict[str, float]] = {"°C": 1.0, "C": 1.0, "°F": 1.0, "F": 1.0}
    example = "'35 °C'"
    lowest = -60.0
    highest = 100.0

    @classmethod
    def _scaled(cls, amount: float, unit: str) -> float:
        return (amount - 32) / 1.8 if unit.endswith("F") else amount

    @classmethod
    def _limits(cls) -> str:
        return "it must be from -60 °C to 100 °C"


class Energy(Quantity):
    """Joules."""

    noun = "an energy"
    units: ClassVar[dict[str, float]] = {"J": 1.0, "kJ": 1e3, "Wh": 3600.0, "kWh": 3.6e6}
    example = "500J or '2 Wh'"


def _quote(value: object) -> str:
    text = " ".join(str(value).split())
    text = f"{text[:_LONGEST_QUOTE]}..." if len(text) > _LONGEST_QUOTE else text
    return f"'{text}'"
