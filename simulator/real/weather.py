"""What faults do to the paths between devices: pure, so that faults may overlap and end in any order.

Owns which faults process mode can carry out, and whom they concern.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mesh.errors import BadSetting
from simulator.script import Fault, FaultKind, Script

_BLOCKING = (FaultKind.PARTITION, FaultKind.HOLD, FaultKind.ROUTER_OFF, FaultKind.POWER_OFF)
_OF_DEVICES = (FaultKind.CRASH, FaultKind.POWER_OFF, FaultKind.LEAVE)
_IMPOSSIBLE = (
    FaultKind.LOSS,
    FaultKind.DROP,
    FaultKind.CORRUPT,
    FaultKind.FADE,
    FaultKind.DEPART,
    FaultKind.METERED,
    FaultKind.DRAIN,
)

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Weather:
    """The state of one path."""

    is_blocked: bool
    extra_delay_s: float
    slowness: float


def check_possible(script: Script) -> None:
    """Raise BadSetting for a script that real processes cannot act out."""
    for fault in script.faults:
        if fault.kind in _IMPOSSIBLE:
            raise BadSetting(
                f"{script.scenario} has the fault '{fault.kind}', which processes cannot act out; "
                "run it in virtual time"
            )


def pairs_of(fault: Fault, script: Script) -> frozenset[Pair]:
    """The paths that a fault concerns, by source and target."""
    everybody = [device.name for device in script.devices]
    if fault.kind is FaultKind.ROUTER_OFF:
        here = [device.name for device in script.devices if device.lan == fault.lan]
        return _between(here, here)
    others = fault.toward or tuple(name for name in everybody if name not in fault.devices)
    sources = fault.devices or (() if fault.kind in _OF_DEVICES else everybody)
    there = _between(sources, others)
    return there | _between(others, fault.devices) if fault.both_ways else there


def weather(pair: Pair, faults: Sequence[Fault], script: Script) -> Weather:
    """What the faults that last now make of a path."""
    here = [fault for fault in faults if pair in pairs_of(fault, script)]
    return Weather(
        is_blocked=any(fault.kind in _BLOCKING for fault in here),
        extra_delay_s=sum(fault.amount for fault in here if fault.kind is FaultKind.DELAY),
        slowness=math.prod(fault.amount for fault in here if fault.kind is FaultKind.SLOW_LINK),
    )


def _between(sources: Collection[str], targets: Collection[str]) -> frozenset[Pair]:
    return frozenset((source, target) for source in sources for target in targets if source != target)
