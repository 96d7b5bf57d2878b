"""Smaller scripts: one without some devices, faults or requests, and one of which some time is shorter.

Owns what hangs on what: with a device go its requests, its paths, and what faults say of it. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from simulator.script import DeviceScript, Fault, RequestScript, Script

SHORTEST_S = 0.001
"""Times are halved no further."""


def with_devices(script: Script, devices: Sequence[DeviceScript]) -> Script:
    """Keep these devices only, and nothing that hangs on the others."""
    names = {device.name for device in devices}
    lans = {device.lan for device in devices}
    kept_faults = (_of_devices(fault, names, lans) for fault in script.faults)
    return replace(
        script,
        devices=tuple(devices),
        lans=tuple(lan for lan in script.lans if lan.name in lans),
        requests=tuple(request for request in script.requests if request.device in names),
        paths=tuple(path for path in script.paths if {path.source, path.target} <= names),
        faults=tuple(fault for fault in kept_faults if fault),
    )


def asked_elsewhere(script: Script, stand_in: str, devices: Sequence[DeviceScript]) -> Script:
    """Have a stand-in asked what was to be asked on devices that are not among these."""
    names = {device.name for device in devices}
    moved = (r if r.device in names else replace(r, device=stand_in) for r in script.requests)
    return replace(script, requests=tuple(moved))


def with_faults(script: Script, faults: Sequence[Fault]) -> Script:
    """Keep these faults only."""
    return replace(script, faults=tuple(faults))


def with_requests(script: Script, requests: Sequence[RequestScript]) -> Script:
    """Keep these requests only."""
    return replace(script, requests=tuple(requests))


def _of_devices(fault: Fault, names: Collection[str], lans: Collection[str]) -> Fault | None:
    """A fault without devices that are gone; None where nothing is left that it could befall.

    An empty list means everybody, so a list that becomes empty must not stay.
    """
    devices = tuple(name for name in fault.devices if name in names)
    toward = tuple(name for name in fault.toward if name in names)
    is_empty = (fault.devices and not devices) or (fault.toward and not toward)
    if is_empty or (fault.lan is not None and fault.lan not in lans):
        return None
    return replace(fault, devices=devices, toward=toward)


def ending_earlier(script: Script, failed_at_s: float, *, is_promise: bool) -> Iterator[Script]:
    """Yield scripts in which everything heals, or the run ends, earlier; the boldest first.

    A promise keeps all its time after the healing, or its failure would be of our making.
    """
    tail_s = script.duration_s - script.healed_s
    for healed_s in (0.0, script.healed_s / 2):
        if script.healed_s - healed_s > SHORTEST_S:
            yield replace(script, healed_s=healed_s, duration_s=healed_s + tail_s)
    for end_s in (failed_at_s + SHORTEST_S, script.duration_s / 2):
        if not is_promise and SHORTEST_S < end_s < script.duration_s - SHORTEST_S:
            yield replace(script, duration_s=end_s, healed_s=min(script.healed_s, end_s))


def with_shorter_fault(script: Script, place: int) -> Iterator[Script]:
    """Yield scripts in which the fault at this place takes less time."""
    fault = script.faults[place]
    if fault.for_s is not None and fault.for_s > SHORTEST_S:
        yield _with_fault(script, place, replace(fault, for_s=fault.for_s / 2))
    if fault.over_s > 0:
        yield _with_fault(script, place, replace(fault, over_s=0.0))


def with_shorter_request(script: Script, place: int) -> Iterator[Script]:
    """Yield scripts in which the request at this place asks for less; the boldest first."""
    request = script.requests[place]
    if request.max_tokens > 1:
        yield _with_request(script, place, replace(request, max_tokens=1))
    if request.max_tokens > 2:
        yield _with_request(script, place, replace(request, max_tokens=request.max_tokens // 2))
    if len(request.prompt) > 1:
        half = request.prompt[: len(request.prompt) // 2]
        yield _with_request(script, place, replace(request, prompt=half))


def _with_fault(script: Script, place: int, fault: Fault) -> Script:
    return replace(script, faults=(*script.faults[:place], fault, *script.faults[place + 1 :]))


def _with_request(script: Script, place: int, request: RequestScript) -> Script:
    return replace(script, requests=(*script.requests[:place], request, *script.requests[place + 1 :]))
