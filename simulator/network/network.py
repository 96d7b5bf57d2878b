"""The virtual network: who is where, what is open, and what stands between.

Owns hosts, listeners, channels and faults. Carries the same encoded bytes as a real network, so that errors
of the codec show. Time is the loop's, virtual or real.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVarTuple

from mesh.errors import AddressInUse
from mesh.types import Address
from simulator.loop import VirtualLoop
from simulator.network.channel import Observer, Pipe, SetTimer, VirtualChannel, retry_s
from simulator.network.hosts import Host, Lan, Path, direct_path, own_path, path_by_lan
from simulator.network.rules import Rule, Way
from simulator.network.sharing import Medium, Sharing, Use
from simulator.script import LinkScript, PathScript

Ts = TypeVarTuple("Ts")

_FIRST_FREE_PORT = 49152  # where the range for ports chosen by the system starts (RFC 6335)


@dataclass(frozen=True, slots=True, eq=False)
class Obstacle:
    """Something that lets nothing through."""

    way: Way
    keeps: bool
    """Whether what was sent meanwhile arrives as soon as it is gone, and not when it is tried again."""


class Door(Protocol):
    """Somebody who listens at an address."""

    def take(self, source: Host) -> VirtualChannel:
        """Make a channel for a dialler and return its end of it; raise PeerUnreachable."""


class VirtualNetwork:
    """Hosts and the channels between them."""

    def __init__(self, seed: str = "", observer: Observer | None = None) -> None:
        self.seed = seed
        self._dice: dict[tuple[Host, Host], random.Random] = {}
        self.rules: dict[Rule, None] = {}
        self.hosts: dict[str, Host] = {}
        """By address."""
        self.lans: dict[str, Lan] = {}
        self.doors: dict[Address, Door] = {}
        """Who listens where."""
        self.ends: dict[Host, dict[VirtualChannel, None]] = {}
        """Open channels, by the host whose end it is."""
        self.holding: dict[Pipe, None] = {}
        """Pipes whose messages cannot arrive."""
        self._obstacles: dict[Obstacle, None] = {}
        self._radios: dict[str, Medium] = {}
        self._direct: dict[tuple[str, str], PathScript] = {}
        self.path_version = 0
        """Rises when a path changes."""
        self._paths: dict[tuple[Host, Host], Path] = {}
        self._sharing = Sharing()
        self._next_done: asyncio.TimerHandle | None = None
        self._next_port = _FIRST_FREE_PORT
        self.observer = observer
        self.now: Callable[[], float] = self._first_now
        """Seconds of the loop's clock."""
        self.at: SetTimer = self._first_at

    # Who is where

    def add_lan(self, name: str, radio: str | None = None) -> Lan:
        """Add an access point; those of one radio share its air time."""
        air = self._radios.setdefault(radio or name, Medium(f"radio {radio or name}"))
        lan = self.lans[name] = Lan(name, air)
        return lan

    def add_host(self, name: str, address: str, lan: str, link: LinkScript) -> Host:
        """Add a host to a local network."""
        host = Host(name, address, self.lans[lan], link)
        host.index = len(self.hosts)
        self.hosts[address] = host
        host.lan.hosts.append(host)
        return host

    def add_path(self, script: PathScript) -> None:
        """Give two hosts, by name, a way of their own in one direction; before anything is sent."""
        self._direct[script.source, script.target] = script

    def path(self, source: Host, target: Host) -> Path:
        """The way from one host to another, as it is now."""
        path = self._paths.get((source, target))
        if path is None:
            path = self._paths[source, target] = self._find(source, target)
        return path

    def dice(self, source: Host, target: Host) -> random.Random:
        """Return what decides by chance of messages from one host to another.

        Each pair has its own, so that what passes between others, or is left out, changes nothing for it.
        """
        dice = self._dice.get((source, target))
        if dice is None:
            dice = random.Random(f"{self.seed}/{source.name}/{target.name}")
            self._dice[source, target] = dice
        return dice

    def _find(self, source: Host, target: Host) -> Path:
        if source is target:
            return own_path()
        direct = self._direct.get((source.name, target.name))
        if direct is not None:
            return direct_path(direct, Medium(f"{source.name} to {target.name}"))
        return path_by_lan(source, target)

    def set_quality(self, host: Host, quality: float) -> None:
        """Set a host's signal: its rates follow, packets are lost as it fades, at 0 it is gone."""
        host.quality = quality
        self._paths = {ends: path for ends, path in self._paths.items() if host not in ends}
        self.path_version += 1
        self.look_again()

    # What stands between

    def is_blocked(self, source: Host, target: Host) -> bool:
        """Whether nothing gets from one host to another now."""
        if source is target:
            return not source.is_on
        if not (source.is_on and target.is_on and source.lan.is_on and target.lan.is_on):
            return True
        if not (source.quality and target.quality):
            return True
        if source.lan is not target.lan and (source.name, target.name) not in self._direct:
            return True
        if not self._obstacles:
            return False
        return any(obstacle.way.covers(source.name, target.name) for obstacle in self._obstacles)

    def block(self, way: Way, *, keeps: bool = False) -> Obstacle:
        """Let nothing through until the obstacle is lifted."""
        obstacle = Obstacle(way, keeps)
        self._obstacles[obstacle] = None
        return obstacle

    def lift(self, obstacle: Obstacle) -> None:
        """Take an obstacle away; what waited arrives when it is tried again, or at once where it was kept."""
        self._obstacles.pop(obstacle, None)
        self.look_again(at_once=obstacle.keeps)

    @contextmanager
    def rule(self, rule: Rule) -> Iterator[None]:
        """Put a rule in force; leaving lifts it."""
        self.rules[rule] = None
        try:
            yield
        finally:
            self.rules.pop(rule, None)

    def look_again(self, *, at_once: bool = False) -> None:
        """Send on what was held where the way is free now."""
        now_s = self.now()
        for pipe in tuple(self.holding):
            if not self.is_blocked(pipe.source, pipe.target):
                delay_s = self.path(pipe.source, pipe.target).delay_s
                retried_s = retry_s(pipe.held_since_s, now_s) + delay_s
                self.at(now_s if at_once else retried_s, pipe.release)

    def reset(self, pipe: Pipe) -> None:
        """Break the channel of a pipe at both ends."""
        pipe.sink.peer.cut()
        pipe.sink.cut()

    def reset_all(self, way: Way) -> None:
        """Break every open channel of a way, at both ends."""
        for ends in tuple(self.ends.values()):
            for end in tuple(ends):
                if way.covers(end.host.name, end.peer.host.name):
                    end.cut()
                    end.peer.cut()

    def refuse(self, pipe: Pipe) -> None:
        """The agent that a message was for is gone: its system says so to the sender's."""
        back_s = self.path(pipe.target, pipe.source).delay_s
        self.at(self.now() + back_s, pipe.sink.peer.cut, "the peer ended")

    def end_life(self, host: Host, *, is_told: bool) -> None:
        """End what a host's agent had open; peers are told by its system, or find out by themselves."""
        host.boot += 1
        for address in [address for address in self.doors if address.host == host.address]:
            del self.doors[address]
        for end in tuple(self.ends.get(host, ())):
            end.cut()
            peer = end.peer
            if is_told and not self.is_blocked(host, peer.host):
                self.at(self.now() + self.path(host, peer.host).delay_s, peer.cut)

    # What passes

    def free_address(self, host: Host, port: int) -> Address:
        """Return an address that nobody listens at; port 0 takes a free one. Raises AddressInUse."""
        if port == 0:
            port, self._next_port = self._next_port, self._next_port + 1
        address = host.at(port)
        if address in self.doors:
            raise AddressInUse(f"another program listens on {address}; choose another port")
        return address

    def connect(self, source: Host, target: Host) -> tuple[VirtualChannel, VirtualChannel]:
        """Make a channel and return both its ends."""
        there, back = Pipe(self, source, target), Pipe(self, target, source)
        dialled = VirtualChannel(self, source, outgoing=there, source=back)
        served = VirtualChannel(self, target, outgoing=back, source=there)
        dialled.peer, served.peer = served, dialled
        return dialled, served

    def received_bytes(self, host: Host) -> int:
        """Bytes that came to a host from others of its network so far."""
        return sum(
            other.sent[host][1] for other in host.lan.hosts if other is not host and host in other.sent
        )

    def start_flow(self, uses: tuple[Use, ...], num_bytes: int, done: Callable[[], None]) -> None:
        """Put a large message on its way; a way that takes no time is done at once."""
        if not uses:
            done()
            return
        self._sharing.start(uses, num_bytes, done, self.now())
        self._await_flows()

    def _await_flows(self) -> None:
        if self._next_done is not None:
            self._next_done.cancel()
        next_s = self._sharing.next_s()
        self._next_done = None if next_s is None else self.at(next_s, self._flows_done)

    def _flows_done(self) -> None:
        self._next_done = None
        for done in self._sharing.finished(self.now()):
            done()
        self._await_flows()

    # Time, of the loop on which the network is first used

    def _first_now(self) -> float:
        self._bind(asyncio.get_running_loop())
        return self.now()

    def _first_at(self, when: float, callback: Callable[[*Ts], object], *args: *Ts) -> asyncio.TimerHandle:
        self._bind(asyncio.get_running_loop())
        return self.at(when, callback, *args)

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = loop.time
        self.at = loop.at if isinstance(loop, VirtualLoop) else loop.call_at
