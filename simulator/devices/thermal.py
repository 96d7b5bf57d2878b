"""How warm a device is, and what it does about it.

Owns the heat balance and the states. Pure.

A device is one lump of heat: at constant power P in surroundings of A degrees it nears A + R P, and comes
63 % of the way there in one time constant (Newton's law of cooling). A state begins at its threshold and
ends some degrees below, so that a device at a threshold does not flutter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from simulator.profiles.types import ThermalProfile

ROOM_C = 22.0
"""Surroundings where nothing else is said."""


class Heat(IntEnum):
    """States of a device, in order."""

    NOMINAL = 0
    WARM = 1
    THROTTLED = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True)
class Warmth:
    """A device's temperature and state at one moment."""

    degrees_c: float
    heat: Heat = Heat.NOMINAL


def warmed(profile: ThermalProfile, before: Warmth, settles_c: float, seconds: float) -> Warmth:
    """Return the warmth after some seconds at constant power and surroundings.

    `settles_c` is where it would end up (`settling_c`). Cutting the time into pieces changes nothing,
    because under constant power temperature goes one way only.
    """
    kept = math.exp(-seconds / profile.time_constant_s)
    degrees_c = settles_c + (before.degrees_c - settles_c) * kept
    return Warmth(degrees_c, _heat(profile, degrees_c, before.heat))


def settling_c(profile: ThermalProfile, surroundings_c: float, power_w: float) -> float:
    """Return the temperature that the device nears at constant power."""
    return surroundings_c + profile.degrees_per_w * power_w


def soonest_change_s(profile: ThermalProfile, warmth: Warmth, rests_c: float, works_c: float) -> float:
    """Return the fewest seconds after which the state may be another; infinite where it never is.

    Full power heats toward `works_c`, rest cools toward `rests_c`; a mix of both takes longer to either side.
    """
    starts = (profile.warm_c, profile.throttled_c, profile.critical_c, math.inf)
    rises_s = _seconds_to(profile, warmth.degrees_c, max(works_c, rests_c), starts[warmth.heat])
    if warmth.heat is Heat.NOMINAL:
        return rises_s
    falls_c = starts[warmth.heat - 1] - profile.hysteresis_c
    return min(rises_s, _seconds_to(profile, -warmth.degrees_c, -min(works_c, rests_c), -falls_c))


def _seconds_to(profile: ThermalProfile, degrees_c: float, settles_c: float, aim_c: float) -> float:
    """Return when what nears `settles_c` from below comes past an aim; infinite where it does not."""
    if degrees_c >= aim_c:
        return 0.0
    if settles_c <= aim_c:
        return math.inf
    return profile.time_constant_s * math.log((settles_c - degrees_c) / (settles_c - aim_c))


def speed_factor(profile: ThermalProfile, heat: Heat) -> float:
    """Return the share of its full speed that the device runs at, above 0 and at most 1."""
    factors = (1.0, profile.warm_factor, profile.throttled_factor, profile.critical_factor)
    return factors[heat]


def _heat(profile: ThermalProfile, degrees_c: float, before: Heat) -> Heat:
    risen = _begun(profile, degrees_c)
    if risen >= before:
        return risen
    return min(before, _begun(profile, degrees_c + profile.hysteresis_c))


def _begun(profile: ThermalProfile, degrees_c: float) -> Heat:
    """Return the highest state whose threshold is reached."""
    if degrees_c < profile.warm_c:
        return Heat.NOMINAL
    if degrees_c < profile.throttled_c:
        return Heat.WARM
    return Heat.THROTTLED if degrees_c < profile.critical_c else Heat.CRITICAL
