"""What this device can tell about itself, as defaults for its owner.

Owns guesses only: every one can be overruled on the command line. Must not decide what the mesh does.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

import psutil

from mesh.types import DeviceClass
from nodes.identity import MAX_NAME_LENGTH, is_device_name


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """Defaults of a node agent on this device."""

    name: str
    device_class: DeviceClass
    memory_bytes: int
    """What the mesh may use unless the owner says otherwise."""
    num_threads: int


def probe_device() -> DeviceFacts:
    """Look at this device now; never raises for a fact that the system does not tell."""
    return DeviceFacts(
        name=default_name(socket.gethostname()),
        device_class=guess_class(),
        memory_bytes=psutil.virtual_memory().available // 2,
        num_threads=default_threads(),
    )


def default_name(host_name: str) -> str:
    """Turn a host's name into a device's: its first label, or 'device' where there is none to use."""
    label = host_name.partition(".")[0].strip()[:MAX_NAME_LENGTH]
    return label if is_device_name(label) else "device"


def guess_class() -> DeviceClass:
    """Guess from the battery: with one it is a laptop, without a desktop."""
    sensors = getattr(psutil, "sensors_battery", None)  # absent where psutil does not know the system
    try:
        battery = sensors() if sensors is not None else None
    except (OSError, RuntimeError, psutil.Error):  # a broken driver is no battery
        battery = None
    return DeviceClass.DESKTOP if battery is None else DeviceClass.LAPTOP


def default_threads() -> int:
    """Physical cores that this process may run on: two threads of one core share its arithmetic units."""
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return min(physical, _num_allowed_cores() or physical)


def _num_allowed_cores() -> int | None:
    try:
        return len(psutil.Process().cpu_affinity() or ())
    except (AttributeError, OSError, psutil.Error):  # macOS has no affinity
        return None
