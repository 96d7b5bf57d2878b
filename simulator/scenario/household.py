"""One household while its run is being made up: who is in it, and who is when out of action.

Owns what has been decided so far. Devices go by their names within the household.
"""

from __future__ import annotations

from collections.abc import Mapping

from simulator.scenario.kinds import STANDSTILLS
from simulator.scenario.names import Roster
from simulator.scenario.schema import Names, Scenario
from simulator.script import Fault, FaultKind


class Household:
    """The devices of one household and their faults."""

    def __init__(
        self, scenario: Scenario, roster: Roster, prefix: str, starts_s: Mapping[str, float]
    ) -> None:
        self.scenario = scenario
        self.roster = roster
        self.prefix = prefix
        self.starts_s = starts_s
        self._faults: dict[str, list[Fault]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The devices of this household."""
        return self.roster.names(self.prefix)

    def pick(self, names: Names) -> tuple[str, ...]:
        """Return the devices of this household that are meant."""
        return self.roster.pick(names, self.prefix, ())

    def note(self, fault: Fault) -> None:
        """Take a fault into account from now on."""
        for device in fault.devices:
            self._faults.setdefault(device, []).append(fault)

    def runs(self, device: str, began_s: float, ended_s: float) -> bool:
        """Whether a device is started by then and runs all through that time."""
        if self.starts_s[device] > began_s:
            return False
        faults = self._faults.get(device, ())
        return not any(f.kind in STANDSTILLS and self._meets(f, began_s, ended_s) for f in faults)

    def is_free(self, device: str, kind: FaultKind, began_s: float, ended_s: float) -> bool:
        """Whether a device runs all through that time and has no fault of that kind in it."""
        if not self.runs(device, began_s, ended_s):
            return False
        faults = self._faults.get(device, ())
        return not any(f.kind is kind and self._meets(f, began_s, ended_s) for f in faults)

    def is_last(self, device: str, began_s: float, ended_s: float) -> bool:
        """Whether no other device of its mesh runs all through that time."""
        tables = self.roster.tables
        others = (name for name in self.names if name != device and tables[name].mesh == tables[device].mesh)
        return not any(self.runs(other, began_s, ended_s) for other in others)

    def _meets(self, fault: Fault, began_s: float, ended_s: float) -> bool:
        over_s = self.scenario.healed_s if fault.for_s is None else fault.at_s + fault.for_s
        return fault.at_s <= ended_s and began_s <= over_s
