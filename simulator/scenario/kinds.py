"""What goes with each kind of fault in a scenario.

Owns which keys a step of each kind takes, and which step ends which fault.
"""

from __future__ import annotations

from simulator.scenario.schema import Undo
from simulator.script import FaultKind

AMOUNT_KEYS = {
    FaultKind.SLOW: "factor",
    FaultKind.SLOW_LINK: "factor",
    FaultKind.HEAT: "temperature",
    FaultKind.DELAY: "delay",
    FaultKind.LOSS: "share",
    FaultKind.DROP: "share",
    FaultKind.CORRUPT: "share",
    FaultKind.FADE: "quality",
}
"""The key that says how much."""

OPTIONAL_AMOUNT_KEYS = {FaultKind.UNPLUG: "level"}
"""The key that may say how much."""

STOPS = frozenset({FaultKind.CRASH, FaultKind.POWER_OFF, FaultKind.LEAVE})
"""After these the device has to be started."""

STANDSTILLS = STOPS | {FaultKind.PAUSE}
"""During these a device does nothing, so only one of them can befall it at a time."""

PATH_FAULTS = frozenset(
    {
        FaultKind.DELAY,
        FaultKind.SLOW_LINK,
        FaultKind.LOSS,
        FaultKind.DROP,
        FaultKind.CORRUPT,
        FaultKind.RESET,
        FaultKind.PARTITION,
        FaultKind.HOLD,
    }
)
"""These befall the way between two sides."""

ENDED_BY = {
    Undo.START: STOPS,
    Undo.WAKE: frozenset({FaultKind.PAUSE}),
    Undo.PLUG_IN: frozenset({FaultKind.UNPLUG}),
    Undo.STAY: frozenset({FaultKind.DEPART, FaultKind.DRAIN}),
    Undo.UNMETERED: frozenset({FaultKind.METERED}),
    Undo.ROUTER_ON: frozenset({FaultKind.ROUTER_OFF}),
    Undo.RECONNECT: frozenset({FaultKind.PARTITION}),
    Undo.RELEASE: frozenset({FaultKind.HOLD}),
    Undo.RECOVER: frozenset(AMOUNT_KEYS),
}
"""Which faults each undoing step ends."""

MOMENTARY = frozenset({FaultKind.RESET})
"""These are over as soon as they have happened."""


def keys_of(deed: FaultKind | Undo) -> frozenset[str]:
    """Return the keys that a step may have."""
    keys = {"at", "do"}
    match deed:
        case FaultKind.ROUTER_OFF | Undo.ROUTER_ON:
            keys.add("lan")
        case _:
            keys.add("devices")
    if isinstance(deed, FaultKind):
        keys |= _fault_keys(deed)
    return frozenset(keys)


def _fault_keys(kind: FaultKind) -> set[str]:
    keys = set() if kind in MOMENTARY else {"for"}
    keys |= {known[kind] for known in (AMOUNT_KEYS, OPTIONAL_AMOUNT_KEYS) if kind in known}
    if kind in PATH_FAULTS:
        keys |= {"toward", "both_ways"}
    if kind in STOPS:
        keys.add("keeps_disk")
    if kind is FaultKind.FADE:
        keys.add("over")
    return keys
