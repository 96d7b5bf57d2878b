"""When the mesh has no excuse: nothing befalls it, and what befell it has had time to pass.

Owns which faults excuse what, and for how long after their end. Pure: a script knows all its faults.

A fault that lasted D seconds may be felt for D more, because systems try again at growing intervals; after
that comes the time in which nodes dial, doubt and clear each other.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.devices.device import VirtualDevice
from simulator.scenario.kinds import MOMENTARY
from simulator.script import Fault, FaultKind, Script

_WEATHER = frozenset(
    {
        FaultKind.SLOW,
        FaultKind.HEAT,
        FaultKind.UNPLUG,
        FaultKind.DEPART,
        FaultKind.DRAIN,
        FaultKind.DELAY,
        FaultKind.SLOW_LINK,
        FaultKind.LOSS,
        FaultKind.FADE,
    }
)
"""They make devices and paths slow and kill none: no excuse for taking a node for dead."""


@dataclass(frozen=True, slots=True)
class _Spell:
    """A fault, from its beginning until nobody feels it any more."""

    fault: Fault
    until_s: float


class Calm:
    """The faults of one script as excuses."""

    def __init__(self, script: Script) -> None:
        self._spells = tuple(_Spell(fault, _felt_until_s(fault, script)) for fault in script.faults)

    def since_s(self, now_s: float) -> float:
        """Since when no fault is felt; later than now while one is."""
        return max((spell.until_s for spell in self._spells if spell.fault.at_s <= now_s), default=0.0)

    def excuses_death(self, now_s: float, viewer: VirtualDevice, target: VirtualDevice) -> bool:
        """Whether one device may take another, which runs, for dead now."""
        return any(
            spell.fault.at_s <= now_s < spell.until_s and _concerns(spell.fault, viewer, target)
            for spell in self._spells
            if spell.fault.kind not in _WEATHER
        )


def _felt_until_s(fault: Fault, script: Script) -> float:
    timing = script.timing
    lasts_s = 0.0 if fault.kind in MOMENTARY else _length_s(fault, script)
    margin_s = timing.dial_s + timing.suspect_after_s + timing.lost_after_s
    return fault.at_s + 2 * (lasts_s + fault.over_s) + margin_s


def _length_s(fault: Fault, script: Script) -> float:
    return script.healed_s - fault.at_s if fault.for_s is None else fault.for_s


def _concerns(fault: Fault, *devices: VirtualDevice) -> bool:
    if fault.kind is FaultKind.ROUTER_OFF:
        return any(device.script.lan == fault.lan for device in devices)
    named = (*fault.devices, *fault.toward)
    return not named or any(device.name in named for device in devices)
