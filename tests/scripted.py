"""Gateways that say what a test wants, for tests of the client."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from mesh.client import Client
from mesh.errors import ChannelClosed
from mesh.gateways import Reached, Way
from mesh.link import Link, open_link, welcome_link
from mesh.messages import PROTOCOL, ChatRequest, Heartbeat, HeartbeatReply, Hello, Message
from mesh.ports import Channel, Listener
from mesh.types import Address, DeviceClass, NodeId, NodeRecord
from simulator.network.ideal import IdealNetwork

CLIENT_AT = "10.0.0.99"


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on after a time; heartbeats are answered meanwhile."""

    for_s: float


@dataclass(frozen=True, slots=True)
class Silence:
    """Say nothing for a time, not even that one lives; then go on, and answer what was asked meanwhile."""

    for_s: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """Break the link; the next one is welcome."""


@dataclass(frozen=True, slots=True)
class Die:
    """Break every link and answer nobody any more."""


Step = Message | Wait | Silence | HangUp | Die


@dataclass(slots=True)
class Scripted:
    """A gateway with a script for each request; the last is for all that follow."""

    record: NodeRecord
    listener: Listener
    scripts: Sequence[Sequence[Step]]
    asked: list[Message] = field(default_factory=list)
    asked_at_s: list[float] = field(default_factory=list)
    num_open: int = 0
    num_heartbeats: int = 0
    _speaks: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def chats(self) -> list[ChatRequest]:
        """The answers that were asked for."""
        return [message for message in self.asked if isinstance(message, ChatRequest)]

    async def run(self) -> None:
        self._speaks.set()
        async with asyncio.TaskGroup() as tasks:
            with suppress(ChannelClosed):
                while True:
                    tasks.create_task(self._serve(await self.listener.accept()))

    async def _serve(self, channel: Channel) -> None:
        link = await welcome_link(channel, Hello(PROTOCOL, "home", self.record))
        self.num_open += 1
        try:
            async with asyncio.TaskGroup() as tasks:
                self.asked.append(await link.receive())
                self.asked_at_s.append(asyncio.get_running_loop().time())
                answering = tasks.create_task(self._answer_heartbeats(link))
                hangs_up = await self._act(link, self.scripts[min(len(self.asked), len(self.scripts)) - 1])
                if hangs_up:
                    answering.cancel()
        except* ChannelClosed:
            pass
        finally:
            self.num_open -= 1
            await link.close()

    async def _act(self, link: Link, steps: Sequence[Step]) -> bool:
        for step in steps:
            match step:
                case Wait(for_s):
                    await asyncio.sleep(for_s)
                case Silence(for_s):
                    self._speaks.clear()
                    await asyncio.sleep(for_s)
                    self._speaks.set()
                case HangUp():
                    return True
                case Die():
                    await self.listener.close()
                    return True
                case message:
                    await link.send(message)
        return False

    async def _answer_heartbeats(self, link: Link) -> None:
        while True:
            if isinstance(await link.receive(), Heartbeat):
                self.num_heartbeats += 1
                await self._speaks.wait()
                await link.send(HeartbeatReply())


@dataclass(slots=True)
class ScriptedMesh:
    """Several gateways on one network."""

    tasks: asyncio.TaskGroup
    network: IdealNetwork = field(default_factory=IdealNetwork)
    gateways: dict[str, Scripted] = field(default_factory=dict)
    running: list[asyncio.Task[None]] = field(default_factory=list)

    def __getitem__(self, name: str) -> Scripted:
        return self.gateways[name]

    async def add(self, name: str, *scripts: Sequence[Step]) -> None:
        record = a_record(name)
        listener = await self.network.transport_at(record.address.host).listen(record.address)
        self.gateways[name] = Scripted(record, listener, scripts)
        self.running.append(self.tasks.create_task(self.gateways[name].run()))

    def client(self, first: str = "tv", *, ways: Sequence[Way] = ()) -> Client:
        record = a_record(first)
        return Client(record, lambda: self.open(record), random.Random(1), self.open, ways)

    async def open(self, record: NodeRecord) -> Link:
        transport = self.network.transport_at(CLIENT_AT)
        return await open_link(transport, record.address, Hello(PROTOCOL, "home", None), 3.0)

    def way(self, name: str) -> Way:
        """The way to a gateway whose address was given."""
        record = a_record(name)

        async def reach(_: object) -> Reached:
            return Reached(record, await self.open(record), lambda: self.open(record))

        return Way(str(record.address), reach)


_NAMES = ("tv", "phone", "car", "hub")


def a_record(name: str) -> NodeRecord:
    """The node of that name in every scripted mesh: tv, phone, car or hub."""
    number = _NAMES.index(name) + 1
    address = Address(f"10.0.0.{number}", 7070)
    return NodeRecord(NodeId(f"{number}" * 32), name, DeviceClass.TV, address, "home", PROTOCOL, 1)


@asynccontextmanager
async def a_mesh(**scripts: Sequence[Sequence[Step]]) -> AsyncIterator[ScriptedMesh]:
    """Start gateways by name, each with its scripts."""
    async with asyncio.TaskGroup() as tasks:
        mesh = ScriptedMesh(tasks)
        for name, each in scripts.items():
            await mesh.add(name, *each)
        try:
            yield mesh
        finally:
            await asyncio.sleep(0.1)
            for task in mesh.running:
                task.cancel()
