"""Who is there: sightings and heartbeats in, the list of devices out.

Drives `mesh.logic.membership` with what Discovery, fixed addresses and heartbeats tell. Each known node
is tended by a task that keeps a link of its own to it, so that no bulk of data delays a heartbeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from mesh.config import Timing
from mesh.errors import MeshError
from mesh.link import Link, open_link
from mesh.logic.membership import Change, Member, Membership
from mesh.messages import Goodbye, Heartbeat, HeartbeatReply, Hello
from mesh.ports import Appeared, Discovery, Transport, Vanished
from mesh.types import Address, Device, NodeId, NodeRecord, NodeState, NodeStatus, Source

_log = logging.getLogger(__name__)

_PRESENT = (NodeState.JOINED, NodeState.ALIVE, NodeState.SUSPECT, NodeState.LOST)


class Roster:
    """The mesh as this node sees it."""

    def __init__(
        self, own: NodeRecord, transport: Transport, timing: Timing, status: Callable[[], NodeStatus]
    ) -> None:
        self._own = own
        self._own_source = Source.SELF
        self._hello = Hello(own.version, own.mesh, own)
        self._transport = transport
        self._timing = timing
        self._status = status
        self._membership = Membership(own.node_id, timing)
        self._links: dict[NodeId, Link] = {}
        self._tended: set[NodeId] = set()
        self._visited: dict[Address, NodeId] = {}
        """Who answered at the fixed addresses."""
        self._listeners: list[Callable[[Change], None]] = []
        self._tasks: asyncio.TaskGroup | None = None

    def on_change(self, listener: Callable[[Change], None]) -> None:
        """Add somebody who is told, without waiting, of every change of a node's state."""
        self._listeners.append(listener)

    def devices(self) -> tuple[Device, ...]:
        """This node and every other that has not left, by name."""
        others = [m.device for m in self._membership.members() if m.state in _PRESENT]
        own = Device(self._own, NodeState.ALIVE, self._own_source, self._status())
        return tuple(sorted([own, *others], key=lambda d: (d.record.name, d.record.node_id)))

    async def run(self, discovery: Discovery, peers: Sequence[Address]) -> None:
        """Watch, tend and age until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._watch(discovery))
            for address in peers:
                tasks.create_task(self._seek(address))
            while True:
                await asyncio.sleep(self._timing.heartbeat_interval_s / 2)
                self._tell(self._membership.tick(_now()))

    def met(self, record: NodeRecord) -> None:
        """A node dialled us and said who it is."""
        self._sight(record, Source.CONTACT)

    def reply(self, heartbeat: Heartbeat) -> HeartbeatReply:
        """Show that we live."""
        known = self._membership.members()
        neighbours = tuple(m.record for m in known if m.state is NodeState.ALIVE)
        return HeartbeatReply(heartbeat.sequence, self._status(), neighbours)

    def said_goodbye(self, record: NodeRecord) -> None:
        """A node told us that it leaves."""
        self._tell(self._membership.said_goodbye(record.node_id, record.incarnation, _now()))

    async def leave(self) -> None:
        """Say goodbye to everybody that we have a link to; the caller sets the deadline."""
        async with asyncio.TaskGroup() as tasks:
            for link in tuple(self._links.values()):
                tasks.create_task(_say_goodbye(link))

    async def _watch(self, discovery: Discovery) -> None:
        async for sighting in discovery.watch():
            match sighting:
                case Appeared(record) if record.mesh == self._own.mesh:
                    self._sight(record, Source.MDNS)
                case Vanished(node_id):
                    self._tell(self._membership.withdrawn(node_id, _now()))

    async def _seek(self, address: Address) -> None:
        """Try a fixed address until it answers, and again whenever its node is gone."""
        reported: str | None = None
        while True:
            if not self._is_known(address):
                try:
                    await self._visit(address)
                except MeshError as error:
                    if str(error) != reported:
                        _log.warning("peer %s: %s", address, error)
                    reported = str(error)
            await asyncio.sleep(2 * self._timing.heartbeat_interval_s)

    def _is_known(self, address: Address) -> bool:
        """Whether the node that answered there is us or present; it may have other addresses too."""
        node_id = self._visited.get(address)
        return node_id == self._own.node_id or (node_id is not None and self._wanted(node_id) is not None)

    async def _visit(self, address: Address) -> None:
        link = await open_link(self._transport, address, self._hello, self._timing.dial_s)
        await link.close()
        if link.node:
            self._visited[address] = link.node.node_id
            self._sight(link.node.at(address), Source.PEER)

    def _sight(self, record: NodeRecord, source: Source) -> None:
        if record.node_id == self._own.node_id:
            self._own_source = source if source is Source.MDNS else self._own_source
            return
        self._tell(self._membership.sighted(record, source, _now()))
        if self._tasks and record.node_id not in self._tended and self._wanted(record.node_id):
            self._tended.add(record.node_id)
            self._tasks.create_task(self._tend(record.node_id))

    def _wanted(self, node_id: NodeId) -> Member | None:
        member = self._membership.get(node_id)
        return member if member and member.state is not NodeState.LEFT else None

    async def _tend(self, node_id: NodeId) -> None:
        """Keep in touch with one node until it has left or is forgotten."""
        reported: str | None = None
        try:
            while member := self._wanted(node_id):
                try:
                    await self._converse(member.record)
                except (MeshError, TimeoutError) as error:
                    if isinstance(error, MeshError) and not error.retry and str(error) != reported:
                        reported = str(error)
                        _log.warning("%s at %s: %s", member.record.name, member.record.address, error)
                    self._tell(self._membership.broken(node_id, _now()))
                await asyncio.sleep(self._pause_s(node_id))
        finally:
            self._tended.discard(node_id)

    def _pause_s(self, node_id: NodeId) -> float:
        """Dial a node that is lost less often: it may be gone for hours, or be of another version."""
        member = self._membership.get(node_id)
        is_lost = member is not None and member.state is NodeState.LOST
        return self._timing.lost_after_s if is_lost else self._timing.heartbeat_interval_s

    async def _converse(self, record: NodeRecord) -> None:
        """Exchange heartbeats over one link until it breaks or the node is at another address."""
        link = await open_link(self._transport, record.address, self._hello, self._timing.dial_s)
        self._links[record.node_id] = link
        try:
            if link.node is None or link.node.node_id != record.node_id:
                return  # another node has this address now
            self._tell(self._membership.sighted(link.node.at(record.address), Source.CONTACT, _now()))
            await self._beat(link, record)
        finally:
            del self._links[record.node_id]
            await link.close()

    async def _beat(self, link: Link, record: NodeRecord) -> None:
        sequence = 0
        while (member := self._wanted(record.node_id)) and member.record.address == record.address:
            sequence += 1
            async with asyncio.timeout(self._timing.lost_after_s):
                await link.send(Heartbeat(sequence))
                answer = await link.receive()
            if isinstance(answer, HeartbeatReply):
                self._tell(self._membership.heard(record.node_id, answer.status, _now()))
                for neighbour in answer.neighbours:
                    if neighbour.mesh == self._own.mesh:
                        self._sight(neighbour, Source.CONTACT)
            await asyncio.sleep(self._timing.heartbeat_interval_s)

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            _log.info("%s: %s", change.record.name, change.after or "forgotten")
            for listener in self._listeners:
                listener(change)


async def _say_goodbye(link: Link) -> None:
    with contextlib.suppress(MeshError):
        await link.send(Goodbye())
        await link.close()


def _now() -> float:
    return asyncio.get_running_loop().time()
