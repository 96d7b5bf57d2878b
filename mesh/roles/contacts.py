"""Staying in touch: for each other node one link, over which both tell that they live.

Owns these links: who dials, when again, and who is promised quick heartbeats. Must not know what is believed
of a node; it passes on what it hears. What was said over each link is `mesh.roles.line`'s, and how long the
way to each node is, which is measured over the same links, `mesh.roles.echoing`'s.

A pair needs one link, whoever dialled it. The node with the lower id dials at once, the other waits a
moment and dials only where no link has come meanwhile, so it does not matter who can reach whom. Where both
dialled, the one with the higher id hangs up its own. Nobody answers a heartbeat, so nothing waits for
anything; only the first one over a link is met by one in return, and until then the dialler counts it as
no link.

What a node says over a link that it dialled counts only where we know it at the address that it gives:
who is known at another one has moved, or is reached in another way, and must answer there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from mesh.config import Timing
from mesh.errors import ChannelClosed, MeshError
from mesh.link import Link, open_link
from mesh.logic.news import NOTHING
from mesh.messages import Echo, EchoReply, Goodbye, Heartbeat, Hello
from mesh.now import now_s
from mesh.ports import Transport
from mesh.roles.echoing import Echoing
from mesh.roles.line import Line, Promise, Speech
from mesh.types import LinkRecord, NodeId, NodeRecord, NodeStatus

_log = logging.getLogger(__name__)


class Beliefs(Protocol):
    """Who is told what the links bring, at once and without waiting."""

    def answered(self, record: NodeRecord) -> bool:
        """A node answered our dial; return whether it is the one that is wanted."""

    def heard(self, node_id: NodeId, heartbeat: Heartbeat) -> None:
        """A node showed that it lives."""

    def said_goodbye(self, record: NodeRecord) -> None:
        """A node leaves."""

    def broken(self, node_id: NodeId) -> None:
        """There is no link to a node any more, or still none."""


@dataclass(slots=True)
class _Contact:
    """One life of a node at one address."""

    record: NodeRecord
    pace_s: float
    """From one dial to the next."""
    ours: Line | None = None
    theirs: Line | None = None
    promise: Promise = field(default_factory=Promise)
    tender: asyncio.Task[None] | None = None
    """Dials until there is a link, then reads the one that it dialled."""
    complaint: str = ""
    """What was logged last."""

    @property
    def line(self) -> Line | None:
        """The one to speak on."""
        return self.ours or self.theirs


class Contacts:
    """The links of one node to those that it wants to be in touch with."""

    def __init__(self, own: NodeRecord, transport: Transport, timing: Timing, beliefs: Beliefs) -> None:
        self._own = own.node_id
        self._hello = Hello(own.version, own.mesh, own)
        self._transport = transport
        self._timing = timing
        self._beliefs = beliefs
        self._contacts: dict[NodeId, _Contact] = {}
        self._attended: frozenset[NodeId] = frozenset()
        self._speech = Speech()
        self._echoing = Echoing(own.node_id, timing, self._line_to)
        self._tasks: asyncio.TaskGroup | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """From now on dial those that are wanted, in tasks of this group."""
        self._tasks = tasks
        self._echoing.start(tasks)

    def stop(self) -> None:
        """Dial nobody any more."""
        self._tasks = None
        self._echoing.stop()

    def want(self, record: NodeRecord, link: Link | None = None, wait_s: float = 0.0) -> bool:
        """Be in touch with a node in this life and at this address; return whether `link` is put to use.

        That is a link to it which is open already; where there is none, one is dialled, after a wait.
        """
        contact = self._contacts.get(record.node_id)
        if contact is None or not _is_same(contact.record, record):
            self.drop(record.node_id)
            contact = _Contact(record, self._timing.heartbeat_interval_s)
            contact.promise.next_s = self._next_s(contact)
            self._contacts[record.node_id] = contact
        return self._reach(contact, max(wait_s, self._patience_s(contact)), link)

    def drop(self, node_id: NodeId) -> None:
        """Be in touch with a node no more."""
        self._echoing.gone(node_id)
        if contact := self._contacts.pop(node_id, None):
            self._hang_up(contact)
            if contact.tender:
                contact.tender.cancel()

    def lost(self, node_id: NodeId) -> None:
        """Start anew with a node, and dial it less often: it may be gone for hours, or of another version."""
        self._echoing.gone(node_id)
        if contact := self._contacts.get(node_id):
            contact.pace_s = self._timing.lost_after_s
            self._hang_up(contact)
            self._reach(contact, self._patience_s(contact))

    def attend(self, nodes: frozenset[NodeId]) -> None:
        """From now on promise quick heartbeats to these nodes, and to no others.

        Those for whom that is a change are told at once; some may become known later.
        """
        self._attended = nodes
        changed = [c for c in self._contacts.values() if c.promise.next_s != self._next_s(c)]
        for contact in changed:
            contact.promise.next_s = self._next_s(contact)
        self._call(changed)

    def tell(self, status: NodeStatus, neighbours: tuple[NodeRecord, ...]) -> None:
        """Have this to say from the next heartbeat on."""
        self._speech.news.update(status, neighbours)

    def call_attended(self) -> None:
        """Tell those who are promised quick heartbeats that we live."""
        self._call(c for c in self._contacts.values() if c.promise.next_s is not None)

    def call_all(self) -> None:
        """Tell everybody that we live, waiting for nobody."""
        self._call(self._contacts.values())

    async def speak(self) -> None:
        """Tell everybody that we live, one after the other.

        Ends when all have taken it. One that takes nothing is passed over by later calls, which need not
        wait for this one.
        """
        for contact in tuple(self._contacts.values()):
            if line := contact.line:
                await self._say(contact, line)
            else:
                self._reach(contact, self._patience_s(contact))

    def repeat(self) -> None:
        """Tell everybody everything with the next heartbeat, for they may have forgotten some of it."""
        for contact in self._contacts.values():
            if contact.line:
                contact.line.told = NOTHING

    def take(self, heartbeat: Heartbeat, link: Link) -> None:
        """Take a heartbeat that came over a link that its sender dialled."""
        record = link.peer.node
        contact = self._contacts.get(record.node_id) if record else None
        if record is None or contact is None or self._tasks is None:
            return
        if contact.theirs is None or contact.theirs.link is not link:
            if not _is_same(contact.record, record):
                return
            contact.theirs = Line(link)
            self._tasks.create_task(self._say(contact, contact.theirs))
            self._settle(contact)
        self._beliefs.heard(record.node_id, heartbeat)

    def echoed(self, message: Echo | EchoReply, link: Link) -> None:
        """Take a question or an answer that came over a link that its sender dialled."""
        contact = self._contacts.get(link.peer.node.node_id) if link.peer.node else None
        if contact and contact.theirs and contact.theirs.link is link:
            self._echoing.take(contact.record.node_id, message, contact.theirs)

    def links(self) -> tuple[LinkRecord, ...]:
        """Return what was measured of the ways to others, as it is to be announced."""
        return self._echoing.links()

    def closed(self, link: Link) -> None:
        """Nothing more comes over a link that its sender dialled."""
        contact = self._contacts.get(link.peer.node.node_id) if link.peer.node else None
        if contact is None or contact.theirs is None or contact.theirs.link is not link:
            return
        contact.theirs = None
        if contact.line is None and self._tasks:
            self._beliefs.broken(contact.record.node_id)
            self._reach(contact, self._patience_s(contact))

    async def leave(self) -> None:
        """Say goodbye to everybody that there is a link to; the caller sets the deadline."""
        self.stop()
        async with asyncio.TaskGroup() as tasks:
            for contact in self._contacts.values():
                if contact.line:
                    tasks.create_task(contact.line.say_goodbye())

    def _line_to(self, node_id: NodeId) -> Line | None:
        contact = self._contacts.get(node_id)
        return contact.line if contact else None

    def _next_s(self, contact: _Contact) -> float | None:
        return self._timing.quick_heartbeat_s if contact.record.node_id in self._attended else None

    def _call(self, contacts: Iterable[_Contact]) -> None:
        """Speak to each in a task of its own: none waits for another that takes nothing."""
        for contact in contacts:
            if contact.line and self._tasks:
                self._tasks.create_task(self._say(contact, contact.line))

    def _reach(self, contact: _Contact, wait_s: float, link: Link | None = None) -> bool:
        if contact.line or contact.tender or self._tasks is None:
            return False
        contact.tender = self._tasks.create_task(self._tend(contact, wait_s, link))
        return True

    def _patience_s(self, contact: _Contact) -> float:
        """Let the one with the lower id dial first."""
        return 0.0 if self._own < contact.record.node_id else self._timing.heartbeat_interval_s / 2

    async def _tend(self, contact: _Contact, wait_s: float, link: Link | None) -> None:
        """Dial a node until there is a link to it from either side, and read what comes over ours."""
        try:
            if link is None:
                await asyncio.sleep(wait_s)
            while contact.line is None and self._tasks:
                started_s = now_s()
                try:
                    await self._converse(contact, link)
                except (MeshError, TimeoutError) as error:
                    self._report(contact, error)
                link = None
                if contact.line is None:
                    self._beliefs.broken(contact.record.node_id)
                until_next_s = started_s + contact.pace_s - now_s()
                await asyncio.sleep(max(until_next_s, self._patience_s(contact)))
        finally:
            contact.tender = None

    async def _converse(self, contact: _Contact, link: Link | None) -> None:
        """Exchange heartbeats over a link of ours until it breaks."""
        address, within_s = contact.record.address, self._timing.dial_s
        link = link or await open_link(self._transport, address, self._hello, within_s)
        try:
            if link.node is None or link.node.node_id != contact.record.node_id:
                return  # another node has this address now
            contact.record = link.node.at(address)
            if self._beliefs.answered(contact.record):
                await self._exchange(contact, Line(link))
        finally:
            contact.ours = None
            await link.close()

    async def _exchange(self, contact: _Contact, line: Line) -> None:
        await self._say(contact, line)
        async with asyncio.timeout(self._timing.lost_after_s):
            message = await line.link.receive()
        contact.ours = line
        self._settle(contact)
        while contact.ours is line:
            if isinstance(message, Heartbeat):
                self._beliefs.heard(contact.record.node_id, message)
            elif isinstance(message, Goodbye):
                self._beliefs.said_goodbye(contact.record)
            elif isinstance(message, Echo | EchoReply):
                self._echoing.take(contact.record.node_id, message, line)
            message = await line.link.receive()

    def _settle(self, contact: _Contact) -> None:
        """Be content with a new link; where both dialled, hang up ours if that is for us to do."""
        contact.pace_s = self._timing.heartbeat_interval_s
        self._echoing.reached(contact.record.node_id)
        if contact.ours and contact.theirs and self._own > contact.record.node_id:
            self._close(contact.ours)
            contact.ours = None

    async def _say(self, contact: _Contact, line: Line) -> None:
        """Tell what is new over a link, unless it is still busy with the last."""
        try:
            await line.say(self._speech, contact.promise)
        except ChannelClosed:
            pass  # whoever reads the link is told too, after a goodbye that may wait there
        except MeshError as error:
            self._report(contact, error)

    def _hang_up(self, contact: _Contact) -> None:
        for line in (contact.ours, contact.theirs):
            if line:
                self._close(line)
        contact.ours = contact.theirs = None

    def _close(self, line: Line) -> None:
        if self._tasks:
            self._tasks.create_task(line.link.close())

    def _report(self, contact: _Contact, error: MeshError | TimeoutError) -> None:
        """Log what trying again will not help, once."""
        if isinstance(error, MeshError) and not error.retry and str(error) != contact.complaint:
            contact.complaint = str(error)
            _log.warning("%s at %s: %s", contact.record.name, contact.record.address, error)


def _is_same(known: NodeRecord, record: NodeRecord) -> bool:
    """Whether they speak of one life of a node at one address."""
    return known.incarnation == record.incarnation and known.address == record.address
