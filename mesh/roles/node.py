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
from mesh.logic.membership import Change
from mesh.logic.readiness import DEFAULT_LIMITS, ReadinessLimits
from mesh.messages import (
    CancelRequest,
    ChatRequest,
    CloseSession,
    DevicesRequest,
    DrainRequest,
    Echo,
    EchoReply,
    Frame,
    Goodbye,
    Heartbeat,
    HeartbeatReply,
    Hello,
    LoadStage,
    Message,
    OpenSession,
    PlanRequest,
    Progress,
    ProgressRequest,
    RequestFailed,
    Resume,
    SessionFailed,
    StageLoaded,
    Token,
)
from mesh.ports import (
    Channel,
    Compute,
    Conditions,
    Discovery,
    Library,
    Listener,
    Speedometer,
    Transport,
    Upstream,
)
from mesh.roles.draining import OWNER, STOPPING, Draining, Leaver
from mesh.roles.gateway import Gateway, GatewaySettings
from mesh.roles.measuring import Measuring
from mesh.roles.peers import Peers
from mesh.roles.roster import Roster
from mesh.roles.worker import Worker, WorkerParts
from mesh.types import Address, NodeRecord, NodeState, SessionId

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ports:
    """A node's access to the world."""

    transport: Transport
    discovery: Discovery
    compute: Compute
    library: Library
    conditions: Conditions | None = None
    """None: nothing is known of the device's state."""
    speedometer: Speedometer | None = None
    """None: how fast the device computes is not announced."""
    upstreams: tuple[Upstream, ...] = ()
    """Servers outside the mesh that this node may ask."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What the owner chose."""

    memory_bytes: int
    """For weights and caches together."""
    peers: tuple[Address, ...] = ()
    """Where to look for other nodes beside discovery."""
    timing: Timing = field(default_factory=Timing)
    planning: Planning = field(default_factory=Planning)
    spare_bytes: int = 0
    """Part of the memory that plans leave free, so that the node can stand in for others."""
    readiness: ReadinessLimits = DEFAULT_LIMITS
    """When the device's battery is too low to work for others."""
    measures_speed: bool = True
    """Where it is not known how fast the device computes, measure it when nobody needs the device."""


