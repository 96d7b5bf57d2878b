"""Prints the digest of every shipped scenario, for comparing runs between processes and versions of Python.

A block of flats is run with a few of its households, and a whole night for some minutes: what is compared is
the order of events, not their number.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from simulator.run import run_script
from simulator.scenario import expand, load, shipped
from simulator.script import Script

_MOST_DEVICES = 100
_LONGEST_S = 600.0


def script_of(name: str, seed: int) -> Script:
    script = expand(load(name), seed)
    if script.duration_s > _LONGEST_S:
        script = first_minutes(script, _LONGEST_S)
    if len(script.devices) <= _MOST_DEVICES:
        return script
    return first_households(script, _MOST_DEVICES)


def first_minutes(script: Script, duration_s: float) -> Script:
    """Leave out what happens after a time, and what was promised of the end."""
    return replace(
        script,
        duration_s=duration_s,
        healed_s=duration_s,
        requests=tuple(request for request in script.requests if request.at_s < duration_s),
        faults=tuple(fault for fault in script.faults if fault.at_s + (fault.for_s or 0.0) < duration_s),
        eventually=(),
    )


def first_households(script: Script, num_devices: int) -> Script:
    """Leave out what concerns devices behind the first few."""
    devices = script.devices[:num_devices]
    names = {device.name for device in devices}
    return replace(
        script,
        devices=devices,
        requests=tuple(request for request in script.requests if request.device in names),
        faults=tuple(fault for fault in script.faults if names.issuperset({*fault.devices, *fault.toward})),
    )


def digests(seed: int) -> dict[str, str]:
    return {name: run_script(script_of(name, seed)).digest for name, _ in shipped()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(digests(7)))
