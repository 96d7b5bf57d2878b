"""Takes clients' requests: chooses the model, plans, and turns tokens into text.

Owns the requests under way, by client. Every node has a gateway: there is no master. Must not know how a
session is driven; that is `mesh.roles.answers`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from dataclasses import dataclass, field

from mesh.config import MAX_CONVERSATION_BYTES, Planning, Timing
from mesh.errors import (
    BadRequest,
    BadSetting,
    DeadlineExceeded,
    InternalError,
    MeshError,
    ModelNotPulled,
    NetworkError,
)
from mesh.link import Link
from mesh.logic.partition import Candidate, Demand, plan
from mesh.logic.session import Session, needed_context, planned_context
from mesh.messages import (
    CancelRequest,
    ChatFinished,
    ChatRequest,
    ClientReply,
    ClientRequest,
    DevicesReply,
    DevicesRequest,
    Piece,
    PlanReply,
    PlanRequest,
    RequestFailed,
)
from mesh.ports import Library, Pieces
from mesh.roles.answers import Answers, Order
from mesh.roles.peers import Peers
from mesh.roles.roster import Roster
from mesh.spec import ModelSpec
from mesh.types import NodeRecord, NodeState, Plan, Precision, SessionId, StageShare, Summary

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What tunes a gateway."""

    timing: Timing
    planning: Planning
    precision: Precision = Precision.INT4


@dataclass(slots=True)
class _Text:
    """The text of one answer on its way to its client."""

    request_id: int
    link: Link
    pieces: Pieces
    within_s: float
    """How long the client may take to accept a piece."""
    pending: list[int] = field(default_factory=list)

    async def push(self, token: int) -> None:
        self.pending.append(token)
        await self._send(self.pieces.push(token))

    async def finish(self) -> None:
        await self._send(self.pieces.finish())

    async def _send(self, text: str) -> None:
        if text:
            async with asyncio.timeout(self.within_s):
                await self.link.send(Piece(self.request_id, text, tuple(self.pending)))
            self.pending.clear()


