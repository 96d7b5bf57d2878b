"""Holds stages and computes frames.

Owns the node's memory books, its sessions, and the order of work: one frame at a time, first come first
served. Results go straight on: hidden states to the next stage, tokens to the gateway. A session that
fails is reported to its gateway and freed here and behind; the node lives on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace

from mesh.errors import (
    BadRequest,
    InternalError,
    MeshError,
    NetworkError,
    StageLost,
    StageNotLoaded,
    UnknownSession,
)
from mesh.inbox import Inbox
from mesh.link import Link
from mesh.logic.membership import Change
from mesh.logic.memory import MemoryLedger
from mesh.messages import (
    CloseSession,
    Frame,
    LoadStage,
    OpenSession,
    RequestFailed,
    SessionFailed,
    StageLoaded,
    Token,
)
from mesh.ports import Compute, Library, Sampled, Step
from mesh.roles.peers import Peers
from mesh.types import Address, Hidden, Hop, NodeId, NodeStatus, SessionId, StageKey

_log = logging.getLogger(__name__)

_QUEUE = 256  # frames waiting for the processor; beyond it the links are not read
_REFUSED = 256  # sessions whose opening failed, of which frames may be under way


@dataclass(frozen=True, slots=True)
class _Place:
    """A session's place on this node."""

    opening: OpenSession
    upstream: Link

    @property
    def next_hop(self) -> Hop | None:
        following = self.opening.index + 1
        return self.opening.route[following] if following < len(self.opening.route) else None


@dataclass(frozen=True, slots=True)
class _Lost:
    """A session's next stage went away."""

    session_id: SessionId
    error: MeshError


@dataclass(frozen=True, slots=True)
class _Work:
    message: OpenSession | Frame | CloseSession | _Lost
    upstream: Link | None


@dataclass(frozen=True, slots=True)
class _LinkClosed:
    """Nothing more comes over a link; queued behind what came, so that no session is opened after it."""

    link: Link


