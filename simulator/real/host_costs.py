"""A script with the costs of this machine in it, so that a virtual run predicts what processes here will do.

Owns the arithmetic: what a message costs this machine becomes a part of each path's delay, what each byte
costs a part of its rate. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from simulator.script import DeviceScript, PathScript, Script

_BITS = 8


@dataclass(frozen=True, slots=True)
class HostCosts:
    """Seconds that this machine takes and no device is meant to take."""

    message_s: float
    """For a message without bytes from one process to another: codec, gRPC, system calls, proxy, wake-ups."""
    byte_s: float
    """For each byte of it."""
    frame_s: float
    """For a frame: how much later than due the throttle's result is there."""


def with_host_costs(script: Script, costs: HostCosts) -> Script:
    """Return the script as this machine will act it out."""
    return replace(
        script,
        paths=tuple(_path(path, costs) for path in script.paths),
        devices=tuple(_device(device, costs) for device in script.devices),
    )


def _path(path: PathScript, costs: HostCosts) -> PathScript:
    return replace(
        path, delay_s=path.delay_s + costs.message_s, rate_bps=_slower_bps(path.rate_bps, costs.byte_s)
    )


def _device(device: DeviceScript, costs: HostCosts) -> DeviceScript:
    """A way over the access point has two crossings; each takes half of the costs."""
    link, byte_s = device.link, costs.byte_s / 2
    slower = replace(
        link,
        delay_s=link.delay_s + costs.message_s / 2,
        up_rate_bps=_slower_bps(link.up_rate_bps, byte_s),
        down_rate_bps=_slower_bps(link.down_rate_bps, byte_s),
    )
    return replace(device, link=slower)


def _slower_bps(rate_bps: float, byte_s: float) -> float:
    return _BITS / (_BITS / rate_bps + byte_s)
