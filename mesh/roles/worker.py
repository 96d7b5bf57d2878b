"""Holds stages and computes frames.

Owns the node's memory books, the loading of stages, and one turn after the other: a batch of frames, or a
piece of other work. Which is next is said by `mesh.roles.turns`, what is done for a session is the business
of `mesh.roles.places`. Whatever goes wrong with a session is reported to its gateway, which decides; the
node lives on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace

from mesh.config import Timing
from mesh.errors import BadRequest, Busy, InternalError, MeshError, NetworkError, NodeLeaving
from mesh.link import Link
from mesh.logic.batching import Batch
from mesh.logic.membership import Change
from mesh.logic.memory import MemoryLedger
from mesh.messages import (
    CloseSession,
    Frame,
    LoadStage,
    OpenSession,
    ProgressRequest,
    RequestFailed,
    Resume,
    SessionFailed,
    StageLoaded,
)
from mesh.ports import Compute, Library
from mesh.roles.caretaker import Caretaker
from mesh.roles.computing import Computing
from mesh.roles.peers import Peers
from mesh.roles.place import Attention, Means
from mesh.roles.places import Places
from mesh.roles.turns import Abandoned, LinkClosed, Piece, Turns, Work, WorkMessage, parts_of
from mesh.types import Condition, Digest, NodeId, NodeStatus, SessionId, SpeedRecord, StageKey

_log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 15.0  # half of what an answer waits for a token: beyond it no further ones are taken
_READ_TEXT_S = 5.0  # after a stage was loaded: an answer's beginning has the processor for itself
_FRESH_S = 1.0  # a stage that was loaded stays: whoever asked for it has to hear of it and open a session


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What a worker is made of."""

    node_id: NodeId
    compute: Compute
    library: Library
    peers: Peers
    attention: Attention
    timing: Timing
    memory_bytes: int
    spare_bytes: int = 0


