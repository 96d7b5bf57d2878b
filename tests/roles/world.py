"""A small virtual home for tests of the roles: nodes on one network, in virtual time."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mesh.client import Client
from mesh.config import Planning
from mesh.errors import ChannelClosed
from mesh.link import Link, open_link, welcome_link
from mesh.logic.readiness import DEFAULT_LIMITS, ReadinessLimits
from mesh.messages import PROTOCOL, Hello, Message
from mesh.ports import Channel, Compute, Conditions, Library, Speedometer, Upstream
from mesh.roles.node import Node, NodeSettings, Ports
from mesh.roles.place import Place
from mesh.roles.worker import Worker
from mesh.types import Address, DeviceClass, NodeId, NodeRecord, NodeState, ProtocolVersion, Standby
from simulator.compute import ModelledCompute, TokenFunctionCompute
from simulator.handles import STANDSTILL
from simulator.library import TINY, MemoryLibrary
from simulator.loop import VirtualLoop
from simulator.network.hosts import Host
from simulator.network.ideal import IdealNetwork
from simulator.network.network import Obstacle
from simulator.network.rules import Way
from simulator.network.transport import VirtualListener

ROOMY = 10_000_000
"""Memory in which the tiny model fits whole."""

KB = 1_000


@dataclass(slots=True)
class VirtualNode:
    """A node and the parts of its world that tests look at or break."""

    node: Node
    port: Compute
    listener: VirtualListener
    task: asyncio.Task[None]

    @property
    def compute(self) -> ModelledCompute:
        assert isinstance(self.port, ModelledCompute)
        return self.port

    @property
    def record(self) -> NodeRecord:
        return self.node.record

    @property
    def worker(self) -> Worker:
        """The role behind the door, for what nobody can ask for by a message."""
        assert self.node._draining is not None
        return self.node._draining._leaver.worker

    @property
    def num_open(self) -> int:
        """Caches of sessions that are not over."""
        return self.compute.num_open - len(self.worker._ledger.parked)

    @property
    def places(self) -> tuple[Place, ...]:
        return self.worker._places.all

    @property
    def kept_bytes(self) -> int:
        return sum(place.relay.kept_bytes for place in self.places)

    @property
    def free_bytes(self) -> int:
        status = self.worker.status()
        return status.memory_bytes - status.used_bytes


@dataclass(slots=True)
class Home:
    """One local network."""

    tasks: asyncio.TaskGroup
    network: IdealNetwork = field(default_factory=IdealNetwork)
    nodes: dict[str, VirtualNode] = field(default_factory=dict)
    """By name; of several of one name the last."""
    started: list[VirtualNode] = field(default_factory=list)

    async def start(
        self,
        name: str,
        memory_bytes: int = ROOMY,
        *,
        library: Library | None = None,
        version: ProtocolVersion = PROTOCOL,
        mesh: str = "home",
        peers: tuple[Address, ...] = (),
        has_mdns: bool = True,
        compute: Compute | None = None,
        node_id: NodeId | None = None,
        incarnation: int = 1,
        spare_bytes: int = 0,
        standby: Standby = Standby.NONE,
        distrusted: frozenset[str] = frozenset(),
        readiness: ReadinessLimits = DEFAULT_LIMITS,
        conditions: Conditions | None = None,
        speedometer: Speedometer | None = None,
        upstreams: tuple[Upstream, ...] = (),
        draft_model: str | None = None,
    ) -> VirtualNode:
        host = f"10.0.0.{len(self.started) + 1}"
        transport = self.network.transport_at(host)
        listener = await transport.listen(Address(host, 7070))
        record = NodeRecord(
            node_id=node_id or NodeId(f"{len(self.started) + 1:032x}"),
            name=name,
            device_class=DeviceClass.TV,
            address=listener.address,
            mesh=mesh,
            version=version,
            incarnation=incarnation,
        )
        discovery = (self.network if has_mdns else IdealNetwork()).discovery_at(host)
        compute = compute or TokenFunctionCompute(TINY)
        ports = Ports(
            transport,
            discovery,
            compute,
            library or MemoryLibrary(),
            conditions,
            speedometer,
            upstreams,
        )
        planning = Planning(standby=standby, distrusted=distrusted, draft_model=draft_model)
        settings = NodeSettings(
            memory_bytes, peers, planning=planning, readiness=readiness, spare_bytes=spare_bytes
        )
        node = Node(record, listener, ports, settings)
        context = contextvars.copy_context()
        context.run(STANDSTILL.set, self.network.host(host).standstill)
        task = self.tasks.create_task(node.run(), context=context)
        self.nodes[name] = VirtualNode(node, compute, listener, task)
        self.started.append(self.nodes[name])
        return self.nodes[name]

    def client(self, name: str) -> Client:
        """A client of one node's gateway."""
        record = self.nodes[name].record
        return Client(record, lambda: self.link(record), random.Random(1), self.link)

    async def link(self, record: NodeRecord) -> Link:
        """A client's bare link to a node."""
        transport = self.network.transport_at("10.0.0.99")
        return await open_link(transport, record.address, Hello(PROTOCOL, "home", None), 1.0)

    def host(self, name: str) -> Host:
        """A node's place in the network."""
        return self.network.host(self.nodes[name].record.address.host)

    def power_cut(self, name: str) -> None:
        """Take a node away without a goodbye."""
        self.network.unplug(self.nodes[name].record.address.host)

    def power_on(self, name: str) -> None:
        """Undo a power cut; the node went on meanwhile, without a network."""
        self.network.plug_in(self.nodes[name].record.address.host)

    def freeze(self, name: str) -> None:
        """Stop a node's process, as SIGSTOP does: what it holds and what it has open stay as they are."""
        self._loop().pause(self.host(name).standstill)

    def thaw(self, name: str) -> None:
        """Let it go on, as SIGCONT does."""
        self._loop().wake(self.host(name).standstill)

    @staticmethod
    def _loop() -> VirtualLoop:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return loop

    def block(self, *names: str) -> Obstacle:
        """Let nothing through between two nodes, though both are there; `network.lift` undoes it."""
        one, other = (self.host(name).name for name in names)
        return self.network.block(Way(frozenset({one}), frozenset({other})))

    def cut_links(self, *names: str) -> None:
        """Break what is open between two nodes; new links can be opened at once."""
        one, other = (self.host(name).name for name in names)
        self.network.reset_all(Way(frozenset({one}), frozenset({other})))

    async def until_met(self, num_nodes: int) -> None:
        """Wait until the first node has heard so many, itself included; for homes on the real clock."""
        client = self.client(next(iter(self.nodes)))
        async with asyncio.timeout(30):
            while True:
                heard = [device for device in await client.devices() if device.status]
                if len(heard) >= num_nodes:
                    return
                await asyncio.sleep(0.05)

    async def settle(self) -> None:
        """Let everybody meet."""
        await asyncio.sleep(2)

    async def states(self, viewer: str) -> dict[str, NodeState]:
        """Who is there, as one node sees it."""
        return {d.record.name: d.state for d in await self.client(viewer).devices()}

    def leftovers(self) -> int:
        """Caches of sessions that are not over, wherever they are."""
        return sum(node.num_open for node in self.nodes.values())


