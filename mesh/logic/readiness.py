"""Whether a device should work for others now: by its battery, heat and link, its plans to leave, its rest.

Owns the limits and their hysteresis, so that a device on the edge does not hand over again and again. Pure.
Must not know how a condition is measured or what handing over means.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh.types import Condition

_GAP = 0.05  # charge: some minutes of work, so that a device does not come back to leave at once


@dataclass(frozen=True, slots=True)
class ReadinessLimits:
    """When a battery is too low to work for others; charges from 0 to 1."""

    battery_low: float = 0.15
    """Below it a device that does not charge hands over."""
    battery_enough: float = 0.20
    """Above it the device is fit again without a charger; the gap keeps it from going back and forth."""

    @classmethod
    def above(cls, battery_floor: float) -> ReadinessLimits:
        """Return the limits of an owner who keeps that share of the battery; 0 heeds no battery at all."""
        return cls(battery_floor, round(battery_floor + _GAP, 4))  # whole percents stay what they are


DEFAULT_LIMITS = ReadinessLimits()


class Readiness:
    """Follows the conditions of one device."""

    def __init__(self, limits: ReadinessLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._is_low = False

    def update(self, condition: Condition) -> str | None:
        """Take the newest condition; return why the device should hand over now, None while it is fit.

        The reason completes "the device leaves: ...". Of several the most urgent is told.
        """
        self._is_low = self._battery_is_low(condition)
        if condition.is_departing:
            return "it is about to leave the house"
        if condition.is_hot:
            return "it is too hot"
        if self._is_low and condition.battery is not None:
            return f"its battery is at {_percent(condition.battery)} %"
        return "its link is metered" if condition.is_metered else None

    def _battery_is_low(self, condition: Condition) -> bool:
        if condition.battery is None or condition.is_charging:
            return False
        if self._is_low:
            return condition.battery <= self._limits.battery_enough
        return condition.battery < self._limits.battery_low


def rest_reason(condition: Condition) -> str | None:
    """Return why nobody may use the device now, by its owner's times; None while they may.

    It completes "the device leaves: ...", as that of `Readiness.update` does.
    """
    until = condition.resting_until
    return None if until is None else f"its owner lets it rest until {until}"


def _percent(charge: float) -> int:
    """Round down, so that what is below the limit is not shown as the limit; 0.29 stays 29."""
    return int(charge * 100 + 1e-6)
