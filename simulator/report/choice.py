"""What goes into a page when a run is too large for it.

Owns the limits and the choice: devices that something happened to come first, late events before early ones.
What is left out is counted, so that the page can say so. Pure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from simulator.report.states import devices_of
from simulator.result import Flow, RequestRecord, RunResult
from simulator.script import DeviceScript
from simulator.trace import Event, Kind

MOST_DEVICES = 48
"""Lanes of the timeline and rows of the table of devices: about three screens."""
MOST_FRAMES = 20_000
"""Intervals of the timeline; at about 45 bytes each they are a megabyte."""
MOST_LINKS = 40
MOST_REQUESTS = 100
MOST_OF_A_KIND = 1_000
MOST_OF_CHATTER = 2_000
"""Of messages, tokens and frames each, which come by the thousand."""

_CHATTER = frozenset((Kind.MESSAGE, Kind.TOKEN, Kind.COMPUTED))

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Kept(Generic[Item]):
    """The part of something that goes into the page."""

    items: tuple[Item, ...]
    note: str
    """One sentence on what was left out; empty where everything is there."""


def kept_devices(result: RunResult) -> Kept[DeviceScript]:
    """Return the devices that are shown one by one, in the script's order."""
    devices = result.script.devices
    weight = _weights(result)
    of_mesh: defaultdict[str, float] = defaultdict(float)
    for device in devices:  # those of one mesh tell one story, so they stay together
        of_mesh[device.mesh] = max(of_mesh[device.mesh], weight[device.name])
    first = sorted(devices, key=lambda d: (weight[d.name] == 0, -of_mesh[d.mesh], d.mesh, -weight[d.name]))
    first = first[:MOST_DEVICES]
    names = frozenset(device.name for device in first)
    shown = tuple(device for device in devices if device.name in names)
    why = "the meshes of those in complaints, then of the busiest, those asked and those that faults befell"
    return Kept(shown, _note(len(shown), len(devices), "devices", why))


def _weights(result: RunResult) -> defaultdict[str, float]:
    """Complaints outweigh everything; then a busy second counts as much as a fault or a request."""
    weight: defaultdict[str, float] = defaultdict(float)
    for device in result.devices:
        weight[device.name] += device.busy_s
    for request in result.requests:
        weight[request.device] += 1.0 if request.error is None else 50.0
    for fault in result.script.faults:
        if fault.devices:
            for name in devices_of(fault, result):
                weight[name] += 1.0
    said = " ".join(complaint.text for complaint in result.complaints).replace(",", " ").replace(":", " ")
    for word in said.split():
        weight[word] += 1e6
    return weight


def kept_frames(frames: Sequence[Event]) -> Kept[Event]:
    """Return the last frames."""
    shown = tuple(frames[-MOST_FRAMES:])
    return Kept(shown, _note(len(shown), len(frames), "computing intervals of these devices", "the last"))


def kept_links(result: RunResult) -> Kept[Flow]:
    """Return the links that carried most, most first."""
    shown = tuple(sorted(result.flows, key=lambda f: (-f.num_bytes, f.source, f.target))[:MOST_LINKS])
    return Kept(shown, _note(len(shown), len(result.flows), "links", "those that carried most"))


def kept_requests(result: RunResult) -> Kept[RequestRecord]:
    """Return requests in their order; those that were not answered come before others where it is tight."""
    ranked = sorted(result.requests, key=lambda request: (request.is_answered, request.number))
    shown = tuple(sorted(ranked[:MOST_REQUESTS], key=lambda request: request.number))
    why = "those without an answer, then the first"
    return Kept(shown, _note(len(shown), len(result.requests), "requests", why))


def kept_events(result: RunResult) -> Kept[Event]:
    """Return what the list of events shows: the last of each kind; samples are drawn as curves instead."""
    events = [event for event in result.events if event.kind is not Kind.SAMPLED]
    total = Counter(event.kind for event in events)
    seen: Counter[Kind] = Counter()
    shown: list[Event] = []
    for event in events:
        seen[event.kind] += 1
        if total[event.kind] - seen[event.kind] < _most(event.kind):
            shown.append(event)
    cut = [f"{_most(kind):,} of {num:,} {kind.value}" for kind, num in total.items() if num > _most(kind)]
    return Kept(tuple(shown), f"Only the last of each kind are listed: {', '.join(cut)}." if cut else "")


def _most(kind: Kind) -> int:
    return MOST_OF_CHATTER if kind in _CHATTER else MOST_OF_A_KIND


def _note(num_shown: int, num_all: int, what: str, which: str) -> str:
    return f"Shown are {num_shown:,} of {num_all:,} {what}: {which}." if num_shown < num_all else ""
