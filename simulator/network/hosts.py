"""Hosts, the local networks that they are on, and the paths between them.

Owns where everybody hangs and how good the way from one to another is now. Must not know channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mesh.types import Address
from simulator.handles import Standstill
from simulator.network.sharing import Medium, Use
from simulator.script import LinkScript, PathScript

_BITS = 8

_LEAST_RATE = 0.01  # of the full rate: a radio has a slowest way to send
_FADED_LOSS = 0.05
"""Packets lost where the signal is almost gone; the loss grows with the cube of what is missing. A radio
sends a frame seven times before it is lost, so it is slow long before it loses much. †"""

IDEAL = LinkScript("ideal", is_shared=False, up_rate_bps=1e15, down_rate_bps=1e15, delay_s=0.0)
"""A link that costs nothing, for tests of other things."""


@dataclass(slots=True, eq=False)
class Lan:
    """One local network: an access point and what is around it."""

    name: str
    air: Medium
    """The time of the radio, shared with other access points of the same radio space."""
    is_on: bool = True
    hosts: list[Host] = field(default_factory=list)


class Host:
    """One device's place in the network, and the state of its link."""

    __slots__ = (
        "address",
        "boot",
        "down",
        "index",
        "is_on",
        "lan",
        "link",
        "message_overhead_s",
        "name",
        "quality",
        "sent",
        "standstill",
        "up",
    )

    def __init__(self, name: str, address: str, lan: Lan, link: LinkScript) -> None:
        self.name = name
        self.address = address
        self.lan = lan
        self.link = link
        self.up = Medium(f"{name} up")
        self.down = Medium(f"{name} down")
        self.index = 0
        self.boot = 0
        """Rises with each end of its agent: what belongs to an earlier life is void."""
        self.is_on = True
        self.quality = 1.0
        """Of its signal: 1 is full, 0 is gone."""
        self.message_overhead_s = 0.0
        """What handling one message costs its system."""
        self.standstill = Standstill()
        self.sent: dict[Host, list[int]] = {}
        """Messages and bytes that went to each other host."""

    def at(self, port: int) -> Address:
        """An address of this host."""
        return Address(self.address, port)


@dataclass(frozen=True, slots=True)
class Path:
    """The way from one host to another as it is now."""

    uses: tuple[Use, ...]
    delay_s: float
    jitter_s: float
    loss: float


def own_path() -> Path:
    """The way from a host to itself."""
    return Path((), 0.0, 0.0, 0.0)


def direct_path(script: PathScript, medium: Medium) -> Path:
    """A way of its own between two hosts."""
    return Path((Use(medium, _BITS / script.rate_bps),), script.delay_s, script.jitter_s, script.loss)


def path_by_lan(source: Host, target: Host) -> Path:
    """The way over the access point: on a shared medium a message takes air time on both crossings."""
    up, down = source.link, target.link
    first = source.lan.air if up.is_shared else source.up
    second = target.lan.air if down.is_shared else target.down
    first_s = _BITS / (up.up_rate_bps * max(source.quality, _LEAST_RATE))
    second_s = _BITS / (down.down_rate_bps * max(target.quality, _LEAST_RATE))
    same = first is second
    uses = (Use(first, first_s + second_s),) if same else (Use(first, first_s), Use(second, second_s))
    return Path(
        uses=uses,
        delay_s=up.delay_s + down.delay_s,
        jitter_s=up.jitter_s + down.jitter_s,
        loss=_either(_either(up.up_loss, _faded(source)), _either(down.down_loss, _faded(target))),
    )


def _faded(host: Host) -> float:
    return _FADED_LOSS * (1.0 - host.quality) ** 3


def _either(first: float, second: float) -> float:
    return first + second - first * second