@asynccontextmanager
async def a_home(**memories: int) -> AsyncIterator[Home]:
    """Start nodes by name and memory; stop all at the end."""
    async with asyncio.TaskGroup() as tasks:
        home = Home(tasks)
        for name, memory_bytes in memories.items():
            await home.start(name, memory_bytes)
        await home.settle()
        try:
            yield home
        finally:
            for node in home.started:
                node.node.stop()


@dataclass(slots=True)
class Listening:
    """An address at which everything that is said is kept, and nothing answered."""

    listener: VirtualListener
    heard: list[Message] = field(default_factory=list)
    num_links: int = 0

    @property
    def address(self) -> Address:
        return self.listener.address

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._hear(await self.listener.accept()))

    async def _hear(self, channel: Channel) -> None:
        link = await welcome_link(channel, Hello(PROTOCOL, "home", None))
        self.num_links += 1
        try:
            while True:
                self.heard.append(await link.receive())
        except ChannelClosed:
            await link.close()


@asynccontextmanager
async def listening(network: IdealNetwork, host: str = "10.0.0.50") -> AsyncIterator[Listening]:
    """Listen at a host, for instance as a gateway that is driven by hand."""
    place = Listening(await network.transport_at(host).listen(Address(host, 7070)))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(place.run())
        try:
            yield place
        finally:
            running.cancel()
            await place.listener.close()
