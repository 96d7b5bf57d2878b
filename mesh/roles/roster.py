"""Who is there: sightings and heartbeats in, the list of devices out.

Drives `mesh.logic.membership` with what Discovery, fixed addresses and heartbeats tell, and the clock: one
task beats for all, quickly for those that another role attends. `mesh.roles.contacts` keeps the links. What
is measured of the ways to others goes out with a status, and never is the reason for a heartbeat.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace

from mesh.config import Timing
from mesh.errors import MeshError
from mesh.link import Link, open_link
from mesh.logic.membership import Change, Member, Membership
from mesh.logic.rhythm import Beat, Rhythm
from mesh.logic.steadiness import Steadiness
from mesh.messages import Echo, EchoReply, Heartbeat, Hello, Message
from mesh.now import now_s
from mesh.ports import Appeared, Discovery, Transport, Vanished
from mesh.roles.alarm import Alarm
from mesh.roles.contacts import Contacts
from mesh.types import (
    Address,
    Device,
    LinkRecord,
    NodeId,
    NodeRecord,
    NodeState,
    NodeStatus,
    Source,
)

_log = logging.getLogger(__name__)

_SOONEST_S = 0.01  # between two looks at the clock: timers come a little early, never much late

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
        self._steadiness = Steadiness(timing)
        self._rhythm = Rhythm(timing)
        self._alarm = Alarm()
        self._contacts = Contacts(own, transport, timing, self)
        self._links: tuple[LinkRecord, ...] = ()
        """As they were announced last."""
        self._visited: dict[Address, NodeId] = {}
        """Who answered at the fixed addresses."""
        self._attended: dict[Hashable, tuple[NodeId, ...]] = {}
        self._listeners: list[Callable[[Change], None]] = []
        self._status_listeners: list[Callable[[NodeRecord, NodeStatus], None]] = []

    def on_change(self, listener: Callable[[Change], None]) -> None:
        """Add somebody who is told, without waiting, of every change of a node's state."""
        self._listeners.append(listener)

    def on_status(self, listener: Callable[[NodeRecord, NodeStatus], None]) -> None:
        """Add somebody who is told, without waiting, when a node's status comes that is not as it was.

        After what `on_change` says of the same heartbeat. New measurements of its links alone are not told.
        """
        self._status_listeners.append(listener)

    def attend(self, key: Hashable, nodes: Iterable[NodeId]) -> None:
        """Beat quickly to these nodes as long as `key` is attended, first at once.

        The same key again replaces its nodes. Our own is passed over; so is one that is not known, until
        it is. Both ends of a pair must attend it for both to notice each other's silence quickly.
        """
        self._attended[key] = tuple(nodes)
        self._attention_changed()

    def neglect(self, key: Hashable) -> None:
        """End an `attend`; does nothing if there is none. Whom no other key attends is told at once."""
        if self._attended.pop(key, None) is not None:
            self._attention_changed()

    def speak_now(self) -> None:
        """Send everybody a heartbeat at once: our status changed in a way that cannot wait."""
        self._refresh()
        self._contacts.call_all()

    def devices(self) -> tuple[Device, ...]:
        """This node and every other that has not left, by name."""
        others = [self._device(m) for m in self._membership.members() if m.state in _PRESENT]
        own = Device(self._own, NodeState.ALIVE, self._own_source, self._own_status())
        return tuple(sorted([own, *others], key=lambda d: (d.record.name, d.record.node_id)))

    async def run(self, discovery: Discovery, peers: Sequence[Address]) -> None:
        """Watch, tend and age until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._contacts.start(tasks)
            tasks.create_task(self._watch(discovery))
            for address in peers:
                tasks.create_task(self._seek(address))
            try:
                await self._keep_time(tasks)
            finally:
                self._contacts.stop()

    async def leave(self) -> None:
        """Say goodbye to everybody that we have a link to; the caller sets the deadline."""
        await self._contacts.leave()

    def seen(self, message: Message, link: Link) -> None:
        """Something came from a node; what is no heartbeat came over another channel, maybe a better one.

        Except for echoes: they come where heartbeats do, and promise nothing.
        """
        if link.node is not None and not isinstance(message, Heartbeat | Echo | EchoReply):
            self._tell(self._membership.seen(link.node.node_id, link.node.incarnation, now_s()))

    def met(self, record: NodeRecord) -> None:
        """A node dialled us and said who it is. It may want to stay in touch, so dial it a little later."""
        self._sight(record, Source.CONTACT, wait_s=self._timing.heartbeat_interval_s / 2)

    def take(self, heartbeat: Heartbeat, link: Link) -> None:
        """Take a heartbeat of a node that dialled us."""
        self._contacts.take(heartbeat, link)

    def echoed(self, message: Echo | EchoReply, link: Link) -> None:
        """Take a question about the way, or the answer to ours, from a node that dialled us."""
        self._contacts.echoed(message, link)

    def link_closed(self, link: Link) -> None:
        """Nothing more comes over a link that was dialled to us."""
        self._contacts.closed(link)

    def answered(self, record: NodeRecord) -> bool:
        """A node answered our dial; return whether it is not one of its earlier lives."""
        self._tell(self._membership.sighted(record, Source.CONTACT, now_s()))
        known = self._wanted(record.node_id)
        return known is not None and known.record.incarnation == record.incarnation

    def heard(self, node_id: NodeId, heartbeat: Heartbeat) -> None:
        """A node showed that it lives."""
        now, before = now_s(), self._membership.get(node_id)
        if changes := self._membership.heard(node_id, heartbeat.status, now, heartbeat.next_s):
            self._tell(changes)
        self._alarm.ring_before(self._membership.next_s)
        if heartbeat.status is not None:
            self._tell_status(before, heartbeat.status)
        for neighbour in heartbeat.neighbours:
            if neighbour.mesh == self._own.mesh:
                self._sight(neighbour, Source.CONTACT)

    def broken(self, node_id: NodeId) -> None:
        """There is no link to a node any more, or still none."""
        self._tell(self._membership.broken(node_id, now_s()))

    def said_goodbye(self, record: NodeRecord) -> None:
        """A node told us that it leaves."""
        self._tell(self._membership.said_goodbye(record.node_id, record.incarnation, now_s()))

    async def _keep_time(self, tasks: asyncio.TaskGroup) -> None:
        """Let silence have its effect when it is due, and tell everybody in equal intervals that we live."""
        repeat_s = now_s() + self._timing.forget_after_s
        while True:
            now = now_s()
            beat = self._rhythm.due(now)
            self._tell(self._membership.tick(now, self._rhythm.next_s))
            if now >= repeat_s:
                repeat_s = now + self._timing.forget_after_s
                self._contacts.repeat()
            if beat:
                self._beat(beat, tasks)
            await self._alarm.sleep(max(now + _SOONEST_S, self._membership.next_s))

    def _beat(self, beat: Beat, tasks: asyncio.TaskGroup) -> None:
        self._refresh()
        match beat:
            case Beat.USUAL:
                tasks.create_task(self._contacts.speak())
            case Beat.QUICK:
                self._contacts.call_attended()

    def _refresh(self) -> None:
        self._links = self._contacts.links()
        self._contacts.tell(self._own_status(), self._membership.alive())

    def _own_status(self) -> NodeStatus:
        return replace(self._status(), links=self._links)

    def _attention_changed(self) -> None:
        """Beat to those who are attended now, in the rhythm that they need."""
        everybody = frozenset(node_id for group in self._attended.values() for node_id in group)
        others = everybody - {self._own.node_id}
        self._refresh()  # they plan by how many sessions are here
        self._contacts.attend(others)
        if others:
            self._rhythm.quicken(now_s())
        else:
            self._rhythm.relax()
        self._alarm.ring_before(self._rhythm.next_s)

    async def _watch(self, discovery: Discovery) -> None:
        async for sighting in discovery.watch():
            match sighting:
                case Appeared(record) if record.mesh == self._own.mesh:
                    self._sight(record, Source.MDNS)
                case Vanished(node_id):
                    self._tell(self._membership.withdrawn(node_id, now_s()))

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
        if link.node:
            self._visited[address] = link.node.node_id
        if link.node is None or not self._sight(link.node.at(address), Source.PEER, link):
            await link.close()

    def _sight(
        self, record: NodeRecord, source: Source, link: Link | None = None, wait_s: float = 0.0
    ) -> bool:
        """Take news of a node and get in touch with it; return whether an open link to it is put to use."""
        if record.node_id == self._own.node_id:
            self._own_source = source if source is Source.MDNS else self._own_source
            return False
        changes = self._membership.sighted(record, source, now_s())
        self._tell(changes)
        if changes:
            self._contacts.drop(record.node_id)  # a new life, or a new hope
        member = self._wanted(record.node_id)
        return member is not None and self._contacts.want(member.record, link, wait_s)

    def _wanted(self, node_id: NodeId) -> Member | None:
        member = self._membership.get(node_id)
        return member if member and member.state is not NodeState.LEFT else None

    def _device(self, member: Member) -> Device:
        """Return a line of the list, with why the node is not planned with where it comes and goes."""
        if member.state is not NodeState.ALIVE:
            return member.device
        reason = self._steadiness.reason(member.record.node_id, now_s())
        return replace(member.device, kept_out=reason) if reason else member.device

    def _tell_status(self, before: Member | None, status: NodeStatus) -> None:
        if before is None or before.state is NodeState.LEFT or _is_same(before.status, status):
            return
        for listener in self._status_listeners:
            listener(before.record, status)

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            _log.info("%s: %s", change.record.name, change.after or "forgotten")
            self._steadiness.note(change, now_s())
            match change.after:
                case NodeState.LOST:
                    self._contacts.lost(change.record.node_id)
                case NodeState.LEFT | None:
                    self._contacts.drop(change.record.node_id)
            for listener in self._listeners:
                listener(change)


def _is_same(before: NodeStatus | None, status: NodeStatus) -> bool:
    """Whether nothing but measurements of links changed."""
    return before is not None and replace(before, links=()) == replace(status, links=())
