"""What an answer takes of devices' strength: energy, and how much of it comes from batteries.

Owns what kinds of devices draw while they compute, and whether a device runs on its battery. Pure. Must not
know how seconds are predicted.

No device tells what it draws, so the figures are those of its class: of one phone, one television and so on,
as published or measured by others, or estimated where nobody has (docs/devices.md). They compare ways, and
are no bill.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mesh.logic.capacity import Candidate
from mesh.types import DeviceClass, NodeId

ACTIVE_W = {
    DeviceClass.PHONE: 5.0,
    DeviceClass.CAR: 30.0,
    DeviceClass.TV: 7.5,
    DeviceClass.FRIDGE: 4.0,
    DeviceClass.SPEAKER: 4.0,
    DeviceClass.WATCH: 1.0,
    DeviceClass.LAPTOP: 51.0,
    DeviceClass.DESKTOP: 200.0,
    DeviceClass.HUB: 12.0,
}
"""Watts of a device that computes."""


def on_battery(candidate: Candidate) -> bool:
    """Whether work there empties a battery."""
    condition = candidate.condition
    return condition is not None and condition.battery is not None and not condition.is_charging


def spent_j(candidates: Sequence[Candidate], busy_s: Mapping[NodeId, float]) -> tuple[float, float]:
    """Joules of devices that are busy for so long: of all, and of those that run on their batteries."""
    known = {candidate.node.node_id: candidate for candidate in candidates}
    all_j = battery_j = 0.0
    for node_id, seconds in busy_s.items():
        candidate = known[node_id]
        joules = ACTIVE_W[candidate.node.device_class] * seconds
        all_j += joules
        battery_j += joules if on_battery(candidate) else 0.0
    return all_j, battery_j
