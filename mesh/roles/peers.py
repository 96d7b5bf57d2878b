"""Outgoing links to other nodes, dialled when first needed and kept.

Owns one link for each address, its queue of messages to send, and the reading of what comes back. Order
is kept for each address. When a link breaks, its queue is lost and the owner is told once; the next
message dials anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from mesh.config import Timing
from mesh.errors import ChannelClosed, InternalError, MeshError, first_of
from mesh.inbox import Inbox
from mesh.link import Link, open_link
from mesh.logic.membership import Change
from mesh.messages import Hello, Message
from mesh.ports import Transport
from mesh.types import Address, NodeState

_log = logging.getLogger(__name__)

_OUTBOX = 64  # messages waiting for one peer; beyond it whoever posts must wait

Receive = Callable[[Message, Link], Awaitable[None]]
Broken = Callable[[Address, MeshError], None]


class Peers:
    """The links of one node. Lives inside its owner's TaskGroup."""

    def __init__(self, transport: Transport, hello: Hello, timing: Timing, tasks: asyncio.TaskGroup) -> None:
        self._transport = transport
        self._hello = hello
        self._timing = timing
        self._tasks = tasks
        self._outboxes: dict[Address, Inbox[Message]] = {}
        self._links: dict[Address, tuple[Link, asyncio.Task[None]]] = {}
        """Those that are open, each with the task that serves it."""
        self._receive: Receive = _ignore
        self._own = _OwnLink(hello, lambda message, link: self._receive(message, link))
        self._broken: list[Broken] = []
        self._is_stopped = False

    def on_message(self, receive: Receive) -> None:
        """Set who takes what peers send back on these links."""
        self._receive = receive

    def on_broken(self, broken: Broken) -> None:
        """Add somebody who is told, without waiting, when a link cannot be opened or breaks."""
        self._broken.append(broken)

    async def post(self, address: Address, message: Message) -> None:
        """Queue a message for a peer; waits while the queue is full.

        Returning says nothing about arrival: what breaks is told to `on_broken`. Raises ChannelClosed
        where the link breaks while this waits, and after `stop`.
        """
        if self._hello.node and address == self._hello.node.address:
            return await self._own.send(message)
        if self._is_stopped:
            raise ChannelClosed("this node is about to end")
        outbox = self._outboxes.get(address)
        if outbox is None:
            outbox = self._outboxes[address] = Inbox(_OUTBOX)
            self._tasks.create_task(self._run(address, outbox))
        return await outbox.put(message)

    def stop(self) -> None:
        """Open no link any more."""
        self._is_stopped = True

    def node_changed(self, change: Change) -> None:
        """Take news of a node: a link to one that is lost, or to its earlier life, carries nothing any more.

        Its system may not say so: where the power was cut, what is sent on it would be lost in silence.
        """
        lost = change.loss
        if lost is None:
            return
        for address, (link, task) in tuple(self._links.items()):  # it may be known at several addresses
            if _is_of(link, change):
                task.cancel()
                self._drop(address, self._outboxes[address], lost)

    async def _run(self, address: Address, outbox: Inbox[Message]) -> None:
        try:
            link = await open_link(self._transport, address, self._hello, self._timing.dial_s)
        except MeshError as error:
            return self._drop(address, outbox, error)
        self._links[address] = (link, _this_task())
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(link, outbox))
                tasks.create_task(self._read(link))
        except* MeshError as group:
            self._drop(address, outbox, first_of(group))
        finally:
            await link.close()
        return None

    async def _write(self, link: Link, outbox: Inbox[Message]) -> None:
        while True:
            await link.send(await outbox.get())

    async def _read(self, link: Link) -> None:
        while True:
            message = await link.receive()
            try:
                await self._receive(message, link)
            except MeshError:
                raise
            except Exception as error:
                _log.exception("a %s from %s", type(message).__name__, link.node)
                raise InternalError(f"{type(error).__name__}: {error}; the node's log has more") from error

    def _drop(self, address: Address, outbox: Inbox[Message], error: MeshError) -> None:
        if self._outboxes.get(address) is not outbox:
            return  # dropped already, by what was heard of its node
        del self._outboxes[address]
        self._links.pop(address, None)
        outbox.clear()
        outbox.close(str(error))
        for tell in self._broken:
            tell(address, error)


class _OwnLink(Link):
    """A node's link to itself: messages pass as they are, without a channel in between."""

    def __init__(self, hello: Hello, receive: Receive) -> None:
        self.peer = hello
        self._deliver = receive

    async def send(self, message: Message) -> None:
        await self._deliver(message, self)

    async def receive(self) -> Message:
        raise ChannelClosed("what a node sends to itself is delivered, not received")

    async def close(self) -> None:
        """Nothing is open."""


def _is_of(link: Link, change: Change) -> bool:
    """Whether a link leads to the node of a change, in the life that the change has ended."""
    node, record = link.node, change.record
    if node is None or node.node_id != record.node_id:
        return False
    return change.after is not NodeState.JOINED or node.incarnation < record.incarnation


def _this_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def _ignore(message: Message, link: Link) -> None:
    """Nobody listens yet."""