class Node:
    """A node that runs. Made for a listener that is already open, so that its address is known."""

    def __init__(self, record: NodeRecord, listener: Listener, ports: Ports, settings: NodeSettings) -> None:
        self.record = record
        self._listener = listener
        self._ports = ports
        self._settings = settings
        self._hello = Hello(record.version, record.mesh, record)
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()
        self._draining: Draining | None = None
        self._complaint = ""

    def stop(self) -> None:
        """Ask `run` to hand over what is held here, leave the mesh and return; the second time, at once."""
        if self._stopping.is_set():
            self._hurrying.set()
        self._stopping.set()

    @property
    def parked(self) -> tuple[SessionId, ...]:
        """Sessions that are over, whose caches stay here while nobody needs the room."""
        return self._draining.parked if self._draining is not None else ()

    async def drain(self, *, is_forced: bool) -> None:
        """Hand over what is held here and take nothing new; return when that is done.

        Raises LastHolder where nobody could take over, unless it is forced: then answers may end.
        """
        if self._draining is not None:
            if not is_forced:
                await self._draining.check()
            self._draining.begin("owner", OWNER)
            await self._draining.until_empty()

    def undrain(self) -> None:
        """Take part again."""
        if self._draining is not None:
            self._draining.end("owner")

    async def run(self) -> None:
        """Announce, serve until `stop`, hand over, then say goodbye.

        Handing over takes Timing.drain_s at most, and no time where nothing is held. Cancelled, it says
        goodbye too, within a bounded time. Closes its listener and its discovery.
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
        self._draining = roles.draining
        roles.gateway.on_drain(self._asked_to_drain)
        if self._ports.conditions is not None:
            tasks.create_task(roles.draining.follow(self._ports.conditions))
        if self._ports.speedometer is not None:
            measuring = Measuring(
                self._ports.speedometer, roles.worker, may_measure=self._settings.measures_speed
            )
            tasks.create_task(measuring.run())
        return roles

    async def _asked_to_drain(self, request: DrainRequest) -> None:
        if request.is_over:
            self.undrain()
        else:
            await self.drain(is_forced=request.is_forced)

    async def _serve_until_stopped(self, tasks: asyncio.TaskGroup, roles: _Roles) -> None:
        try:
            await self._stopping.wait()
            await self._hand_over(roles.draining)
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.timing.close_s):
                    await self._ports.discovery.withdraw()
                    await roles.roster.leave()
            roles.peers.stop()

    async def _hand_over(self, draining: Draining) -> None:
        draining.begin("stopping", STOPPING)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.timing.drain_s), asyncio.TaskGroup() as tasks:
                hurrying = tasks.create_task(self._hurrying.wait())
                handing = tasks.create_task(draining.until_empty())
                hurrying.add_done_callback(lambda _: handing.cancel())
                handing.add_done_callback(lambda _: hurrying.cancel())

    async def _accept(self, tasks: asyncio.TaskGroup, roles: _Roles) -> None:
        while True:
            tasks.create_task(self._welcome(await self._listener.accept(), roles))

    async def _welcome(self, channel: Channel, roles: _Roles) -> None:
        """Shake hands with a dialler, then take its messages until it closes."""
        link: Link | None = None
        try:
            async with asyncio.timeout(self._settings.timing.dial_s):
                link = await welcome_link(channel, self._hello)
            roles.welcomed(link)
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
        peers = self.peers = Peers(ports.transport, hello, settings.timing, tasks)
        self._own_id = record.node_id
        self._tasks = tasks
        self._welcomed: dict[Link, NodeRecord] = {}
        """Links that other nodes opened to us."""
        self.roster = Roster(record, ports.transport, settings.timing, lambda: self.worker.status())
        self.worker = Worker(
            WorkerParts(
                node_id=record.node_id,
                compute=ports.compute,
                library=ports.library,
                peers=peers,
                attention=self.roster,
                timing=settings.timing,
                memory_bytes=settings.memory_bytes,
                spare_bytes=settings.spare_bytes,
            )
        )
        self.roster.on_change(self._node_changed)
        self.roster.on_change(peers.node_changed)
        self.roster.on_change(self.worker.node_changed)
        gateway_settings = GatewaySettings(settings.timing, settings.planning, upstreams=ports.upstreams)
        self.gateway = Gateway(record, ports.library, peers, self.roster, gateway_settings)
        self.draining = Draining(
            Leaver(
                node_id=record.node_id,
                name=record.name,
                worker=self.worker,
                gateway=self.gateway,
                roster=self.roster,
                library=ports.library,
                planning=settings.planning,
                readiness=settings.readiness,
            )
        )
        peers.on_message(self.take)

    def welcomed(self, link: Link) -> None:
        """Somebody has opened a link to us."""
        if link.node:
            self._welcomed[link] = link.node
            self.roster.met(link.node)

    def _node_changed(self, change: Change) -> None:
        """Close what a node opened that is lost, or has started again: no system may say that it is dead."""
        for link, node in tuple(self._welcomed.items()):
            is_later_life = change.after is NodeState.JOINED and node.incarnation >= change.record.incarnation
            if change.loss and node.node_id == change.record.node_id and not is_later_life:
                del self._welcomed[link]
                self._tasks.create_task(link.close())

    async def take(self, message: Message, link: Link) -> None:
        """Give a message to the role that it is for."""
        self.roster.seen(message, link)
        match message:
            case Heartbeat():
                await self._heartbeat(message, link)
            case Echo() | EchoReply():
                self.roster.echoed(message, link)
            case OpenSession() | Frame() | CloseSession() | LoadStage() | ProgressRequest():
                await self.worker.take(message, link)
            case Token() | StageLoaded() | RequestFailed():
                self.gateway.answers.take(message)
            case Resume() | Progress() | SessionFailed():
                await self._from_stage(message, link)
            case Goodbye() if link.node:
                self.roster.said_goodbye(link.node)
            case ChatRequest() | CancelRequest() | DevicesRequest() | PlanRequest() | DrainRequest():
                self.gateway.request(message, link)
            case _:
                raise MalformedMessage(f"a {type(message).__name__} where none belongs")

    async def _heartbeat(self, heartbeat: Heartbeat, link: Link) -> None:
        if link.node:
            self.roster.take(heartbeat, link)
        else:
            await link.send(HeartbeatReply())

    async def _from_stage(self, message: Resume | Progress | SessionFailed, link: Link) -> None:
        """A stage says something about a session to our gateway, or to the stage before it, or to both."""
        if isinstance(message, SessionFailed):
            return await self._session_failed(message, link)
        self.gateway.answers.take(message)
        if isinstance(message, Resume) and message.index > 0:
            await self.worker.take(message, link)
        elif isinstance(message, Progress) and self.gateway.answers.is_over(message, link.node):
            await self._close(message, link)
        return None

    async def _close(self, message: Progress | SessionFailed, link: Link) -> None:
        """Have a session freed that nobody wants any more."""
        with contextlib.suppress(MeshError):
            await link.send(CloseSession(message.session_id, message.epoch))

    async def _session_failed(self, failure: SessionFailed, link: Link) -> None:
        """To our gateway, or through our worker to the one that drives it; nobody else keeps a session."""
        is_our_own = link.node is not None and link.node.node_id == self._own_id
        if self.gateway.answers.owns(failure.session_id):
            self.gateway.answers.take(failure)
        elif not is_our_own and self.worker.knows(failure.session_id):
            await self.worker.report(failure)
        else:
            await self._close(failure, link)

    def link_closed(self, link: Link) -> None:
        """Free what came over a link."""
        self._welcomed.pop(link, None)
        self.roster.link_closed(link)
        self.worker.link_closed(link)
        self.gateway.link_closed(link)
