"""What devices still hold when nobody asks any more: weights, and caches that give way; nothing else.

Owns what counts as left over. Must not know how it came about.
"""

from __future__ import annotations

from collections.abc import Sequence

from mesh.types import Device, NodeState, NodeStatus


def leftovers(devices: Sequence[Device]) -> list[str]:
    """A line for each thing that should not be there any more, or for a device that is not."""
    lines = []
    for device in devices:
        if device.state is not NodeState.ALIVE or device.status is None:
            lines.append(f"{device.record.name} is {device.state}")
        else:
            lines += [f"{device.record.name} {what}" for what in _of(device.status)]
    return lines


def _of(status: NodeStatus) -> list[str]:
    found = []
    if status.num_sessions:
        found.append(f"has {status.num_sessions} sessions")
    weights_bytes = sum(stage.weights_bytes for stage in status.stages)
    if status.used_bytes != weights_bytes + status.parked_bytes:
        excess = status.used_bytes - weights_bytes - status.parked_bytes
        found.append(f"holds {excess} bytes beside weights and parked caches")
    return found
