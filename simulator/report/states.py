"""When a device was there, and how long a fault lasted.

Owns intervals of time that several reports draw. Read from events where they tell, from the script where only
that names the devices of a fault. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.result import RunResult
from simulator.script import Fault, FaultKind
from simulator.trace import Event, Kind

_MOMENTS = frozenset(
    (
        FaultKind.CRASH,
        FaultKind.POWER_OFF,
        FaultKind.LEAVE,
        FaultKind.START,
        FaultKind.RESET,
        FaultKind.PAUSE,
        FaultKind.UNPLUG,
    )
)
"""Faults that are a moment, or whose length shows in the device's own state."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Something that lasted on one device."""

    device: str
    began_s: float
    ended_s: float
    what: str


def absences(result: RunResult) -> list[Interval]:
    """Return when each device was off or stood still: `what` is off or paused."""
    of_device: dict[str, list[Event]] = {device.name: [] for device in result.script.devices}
    for event in result.events:
        if event.kind in (Kind.STARTED, Kind.STOPPED, Kind.PAUSED, Kind.WOKEN):
            of_device.setdefault(event.device, []).append(event)
    return [
        interval for name, events in of_device.items() for interval in _absences(name, events, result.ended_s)
    ]


def _absences(device: str, events: Sequence[Event], end_s: float) -> list[Interval]:
    found: list[Interval] = []
    state, since_s = ("off", 0.0) if _starts_late(events) else ("", 0.0)
    for event in events:
        if state and event.at_s > since_s:
            found.append(Interval(device, since_s, event.at_s, state))
        state = {Kind.STOPPED: "off", Kind.PAUSED: "paused"}.get(event.kind, "")
        since_s = event.at_s
    if state and end_s > since_s:
        found.append(Interval(device, since_s, end_s, state))
    return found


def _starts_late(events: Sequence[Event]) -> bool:
    return bool(events) and events[0].kind is Kind.STARTED


def is_moment(fault: Fault) -> bool:
    """Whether a fault is a mark rather than a band."""
    return fault.kind in _MOMENTS


def end_of(fault: Fault, result: RunResult) -> float:
    """Return when a fault was over: after its time, at the healing, or with the run."""
    lasts_s = result.script.healed_s if fault.for_s is None else fault.at_s + fault.for_s
    return min(max(lasts_s, fault.at_s), max(result.ended_s, fault.at_s))


def devices_of(fault: Fault, result: RunResult) -> tuple[str, ...]:
    """Return the devices that a fault befell; every one where it names none."""
    if fault.devices:
        return tuple(dict.fromkeys((*fault.devices, *fault.toward)))
    everybody = result.script.devices
    return tuple(device.name for device in everybody if fault.lan in (None, device.lan))


def title_of(fault: Fault) -> str:
    """Return a fault in a few words: slow × 4, tv, for 3 s."""
    amount = _AMOUNTS.get(fault.kind, "").format(fault.amount, fault.amount * 100)
    where = fault.lan or ", ".join(fault.devices[:3]) + (" …" if len(fault.devices) > 3 else "")
    toward = f"{' ↔ ' if fault.both_ways else ' → '}{', '.join(fault.toward[:3])}" if fault.toward else ""
    lasts = f", for {fault.for_s:g} s" if fault.for_s is not None else ""
    return f"{fault.kind.value.replace('_', ' ')}{amount}{': ' if where else ''}{where}{toward}{lasts}"


_AMOUNTS = {
    FaultKind.SLOW: " × {0:g}",
    FaultKind.HEAT: " {0:g} °C",
    FaultKind.DELAY: " + {0:g} s",
    FaultKind.SLOW_LINK: " ÷ {0:g}",
    FaultKind.LOSS: " {1:g} %",
    FaultKind.DROP: " {1:g} %",
    FaultKind.CORRUPT: " {1:g} %",
    FaultKind.FADE: " to {1:g} %",
}