class Gateway:
    """The part of a node that takes requests."""

    def __init__(
        self, own: NodeRecord, library: Library, peers: Peers, roster: Roster, settings: GatewaySettings
    ) -> None:
        self._own = own
        self._library = library
        self._roster = roster
        self._settings = settings
        self.answers = Answers(own.address, peers, settings.timing)
        self._requests: dict[tuple[Link, int], asyncio.Task[None]] = {}
        self._rng = random.Random(f"{own.node_id}/{own.incarnation}")
        self._tasks: asyncio.TaskGroup | None = None
        roster.on_change(self.answers.node_changed)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            await asyncio.get_running_loop().create_future()

    def request(self, message: ClientRequest, link: Link) -> None:
        """Start answering a client; replies go back on its link."""
        place = (link, message.request_id)
        if isinstance(message, CancelRequest):
            if task := self._requests.get(place):
                task.cancel()
        elif self._tasks is not None and place not in self._requests:
            task = self._requests[place] = self._tasks.create_task(self._serve(message, link))
            task.add_done_callback(lambda _: self._requests.pop(place, None))

    def link_closed(self, link: Link) -> None:
        """Give up what a client that is gone had asked for."""
        for (client, _), task in tuple(self._requests.items()):
            if client is link:
                task.cancel()

    async def _serve(self, message: ClientRequest, link: Link) -> None:
        """Answer one request; whatever goes wrong becomes one clear reply."""
        reply: ClientReply
        try:
            reply = await self._reply(message, link)
        except MeshError as error:
            reply = RequestFailed(message.request_id, error.code, str(error))
        except Exception as error:
            _log.exception("request %s", type(message).__name__)
            text = f"{type(error).__name__}: {error}; the log of {self._own.name} has more"
            reply = RequestFailed(message.request_id, InternalError.code, text)
        with contextlib.suppress(NetworkError):
            await link.send(reply)

    async def _reply(self, message: ClientRequest, link: Link) -> ClientReply:
        match message:
            case ChatRequest():
                return ChatFinished(message.request_id, await self._in_time(message, link))
            case DevicesRequest():
                return DevicesReply(message.request_id, self._roster.devices())
            case PlanRequest():
                spec = await self._library.spec(message.model or self._default_model())
                context = needed_context(0, message.context or 1, spec.context_length)
                return PlanReply(message.request_id, self._plan(spec, context))
            case CancelRequest():
                raise BadRequest("a cancellation has no reply")

    async def _in_time(self, request: ChatRequest, link: Link) -> Summary:
        if request.deadline_s is not None and not request.deadline_s >= 0:  # written so that NaN is refused
            raise BadSetting(f"deadline_s is {request.deadline_s}; it must be 0 or more")
        try:
            async with asyncio.timeout(request.deadline_s) as deadline:
                return await self._chat(request, link)
        except TimeoutError as error:
            if not deadline.expired():
                raise DeadlineExceeded("the client took no text for too long") from error
            raise DeadlineExceeded(f"the answer was not ready within {request.deadline_s:g} s") from error

    async def _chat(self, request: ChatRequest, link: Link) -> Summary:
        began_s = asyncio.get_running_loop().time()
        _check_size(request)
        model = request.model or self._default_model()
        spec, codec = await self._library.spec(model), await self._library.codec(model)
        prompt = await self._library.encode_chat(model, request.messages)
        if not prompt:
            raise BadRequest("the prompt is empty; say what to ask")
        needed = needed_context(len(prompt), request.max_tokens, spec.context_length)
        plan = self._plan(spec, needed)
        session = Session(self._new_session_id(), prompt, request.max_tokens, codec.stop_ids)
        text = _Text(request.request_id, link, codec.pieces(), self._settings.timing.stall_s)
        outcome = await self.answers.make(Order(session, plan, request.sampling, text.push))
        await text.finish()
        return Summary(
            model=spec.name,
            reason=outcome.reason,
            tokens=session.tokens,
            num_prompt_tokens=len(prompt),
            seed=request.sampling.seed,
            ttft_s=outcome.first_s - began_s,
            tokens_per_s=outcome.tokens_per_s,
            stages=self._shares(plan),
        )

    def _plan(self, spec: ModelSpec, needed: int) -> Plan:
        """Place the model on the devices that are alive and have its file."""
        context = planned_context(needed, self._settings.planning.context_step, spec.context_length)
        candidates = [
            Candidate(device.record, device.status.memory_bytes)
            for device in self._roster.devices()
            if device.state is NodeState.ALIVE and device.status and spec.ref in device.status.models
        ]
        return plan(Demand(spec, self._settings.precision, context), candidates)

    def _shares(self, plan: Plan) -> tuple[StageShare, ...]:
        memory = {d.record.node_id: d.status.memory_bytes for d in self._roster.devices() if d.status}
        return tuple(
            StageShare(
                node_id=stage.node.node_id,
                name=stage.node.name,
                device_class=stage.node.device_class,
                span=stage.span,
                weights_bytes=stage.weights_bytes,
                memory_bytes=memory.get(stage.node.node_id, 0),
            )
            for stage in plan.stages
        )

    def _default_model(self) -> str:
        for model in self._library.models():
            return model.name
        raise ModelNotPulled(f"{self._own.name} has no model; run `mesh pull smollm2:135m` there")

    def _new_session_id(self) -> SessionId:
        return SessionId(f"{self._rng.getrandbits(64):016x}")


def _check_size(request: ChatRequest) -> None:
    num_bytes = sum(len(message.content.encode()) for message in request.messages)
    if num_bytes > MAX_CONVERSATION_BYTES:
        raise BadRequest(
            f"the conversation has {num_bytes} bytes; at most {MAX_CONVERSATION_BYTES} are taken"
        )
