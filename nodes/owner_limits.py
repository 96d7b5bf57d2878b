"""What the owner of a device allows: when others may use it, and which others it uses.

Owns the choice, and nothing that follows from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh.adapters.device_conditions import Wishes
from mesh.adapters.metered_link import Metering, metering
from mesh.logic.readiness import DEFAULT_LIMITS, ReadinessLimits
from mesh.logic.rest import RestTime


@dataclass(frozen=True, slots=True)
class OwnerLimits:
    """The limits of one device."""

    heeds_conditions: bool = True
    """Hand over when the device should, by its condition or by these limits."""
    readiness: ReadinessLimits = DEFAULT_LIMITS
    rest: tuple[RestTime, ...] = ()
    """When nobody may use it."""
    metering: Metering = Metering.AUTO
    distrusted: frozenset[str] = frozenset()
    """Other devices that its gateway never uses, by name or the first digits of the id."""

    @property
    def wishes(self) -> Wishes:
        """What of it depends on the time and on the link."""
        return Wishes(self.rest, metering(self.metering))
