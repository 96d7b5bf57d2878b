"""Nodes that are nothing but rosters, in virtual time: they meet, beat, freeze and are unplugged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field

from mesh.config import Timing
from mesh.errors import ChannelClosed
from mesh.link import welcome_link
from mesh.messages import PROTOCOL, Echo, EchoReply, Goodbye, Heartbeat, Hello
from mesh.ports import Channel, Discovery, Listener, Transport
from mesh.roles.roster import Roster
from mesh.types import Address, Device, DeviceClass, NodeId, NodeRecord, NodeState, NodeStatus
from simulator.handles import STANDSTILL, Standstill
from simulator.loop import VirtualLoop
from simulator.network.ideal import IdealNetwork
from tests.roles.wires import Wires


@dataclass(slots=True)
class Place:
    """One node, and what tests see of it."""

    record: NodeRecord
    roster: Roster = field(init=False)
    status: NodeStatus = field(default_factory=lambda: NodeStatus(memory_bytes=100, used_bytes=0))
    changes: list[tuple[float, str, NodeState | None]] = field(default_factory=list)
    """When, who, and what it is now."""
    statuses: list[tuple[float, str, NodeStatus]] = field(default_factory=list)
    num_looks: int = 0
    """How often its status was asked for: with every beat."""
    standstill: Standstill = field(default_factory=Standstill)
    task: asyncio.Task[None] | None = None

    def device(self, name: str) -> Device:
        """What it believes of another."""
        (device,) = [device for device in self.roster.devices() if device.record.name == name]
        return device

    def look(self) -> NodeStatus:
        self.num_looks += 1
        return self.status

    def state(self, name: str) -> NodeState:
        return self.device(name).state

    def told(self, name: str, since_s: float = 0.0) -> list[NodeState | None]:
        """Each state of another that it told its listeners of."""
        return [state for at_s, who, state in self.changes if who == name and at_s >= since_s]


@dataclass(slots=True)
class House:
    """One local network of rosters; the n-th started has host HOSTS[n] and the n-th lowest id."""

    tasks: asyncio.TaskGroup
    network: IdealNetwork = field(default_factory=IdealNetwork)
    places: dict[str, Place] = field(default_factory=dict)
    wires: Wires = field(init=False)

    def __post_init__(self) -> None:
        self.wires = Wires(self.network.transport_at)

    async def start(self, name: str, timing: Timing, incarnation: int = 1) -> Place:
        """Start a node, or one of that name again."""
        number = list(self.places).index(name) if name in self.places else len(self.places)
        host = f"10.0.0.{number + 1}"
        transport = self.wires.transport(host)
        listener = await transport.listen(Address(host, 7070))
        record = NodeRecord(
            NodeId(f"{number + 1:032x}"),
            name,
            DeviceClass.TV,
            listener.address,
            "home",
            PROTOCOL,
            incarnation,
        )
        place = self.places[name] = _place(record, transport, timing)
        context = copy_context()
        context.run(STANDSTILL.set, place.standstill)
        running = _run(place, listener, self.network.discovery_at(host))
        place.task = self.tasks.create_task(running, context=context)
        return place

    async def stop(self, name: str, *, says_goodbye: bool) -> None:
        """End a node, with or without a word."""
        place = self.places[name]
        if says_goodbye:
            await place.roster.leave()
        if place.task:
            place.task.cancel()
            with suppress(asyncio.CancelledError):
                await place.task

    def freeze(self, name: str) -> None:
        """Stop a node as SIGSTOP does; its channels hold."""
        _loop().pause(self.places[name].standstill)

    def thaw(self, name: str) -> None:
        _loop().wake(self.places[name].standstill)

    def unplug(self, name: str) -> None:
        self.network.unplug(self.places[name].record.address.host)

    def plug_in(self, name: str) -> None:
        self.network.plug_in(self.places[name].record.address.host)

    def pair(self, one: str, other: str) -> None:
        """Let both attend each other, as nodes do that share a session."""
        for viewer, viewed in ((one, other), (other, one)):
            self.places[viewer].roster.attend("session", [self.places[viewed].record.node_id])

    def part(self, one: str, other: str) -> None:
        for name in (one, other):
            self.places[name].roster.neglect("session")

    async def count(self, seconds: float) -> int:
        """Messages that all say in that time, without those that measure the ways."""
        before = self.wires.num_messages
        await asyncio.sleep(seconds)
        return self.wires.num_messages - before


@asynccontextmanager
async def a_house(*names: str, timing: Timing | None = None) -> AsyncIterator[House]:
    """Nodes by name, that have met."""
    async with asyncio.TaskGroup() as tasks:
        house = House(tasks)
        for name in names:
            await house.start(name, timing or Timing())
        await asyncio.sleep(2.5)
        try:
            yield house
        finally:
            for place in house.places.values():
                house.thaw(place.record.name)
                if place.task:
                    place.task.cancel()


def _place(record: NodeRecord, transport: Transport, timing: Timing) -> Place:
    place = Place(record)
    place.roster = Roster(record, transport, timing, place.look)
    place.roster.on_change(lambda c: place.changes.append((_loop().time(), c.record.name, c.after)))
    place.roster.on_status(lambda r, status: place.statuses.append((_loop().time(), r.name, status)))
    return place


async def _run(place: Place, listener: Listener, discovery: Discovery) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            await discovery.announce(place.record)
            tasks.create_task(place.roster.run(discovery, ()))
            while True:
                tasks.create_task(_welcome(await listener.accept(), place))
    finally:
        await discovery.close()
        await listener.close()


async def _welcome(channel: Channel, place: Place) -> None:
    try:
        link = await welcome_link(channel, Hello(PROTOCOL, "home", place.record))
        assert link.node is not None
        place.roster.met(link.node)
        try:
            while True:
                message = await link.receive()
                if isinstance(message, Heartbeat):
                    place.roster.take(message, link)
                elif isinstance(message, Echo | EchoReply):
                    place.roster.echoed(message, link)
                elif isinstance(message, Goodbye):
                    place.roster.said_goodbye(link.node)
        finally:
            place.roster.link_closed(link)
    except ChannelClosed:
        pass
    finally:
        await channel.close()


def _loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop
