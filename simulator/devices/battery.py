"""What is left in a battery.

Owns the arithmetic of charge. Pure. Charging is not modelled: on mains the level stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.profiles.types import BatteryProfile

_JOULES_PER_WH = 3600.0


@dataclass(frozen=True, slots=True)
class Battery:
    """A battery at one moment."""

    capacity_j: float
    left_j: float

    @classmethod
    def charged(cls, profile: BatteryProfile, level: float) -> Battery:
        """Return a battery filled to a level from 0 to 1."""
        capacity_j = profile.capacity_wh * _JOULES_PER_WH
        return cls(capacity_j, capacity_j * level)

    @property
    def level(self) -> float:
        """From 0 to 1."""
        return self.left_j / self.capacity_j

    @property
    def is_empty(self) -> bool:
        """Whether the device is dead."""
        return self.left_j <= 0.0

    def drained(self, energy_j: float) -> Battery:
        """Return the battery after so much was taken from it."""
        return Battery(self.capacity_j, max(0.0, self.left_j - energy_j))