class Worker:
    """The part of a node that computes."""

    def __init__(
        self, node_id: NodeId, compute: Compute, library: Library, peers: Peers, memory_bytes: int
    ) -> None:
        self._node_id = node_id
        self._compute = compute
        self._library = library
        self._peers = peers
        self._ledger = MemoryLedger(memory_bytes)
        self._sessions: dict[SessionId, _Place] = {}
        self._refused: dict[SessionId, int] = {}
        """Epochs of sessions that were not opened: their gateway is told why, and nothing else."""
        self._queue: Inbox[_Work | _LinkClosed] = Inbox(_QUEUE)
        self._loading = asyncio.Lock()
        self._tasks: asyncio.TaskGroup | None = None
        peers.on_broken(self._peer_broken)

    def status(self) -> NodeStatus:
        """What this node announces with each heartbeat."""
        return NodeStatus(
            memory_bytes=self._ledger.budget_bytes,
            used_bytes=self._ledger.used_bytes,
            models=tuple(self._library.models()),
            stages=self._ledger.stages,
            num_sessions=self._ledger.num_sessions,
        )

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            while True:
                match await self._queue.get():
                    case _LinkClosed(link):
                        await self._close_all(link)
                    case work:
                        await self._do(work)

    async def take(self, message: OpenSession | Frame | CloseSession | LoadStage, link: Link) -> None:
        """Take a message for this worker; waits while its queue is full.

        Loading takes seconds and does not wait in the queue; its answer goes back on the link.
        """
        if not isinstance(message, LoadStage):
            await self._queue.put(_Work(message, link))
        elif self._tasks is not None:
            self._tasks.create_task(self._load(message, link))

    async def report(self, failure: SessionFailed) -> None:
        """Pass on what a later stage said of a session that it does not know."""
        if place := self._sessions.get(failure.session_id):
            await self._tell_gateway(place.opening, failure)

    def link_closed(self, link: Link) -> None:
        """Free the sessions that came over a link: whoever drove them is gone."""
        self._queue.put_nowait(_LinkClosed(link))

    def node_changed(self, change: Change) -> None:
        """Take news of a node: sessions that came from it, or go to it, end."""
        lost, gone = change.loss, change.record
        if lost is None:
            return
        for session_id, place in self._sessions.items():
            upstream = place.upstream.node
            if place.next_hop and place.next_hop.node_id == gone.node_id:
                self._queue.put_nowait(_Work(_Lost(session_id, lost), None))
            elif place.opening.gateway == gone.address or (upstream and upstream.node_id == gone.node_id):
                self._queue.put_nowait(_Work(CloseSession(session_id, place.opening.epoch), None))

    def _peer_broken(self, address: Address, error: MeshError) -> None:
        for session_id, place in self._sessions.items():
            if place.next_hop and place.next_hop.address == address:
                lost = _lost(place.next_hop, error)
                self._queue.put_nowait(_Work(_Lost(session_id, lost), None))
            elif place.opening.gateway == address:
                self._queue.put_nowait(_Work(CloseSession(session_id, place.opening.epoch), None))

    async def _load(self, request: LoadStage, link: Link) -> None:
        answer: StageLoaded | RequestFailed
        try:
            async with self._loading:
                answer = StageLoaded(request.request_id, await self._ensure(request.key))
        except MeshError as error:
            answer = RequestFailed(request.request_id, error.code, str(error))
        except Exception as error:
            _log.exception("loading %s", request.key)
            answer = RequestFailed(request.request_id, InternalError.code, _describe(error))
        with contextlib.suppress(NetworkError):
            await link.send(answer)

    async def _ensure(self, key: StageKey) -> int:
        """Have a stage in memory and in the books; return its bytes."""
        spec = await self._library.spec_of(key.digest)
        if key.span.end > spec.num_layers:
            raise BadRequest(f"{spec.name} has {spec.num_layers} layers; {key.span} is not among them")
        weights_bytes = spec.weights_bytes(key.span, key.precision)
        if self._ledger.has_stage(key):
            return weights_bytes
        doomed = self._ledger.book_stage(key, weights_bytes)
        try:
            await self._unload(doomed)
            await self._compute.load(key)
        except BaseException:
            self._ledger.drop_stage(key)
            raise
        self._ledger.stage_arrived(key)
        return weights_bytes

    async def _unload(self, keys: list[StageKey]) -> None:
        for key in keys:
            await self._compute.unload(key)

    async def _do(self, work: _Work) -> None:
        """Do one piece of work; whatever goes wrong is that session's failure and nobody else's."""
        message = work.message
        try:
            match message:
                case OpenSession() if work.upstream is not None:
                    await self._open(message, work.upstream)
                case Frame():
                    await self._run(message)
                case CloseSession():
                    await self._close(message)
                case _Lost(_, error):
                    raise error
        except MeshError as error:
            await self._fail(work, error)
        except Exception as error:
            _log.exception("session %s", message.session_id)
            await self._fail(work, InternalError(_describe(error)))

    async def _open(self, opening: OpenSession, upstream: Link) -> None:
        known = self._sessions.get(opening.session_id)
        if known is not None:
            if known.opening.epoch >= opening.epoch:
                return
            await self._release(known)
        key = opening.route[opening.index].key
        if not self._ledger.has_stage(key):
            raise StageNotLoaded(f"layers {key.span} are not loaded here any more; ask again")
        spec = await self._library.spec_of(key.digest)
        cache_bytes = spec.cache_bytes(key.span, opening.context, key.precision)
        doomed = self._ledger.book_cache(opening.session_id, key, cache_bytes)
        place = self._sessions[opening.session_id] = _Place(opening, upstream)
        await self._unload(doomed)
        await self._compute.open(opening.session_id, key, opening.context, opening.sampling)
        await self._pass_on(place, replace(opening, index=opening.index + 1))

    async def _run(self, frame: Frame) -> None:
        place = self._sessions.get(frame.session_id)
        if place is None and self._refused.get(frame.session_id) == frame.epoch:
            return
        if place is None:
            raise UnknownSession(f"a frame of session {frame.session_id}, which is not open here")
        opening = place.opening
        if frame.epoch != opening.epoch:
            return
        step = Step(frame.session_id, frame.start, frame.payload, frame.sample)
        match await self._compute.run(step):
            case Hidden() as hidden:
                await self._pass_on(place, replace(frame, payload=hidden))
            case Sampled(position, token):
                answer = Token(frame.session_id, frame.epoch, position, token)
                await self._tell_gateway(opening, answer)

    async def _close(self, closing: CloseSession) -> None:
        place = self._sessions.get(closing.session_id)
        if place is not None and place.opening.epoch <= closing.epoch:
            await self._release(place)
            await self._pass_on_quietly(place, closing)

    async def _close_all(self, link: Link) -> None:
        places = [place for place in self._sessions.values() if place.upstream is link]
        for place in places:
            closing = CloseSession(place.opening.session_id, place.opening.epoch)
            await self._do(_Work(closing, None))

    async def _fail(self, work: _Work, error: MeshError) -> None:
        """End a session for an error: tell its gateway, free it here and behind."""
        message = work.message
        place = self._sessions.get(message.session_id)
        opening = message if isinstance(message, OpenSession) else place.opening if place else None
        epoch = opening.epoch if opening else 0 if isinstance(message, _Lost) else message.epoch
        failure = SessionFailed(message.session_id, epoch, self._node_id, error.code, str(error))
        if isinstance(message, OpenSession):
            self._refuse(message)
        if opening is not None:
            await self._tell_gateway(opening, failure)
        elif work.upstream is not None:
            # Nobody here knows the gateway: whoever sent the frame does, or knows who does.
            with contextlib.suppress(NetworkError):
                await work.upstream.send(failure)
        if place is not None:
            await self._release(place)
            await self._pass_on_quietly(place, CloseSession(message.session_id, epoch))

    def _refuse(self, opening: OpenSession) -> None:
        self._refused[opening.session_id] = opening.epoch
        if len(self._refused) > _REFUSED:
            del self._refused[next(iter(self._refused))]

    async def _release(self, place: _Place) -> None:
        session_id = place.opening.session_id
        self._sessions.pop(session_id, None)
        await self._compute.close_session(session_id)
        self._ledger.drop_cache(session_id)

    async def _pass_on(self, place: _Place, message: OpenSession | Frame | CloseSession) -> None:
        if place.next_hop is None:
            return
        try:
            await self._peers.post(place.next_hop.address, message)
        except NetworkError as error:
            raise _lost(place.next_hop, error) from error

    async def _pass_on_quietly(self, place: _Place, closing: CloseSession) -> None:
        with contextlib.suppress(StageLost):
            await self._pass_on(place, closing)

    async def _tell_gateway(self, opening: OpenSession, message: Token | SessionFailed) -> None:
        with contextlib.suppress(NetworkError):  # it is gone: `_peer_broken` frees the session
            await self._peers.post(opening.gateway, message)


def _lost(hop: Hop, error: MeshError) -> StageLost:
    return StageLost(f"the device at {hop.address} with layers {hop.key.span} went away ({error}); ask again")


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}; the node's log has more"
