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
from typing import TypeVarTuple

from mesh.errors import AddressInUse
from mesh.types import Address
from simulator.loop import VirtualLoop
from simulator.network.channel import Pipe, VirtualChannel, retry_s
from simulator.network.hosts import Host, Lan, Path, direct_path, own_path, path_by_lan
from simulator.network.rules import Rule, Way
from simulator.network.sharing import Medium, Sharing, Use
from simulator.network.transport import VirtualListener, VirtualTransport
from simulator.script import LinkScript, PathScript

Ts = TypeVarTuple("Ts")

_FIRST_FREE_PORT = 49152  # where the range for ports chosen by the system starts (RFC 6335)


@dataclass(frozen=True, slots=True, eq=False)
class Obstacle:
    """Something that lets nothing through."""

    way: Way
    keeps: bool
    """Whether what was sent meanwhile arrives as soon as it is gone, and not when it is tried again."""


Observer = Callable[[Pipe, bytes, float], None]
"""Told of each message when it arrives, with the time when it was sent."""


class VirtualNetwork:
    """Hosts and the channels between them."""

    def __init__(self, seed: str = "", observer: Observer | None = None) -> None:
        self.jitter = random.Random(f"{seed}/jitter")
        self.losses = random.Random(f"{seed}/losses")
        self.rules: dict[Rule, None] = {}
        self.hosts: dict[str, Host] = {}
        """By address."""
        self.lans: dict[str, Lan] = {}
        self.listeners: dict[Address, VirtualListener] = {}
        self.ends: dict[Host, dict[VirtualChannel, None]] = {}
        """Open channels, by the host whose end it is."""
        self.holding: dict[Pipe, None] = {}
        """Pipes whose messages cannot arrive."""
        self._obstacles: dict[Obstacle, None] = {}
        self._radios: dict[str, Medium] = {}
        self._direct: dict[tuple[str, str], PathScript] = {}
        self._paths: dict[tuple[Host, Host], Path] = {}
        self._sharing = Sharing()
        self._next_done: asyncio.TimerHandle | None = None
        self._next_port = _FIRST_FREE_PORT
        self._observer = observer
        self._loop: asyncio.AbstractEventLoop | None = None

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
        """Give two hosts, by name, a way of their own in one direction."""
        self._direct[script.source, script.target] = script

    def transport(self, host: Host) -> VirtualTransport:
        """Return the Transport of one life of a host's agent."""
        return VirtualTransport(self, host)

    def path(self, source: Host, target: Host) -> Path:
        """The way from one host to another, as it is now."""
        path = self._paths.get((source, target))
        if path is None:
            path = self._paths[source, target] = self._find(source, target)
        return path

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
        self.look_again()

    # What stands between

    def is_blocked(self, source: Host, target: Host) -> bool:
        """Whether nothing gets from one host to another now."""
        if source is target:
            return not source.is_on
        if not (source.is_present and target.is_present):
            return True
        if source.lan is not target.lan and (source.name, target.name) not in self._direct:
            return True
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
        for address in [address for address in self.listeners if address.host == host.address]:
            del self.listeners[address]
        for end in tuple(self.ends.get(host, ())):
            end.cut()
            peer = end.peer
            if is_told and not self.is_blocked(host, peer.host):
                self.at(self.now() + self.path(host, peer.host).delay_s, peer.cut)

    # What passes

    def bind(self, host: Host, port: int) -> VirtualListener:
        """Take an address; port 0 takes a free one."""
        if port == 0:
            port, self._next_port = self._next_port, self._next_port + 1
        address = host.at(port)
        if address in self.listeners:
            raise AddressInUse(f"another program listens on {address}; choose another port")
        listener = self.listeners[address] = VirtualListener(self, host, address)
        return listener

    def connect(self, source: Host, target: Host) -> tuple[VirtualChannel, VirtualChannel]:
        """Make a channel and return both its ends."""
        there, back = Pipe(self, source, target), Pipe(self, target, source)
        dialled = VirtualChannel(self, source, outgoing=there, source=back)
        served = VirtualChannel(self, target, outgoing=back, source=there)
        dialled.peer, served.peer = served, dialled
        return dialled, served

    def arrived(self, pipe: Pipe, data: bytes, sent_s: float) -> None:
        """Count a message that is there, if it went over the network."""
        source, target = pipe.source, pipe.target
        if source is not target:
            counts = source.sent.get(target)
            if counts is None:
                counts = source.sent[target] = [0, 0]
            counts[0] += 1
            counts[1] += len(data)
            target.received_bytes += len(data)
        if self._observer is not None:
            self._observer(pipe, data, sent_s)

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

    # Time

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop on which the network was first used."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def now(self) -> float:
        """Seconds of the loop's clock."""
        return self.loop.time()

    def at(self, when: float, callback: Callable[[*Ts], object], *args: *Ts) -> asyncio.TimerHandle:
        """Have something happen at a time, whatever becomes of the task that asks for it."""
        loop = self.loop
        if isinstance(loop, VirtualLoop):
            return loop.at(when, callback, *args)
        return loop.call_at(when, callback, *args)
