"""One node: its roles, and the door through which messages reach them.

Owns the listener, the handshake with whoever dials, and which role takes which message. Starts the roles
and ends them in order: goodbye first, so that nobody waits for a node that left on purpose.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field

from mesh.config import Planning, Timing
from mesh.errors import ChannelClosed, MalformedMessage, MeshError
from mesh.link import Link, welcome_link
from mesh.messages import (
    CancelRequest,
    ChatRequest,
    CloseSession,
    DevicesRequest,
    Frame,
    Goodbye,
    Heartbeat,
    HeartbeatReply,
    Hello,
    LoadStage,
    Message,
    OpenSession,
    PlanRequest,
    RequestFailed,
    SessionFailed,
    StageLoaded,
    Token,
)
from mesh.ports import Channel, Compute, Discovery, Library, Listener, Transport
from mesh.roles.gateway import Gateway, GatewaySettings
from mesh.roles.peers import Peers
from mesh.roles.roster import Roster
from mesh.roles.worker import Worker
from mesh.types import Address, NodeRecord

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ports:
    """A node's access to the world."""

    transport: Transport
    discovery: Discovery
    compute: Compute
    library: Library


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What the owner chose."""

    memory_bytes: int
    """For weights and caches together."""
    peers: tuple[Address, ...] = ()
    """Where to look for other nodes beside discovery."""
    timing: Timing = field(default_factory=Timing)
    planning: Planning = field(default_factory=Planning)


class Node:
    """A node that runs. Made for a listener that is already open, so that its address is known."""

    def __init__(self, record: NodeRecord, listener: Listener, ports: Ports, settings: NodeSettings) -> None:
        self.record = record
        self._listener = listener
        self._ports = ports
        self._settings = settings
        self._hello = Hello(record.version, record.mesh, record)
        self._stopping = asyncio.Event()
        self._complaint = ""

    def stop(self) -> None:
        """Ask `run` to leave the mesh and return."""
        self._stopping.set()

    async def run(self) -> None:
        """Announce, serve until `stop`, then say goodbye.

        Cancelled, it says goodbye too, within a bounded time. Closes its listener and its discovery.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                roles = self._start(tasks)
                await self._ports.discovery.announce(self.record)
                await self._serve_until_stopped(tasks, roles)
                raise _Stopped
        except* _Stopped:
            pass
        finally:
            await self._ports.discovery.close()
            await self._listener.close()

    def _start(self, tasks: asyncio.TaskGroup) -> _Roles:
        roles = _Roles(self.record, self._hello, self._ports, self._settings, tasks)
        tasks.create_task(roles.worker.run())
        tasks.create_task(roles.gateway.run())
        tasks.create_task(roles.roster.run(self._ports.discovery, self._settings.peers))
        tasks.create_task(self._accept(tasks, roles))
        return roles

    async def _serve_until_stopped(self, tasks: asyncio.TaskGroup, roles: _Roles) -> None:
        try:
            await self._stopping.wait()
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.timing.close_s):
                    await self._ports.discovery.withdraw()
                    await roles.roster.leave()

    async def _accept(self, tasks: asyncio.TaskGroup, roles: _Roles) -> None:
        while True:
            tasks.create_task(self._welcome(await self._listener.accept(), roles))

    async def _welcome(self, channel: Channel, roles: _Roles) -> None:
        """Shake hands with a dialler, then take its messages until it closes."""
        link: Link | None = None
        try:
            async with asyncio.timeout(self._settings.timing.dial_s):
                link = await welcome_link(channel, self._hello)
            if link.node:
                roles.roster.met(link.node)
            while True:
                await roles.take(await link.receive(), link)
        except ChannelClosed:
            pass
        except (MeshError, TimeoutError) as error:
            if (reason := str(error) or "nobody introduced themselves") != self._complaint:
                _log.warning("a channel was closed: %s", reason)  # once: such a peer tries every second
            self._complaint = reason
        except Exception:
            _log.exception("a channel was closed")
        finally:
            if link is not None:
                roles.link_closed(link)
            await channel.close()


class _Stopped(Exception):
    """Ends the node's TaskGroup."""


class _Roles:
    """A node's roles, wired."""

    def __init__(
        self,
        record: NodeRecord,
        hello: Hello,
        ports: Ports,
        settings: NodeSettings,
        tasks: asyncio.TaskGroup,
    ) -> None:
        peers = Peers(ports.transport, hello, settings.timing, tasks)
        self._own_id = record.node_id
        self.worker = Worker(record.node_id, ports.compute, ports.library, peers, settings.memory_bytes)
        self.roster = Roster(record, ports.transport, settings.timing, self.worker.status)
        self.roster.on_change(peers.node_changed)
        self.roster.on_change(self.worker.node_changed)
        gateway_settings = GatewaySettings(settings.timing, settings.planning)
        self.gateway = Gateway(record, ports.library, peers, self.roster, gateway_settings)
        peers.on_message(self.take)

    async def take(self, message: Message, link: Link) -> None:
        """Give a message to the role that it is for."""
        match message:
            case Heartbeat() if link.node:
                self.roster.take(message, link)
            case Heartbeat():
                await link.send(HeartbeatReply())
            case OpenSession() | Frame() | CloseSession() | LoadStage():
                await self.worker.take(message, link)
            case Token() | StageLoaded() | RequestFailed():
                self.gateway.answers.take(message)
            case SessionFailed():
                await self._session_failed(message, link)
            case Goodbye() if link.node:
                self.roster.said_goodbye(link.node)
            case ChatRequest() | CancelRequest() | DevicesRequest() | PlanRequest():
                self.gateway.request(message, link)
            case _:
                raise MalformedMessage(f"a {type(message).__name__} where none belongs")

    async def _session_failed(self, failure: SessionFailed, link: Link) -> None:
        is_our_own = link.node is not None and link.node.node_id == self._own_id
        if self.gateway.answers.owns(failure.session_id):
            self.gateway.answers.take(failure)
        elif not is_our_own:  # our worker told our gateway, which knows it no more: nobody waits for it
            await self.worker.report(failure)

    def link_closed(self, link: Link) -> None:
        """Free what came over a link."""
        self.roster.link_closed(link)
        self.worker.link_closed(link)
        self.gateway.link_closed(link)
