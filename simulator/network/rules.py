"""Faults of paths as rules: a message comes in, what becomes of it goes out.

Owns the verdicts and the rules. A rule is in force until it is lifted; `VirtualNetwork.rule` lifts it at the
end of a `with`. Must not know channels or time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.network.hosts import Host


@dataclass(frozen=True, slots=True)
class Packet:
    """A message that is about to be sent."""

    source: Host
    target: Host
    data: bytes


@dataclass(frozen=True, slots=True)
class Later:
    """It arrives, later than it would."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Slower:
    """It occupies the path this many times as long."""

    factor: float


@dataclass(frozen=True, slots=True)
class Lossier:
    """Its packets are lost with this probability more."""

    probability: float


@dataclass(frozen=True, slots=True)
class Altered:
    """It arrives with other bytes."""

    data: bytes


class Lost:
    """It never arrives; a channel is reliable or broken, so its channel breaks."""


Verdict = Later | Slower | Lossier | Altered | Lost | None
"""None: nothing befalls it."""

Rule = Callable[[Packet], Verdict]


@dataclass(frozen=True, slots=True)
class Way:
    """Which messages a rule or an obstacle is about: those from `devices` to `toward`, or both ways."""

    devices: frozenset[str]
    toward: frozenset[str]
    """Empty: everybody else."""
    both_ways: bool = True

    def covers(self, source: str, target: str) -> bool:
        """Whether a message from one to the other is meant."""
        return self._from_to(source, target) or (self.both_ways and self._from_to(target, source))

    def _from_to(self, source: str, target: str) -> bool:
        meant = target in self.toward if self.toward else target not in self.devices
        return (source in self.devices or not self.devices) and meant


def always(way: Way, verdict: Verdict) -> Rule:
    """The same befalls every message of a way."""
    return lambda packet: verdict if way.covers(packet.source.name, packet.target.name) else None


def sometimes(way: Way, probability: float, verdict: Callable[[Packet], Verdict], rng: random.Random) -> Rule:
    """Something befalls a message of a way with a probability."""

    def rule(packet: Packet) -> Verdict:
        is_meant = way.covers(packet.source.name, packet.target.name)
        return verdict(packet) if is_meant and rng.random() < probability else None

    return rule


def corrupted(packet: Packet, rng: random.Random) -> Verdict:
    """Turn one bit."""
    if not packet.data:
        return None
    place = rng.randrange(len(packet.data) * 8)
    data = bytearray(packet.data)
    data[place // 8] ^= 1 << place % 8
    return Altered(bytes(data))