class Worker:
    """The part of a node that computes."""

    def __init__(self, parts: WorkerParts) -> None:
        self._node_id = parts.node_id
        self._attention = parts.attention
        self._compute = parts.compute
        self._library = parts.library
        self._ledger = MemoryLedger(parts.memory_bytes)
        self._spare_bytes = parts.spare_bytes
        self._computing = Computing(parts.compute)
        self._places = Places(
            Means(
                node_id=parts.node_id,
                compute=parts.compute,
                computing=self._computing,
                library=parts.library,
                peers=parts.peers,
                ledger=self._ledger,
                attention=parts.attention,
                timing=parts.timing,
            )
        )
        self.leaving: str | None = None
        """Why others should take over what is held here; None where they need not."""
        self.speed: SpeedRecord | None = None
        """How fast this device computes; None while that is not known."""
        self.condition: Condition | None = None
        """The device's battery and the like; None where nothing is known of it."""
        self.is_closed = False
        """Whether nothing new is taken."""
        self._turns = Turns(self._places.size_of, self._computing.most_rows)
        self._loading = asyncio.Lock()
        self._tasks: asyncio.TaskGroup | None = None
        self._caretaker = Caretaker(
            self._places, parts.timing, lambda session_id: self._turns.put_nowait(Abandoned(session_id))
        )
        parts.peers.on_broken(self._caretaker.peer_broken)

    def status(self) -> NodeStatus:
        """What this node announces with each heartbeat."""
        return NodeStatus(
            memory_bytes=self._ledger.budget_bytes,
            used_bytes=self._ledger.used_bytes,
            models=tuple(self._library.models()),
            stages=tuple(
                replace(stage, step_s=self._computing.told_step_s(stage.key)) for stage in self._ledger.stages
            ),
            num_sessions=self._ledger.num_sessions,
            spare_bytes=self._spare_bytes,
            leaving=self.leaving,
            parked_bytes=self._ledger.parked_bytes,
            speed=self.speed,
            condition=None if self.condition is None else self.condition.told,
            is_closed=self.is_closed,
        )

    @property
    def parked(self) -> tuple[SessionId, ...]:
        """Sessions that are over, whose caches stay while nobody needs the room."""
        return tuple(dict.fromkeys(cache.session_id for cache in self._ledger.parked))

    @property
    def num_sessions(self) -> int:
        """Sessions that have caches here."""
        return self._ledger.num_sessions

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for anything here: no session, and nothing that is being loaded."""
        return self._ledger.num_sessions == 0 and not self._loading.locked()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._caretaker.start(tasks)
            try:
                while True:
                    turn = await self._turns.next()
                    if isinstance(turn, Batch):
                        await self._run(turn)
                    else:
                        await self._take_turn(turn.item)
            finally:
                self._tasks = None
                self._caretaker.stop()

    async def _take_turn(self, piece: Piece) -> None:
        match piece:
            case Work():
                await self._do(piece)
            case LinkClosed(link):
                self._caretaker.link_closed(link)
            case Abandoned(session_id):
                await self._places.abandon(session_id)

    async def _run(self, batch: Batch[Piece]) -> None:
        """Compute frames together; what is wrong with one is that session's trouble and nobody else's."""
        parts = parts_of(batch)
        errors = await self._places.run([frame for _, frame in parts])
        for (work, _), error in zip(parts, errors, strict=True):
            if error is not None:
                await self._fail(work, error)

    async def take(self, message: WorkMessage | LoadStage | ProgressRequest, link: Link) -> None:
        """Take a message for this worker; waits while its queue is full.

        Loading takes seconds and does not wait in the queue, nor do questions; answers go back on the link.
        """
        match message:
            case LoadStage():
                if self._tasks is not None:
                    self._tasks.create_task(self._load(message, link))
            case ProgressRequest():
                self._places.wanted(message.session_id)
                num_waiting = self._turns.num_waiting(message.session_id)
                with contextlib.suppress(NetworkError):
                    await link.send(replace(self._places.progress(message), num_waiting=num_waiting))
            case _ if link.node and link.node.node_id == self._node_id:
                self._turns.put_nowait(Work(message, link))  # maybe said by this worker's own task
            case _:
                await self._turns.put(Work(message, link))

    def knows(self, session_id: SessionId) -> bool:
        """Whether a session has a place here."""
        return bool(self._places.of(session_id))

    async def report(self, failure: SessionFailed) -> None:
        """Pass on what a later stage said of a session that it does not know."""
        for place in self._places.of(failure.session_id)[:1]:
            await self._places.passing.tell_gateway(place.opening, failure)

    def link_closed(self, link: Link) -> None:
        """Whoever sent sessions over a link is gone, or will come over another one."""
        self._turns.put_nowait(LinkClosed(link))

    def node_changed(self, change: Change) -> None:
        """Take news of a node, for the sessions that have to do with it."""
        self._caretaker.node_changed(change)

    async def _load(self, request: LoadStage, link: Link) -> None:
        answer: StageLoaded | RequestFailed
        try:
            weights_bytes = await self._loaded(request.key)
            answer = StageLoaded(request.request_id, weights_bytes, self._computing.row_s(request.key))
        except Busy as error:
            answer = RequestFailed.of(request.request_id, error.until(self._places.retry_after_s))
        except MeshError as error:
            answer = RequestFailed.of(request.request_id, error)
        except Exception as error:
            _log.exception("loading %s", request.key)
            answer = RequestFailed(request.request_id, InternalError.code, _describe(error))
        with contextlib.suppress(NetworkError):
            await link.send(answer)

    async def _loaded(self, key: StageKey) -> int:
        """Have a stage in memory and in the books; return its bytes.

        One is loaded after the other; what is there already waits for none of them.
        """
        spec = await self._library.spec_of(key.digest)
        if key.span.end > spec.num_layers:
            raise BadRequest(f"{spec.name} has {spec.num_layers} layers; {key.span} is not among them")
        weights_bytes = spec.weights_bytes(key.span, key.precision)
        if not self._ledger.has_stage(key):
            async with self._loading:
                await self._ensure(key, weights_bytes)
        return weights_bytes

    async def _ensure(self, key: StageKey, weights_bytes: int) -> None:
        if self._ledger.has_stage(key):
            return
        self._refuse_if_closed()
        doomed = self._ledger.book_stage(key, weights_bytes)
        self._attention.speak_now()  # while it is on its way others can plan with it already
        try:
            await self._places.caches.free(doomed)
            await self._places.caches.limit_kept()
            await self._compute.load(key)
        except BaseException:
            self._ledger.drop_stage(key)
            raise
        self._ledger.stage_arrived(key)
        if self._tasks is not None:
            self._tasks.create_task(self._age(key))
            self._tasks.create_task(self._read_text(key.digest))

    async def _age(self, key: StageKey) -> None:
        await asyncio.sleep(_FRESH_S)
        self._ledger.stage_aged(key)

    async def _read_text(self, digest: Digest) -> None:
        """Have the model's tokenizer in memory too, a little later: this gateway may have to take over."""
        await asyncio.sleep(_READ_TEXT_S)
        for model in self._library.models():
            if model.digest == digest:
                with contextlib.suppress(MeshError):
                    await self._library.codec(model.name)

    def _check_opening(self, opening: OpenSession) -> None:
        """Raise where a session may not be opened: a closed device keeps what it has, and takes nothing else.

        One that was refused here, or begun elsewhere, comes with a later epoch, and is as new here.
        """
        if opening.epoch == 0 or not self.knows(opening.session_id):
            self._refuse_if_closed()
        if opening.epoch == 0:
            self._refuse_if_full()

    def _refuse_if_closed(self) -> None:
        if self.is_closed:
            raise NodeLeaving(f"this device takes nothing new: {self.leaving}; ask again")

    def _refuse_if_full(self) -> None:
        """Where the work that waits takes too long, say so at once: a later one waits less in all."""
        wait_s = self._turns.num_frames * self._computing.frame_s
        if wait_s > _LONGEST_WAIT_S:
            raise Busy(f"{wait_s:.0f} s of work wait here already").until(wait_s / 2)

    async def _do(self, work: Work) -> None:
        """Do one piece of work; whatever goes wrong is that session's trouble and nobody else's."""
        try:
            await self._handle(work)
        except MeshError as error:
            await self._fail(work, error)
        except Exception as error:
            _log.exception("session %s", work.message.session_id)
            await self._fail(work, InternalError(_describe(error)))

    async def _handle(self, work: Work) -> None:
        match work.message:
            case OpenSession() as opening:
                self._check_opening(opening)
                await self._places.open(opening, work.upstream)
                self._caretaker.look_after()
            case Frame() as frame:  # of nothing that is known: it is dropped, or refused
                for error in await self._places.run((frame,)):
                    if error is not None:
                        raise error
            case Resume() as resume:
                await self._places.resume(resume)
            case CloseSession() as closing:
                await self._places.close(closing)

    async def _fail(self, work: Work, error: MeshError) -> None:
        """Tell the gateway what is wrong; it opens the route anew, or ends the session everywhere."""
        message = work.message
        if isinstance(message, CloseSession):
            return
        failure = self._places.passing.failure(message, error)
        if isinstance(message, OpenSession):
            self._places.fence(message.session_id, message.epoch)
            return await self._places.passing.tell_gateway(message, failure)
        places = self._places.of(message.session_id)
        if places:
            return await self._places.passing.tell_gateway(places[0].opening, failure)
        # Nobody here knows the gateway: whoever sent the frame does, or knows who does.
        with contextlib.suppress(NetworkError):
            await work.upstream.send(failure)
        return None


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}; the node's log has more"
