"""Takes clients' requests: chooses the model, has answers planned and made, and replies.

Owns the requests under way, by client. Every node has a gateway: there is no master. Must not know where an
answer is computed (`mesh.roles.planning`) nor how its session is driven (`mesh.roles.answers`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from mesh.config import MAX_CONVERSATION_BYTES, Planning, Timing
from mesh.errors import (
    BadRequest,
    BadSetting,
    DeadlineExceeded,
    InternalError,
    MeshError,
    ModelNotPulled,
    NetworkError,
    NodeLeaving,
)
from mesh.link import Link
from mesh.logic.capacity import Demand
from mesh.logic.session import Session, needed_context
from mesh.messages import (
    CancelRequest,
    ChatFinished,
    ChatRequest,
    ClientReply,
    ClientRequest,
    DevicesReply,
    DevicesRequest,
    DrainReply,
    DrainRequest,
    PlanReply,
    PlanRequest,
    RequestFailed,
    Routed,
)
from mesh.now import now_s
from mesh.ports import Library
from mesh.roles.answers import Answers
from mesh.roles.deployer import Deployer
from mesh.roles.order import Means, Order, Outcome
from mesh.roles.peers import Peers
from mesh.roles.planning import Planner
from mesh.roles.roster import Roster
from mesh.roles.survey import Survey
from mesh.roles.telling import Telling
from mesh.types import (
    FinishReason,
    NodeRecord,
    Plan,
    Precision,
    Recovery,
    SessionId,
    StageShare,
    Summary,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What tunes a gateway."""

    timing: Timing
    planning: Planning
    precision: Precision = Precision.INT4


class Gateway:
    """The part of a node that takes requests."""

    def __init__(
        self, own: NodeRecord, library: Library, peers: Peers, roster: Roster, settings: GatewaySettings
    ) -> None:
        self._own = own
        self._library = library
        self._roster = roster
        self._settings = settings
        self._survey = Survey(roster)
        self.answers = Answers(
            Means(
                own=own,
                peers=peers,
                survey=self._survey,
                deployer=Deployer(peers),
                attention=roster,
                timing=settings.timing,
                planning=settings.planning,
            )
        )
        self._planner = Planner(self._survey, self.answers.reuse, settings.planning, settings.precision)
        self.closing: str | None = None
        """Why no new answers are begun; None while they are."""
        self._on_drain: Callable[[DrainRequest], Awaitable[None]] | None = None
        self._requests: dict[tuple[Link, int], asyncio.Task[None]] = {}
        self._rng = random.Random(f"{own.node_id}/{own.incarnation}")
        self._tasks: asyncio.TaskGroup | None = None
        roster.on_change(self.answers.node_changed)
        roster.on_status(self.answers.status_changed)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            await asyncio.get_running_loop().create_future()

    def on_drain(self, drain: Callable[[DrainRequest], Awaitable[None]]) -> None:
        """Set who has the node leave, or stay after all, when a client asks for that."""
        self._on_drain = drain

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
            reply = RequestFailed.of(message.request_id, error)
        except Exception as error:
            _log.exception("request %s", type(message).__name__)
            text = f"{type(error).__name__}: {error}; the log of {self._own.name} has more"
            reply = RequestFailed(message.request_id, InternalError.code, text)
        with contextlib.suppress(NetworkError, TimeoutError):
            async with asyncio.timeout(self._settings.timing.stall_s):  # a client that takes nothing
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
                return PlanReply(message.request_id, self._planner.plan(self._planner.demand(spec, context)))
            case DrainRequest():
                if self._on_drain is not None:
                    await self._on_drain(message)
                return DrainReply(message.request_id)
            case CancelRequest():
                raise BadRequest("a cancellation has no reply")

    async def _in_time(self, request: ChatRequest, link: Link) -> Summary:
        if request.deadline_s is not None and not request.deadline_s >= 0:  # written so that NaN is refused
            raise BadSetting(f"deadline_s is {request.deadline_s}; it must be 0 or more")
        try:
            async with asyncio.timeout(request.deadline_s):
                return await self._chat(request, link)
        except TimeoutError as error:
            raise DeadlineExceeded(f"the answer was not ready within {request.deadline_s:g} s") from error

    async def _chat(self, request: ChatRequest, link: Link) -> Summary:
        began_s = now_s()
        _check_size(request)
        if self.closing is not None:
            raise NodeLeaving(f"{self._own.name} begins no new answers: {self.closing}; ask another device")
        model = request.started.plan.model.name if request.started else request.model or self._default_model()
        spec, codec = await self._library.spec(model), await self._library.codec(model)
        if request.started and request.started.plan.model != spec.ref:
            raise ModelNotPulled(
                f"{self._own.name} has another file of {model} than the answer was begun with"
            )
        prompt = await self._library.encode_chat(model, request.messages)
        if not prompt:
            raise BadRequest("the prompt is empty; say what to ask")
        needed = needed_context(len(prompt), request.max_tokens, spec.context_length)
        session = Session(self._session_id(request), prompt, request.max_tokens, codec.stop_ids)
        telling = Telling(request.request_id, link, codec.pieces(), self._settings.timing.stall_s)
        demand = self._planner.demand(spec, needed, request.started.plan if request.started else None)
        order = self._order(request, session, demand, telling, began_s)
        outcome = _complete(order) if session.is_full else await self.answers.make(order)
        await telling.finish()
        return Summary(
            model=spec.name,
            reason=outcome.reason,
            tokens=session.tokens,
            num_prompt_tokens=len(prompt),
            seed=request.sampling.seed,
            ttft_s=outcome.first_s - began_s,
            tokens_per_s=outcome.tokens_per_s,
            stages=self._shares(outcome.plan),
            recoveries=outcome.recoveries,
            reused_positions=outcome.reused_positions,
        )

    def _order(
        self, request: ChatRequest, session: Session, demand: Demand, telling: Telling, began_s: float
    ) -> Order:
        """Put together what is to be made: an answer from its beginning, or what is left of another's.

        Its deadline is counted from `began_s`: to read a tokenizer takes a while.
        """
        started = request.started
        if started is None:
            first = self._planner.begin(demand, session.prompt)
        else:
            first = self._planner.take_over(demand, started.plan)
            session.go_on(started.epoch, started.tokens)
            telling.skip(started.tokens)
        return Order(
            session=session,
            demand=demand,
            plan=first.plan,
            sampling=request.sampling,
            show=telling.push,
            routed=partial(self._routed, telling, session.session_id),
            taken_over=first.taken_over,
            until_s=None if request.deadline_s is None else began_s + request.deadline_s,
            reuse=first.reuse,
        )

    async def _routed(
        self, telling: Telling, session_id: SessionId, epoch: int, plan: Plan, recovery: Recovery | None
    ) -> None:
        """Tell the client how its answer goes on, and where else it could ask."""
        others = self._survey.other_gateways(self._own.node_id, plan)
        await telling.tell(Routed(telling.request_id, session_id, epoch, plan, others, recovery))

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

    def _session_id(self, request: ChatRequest) -> SessionId:
        if request.started is not None:
            return request.started.session_id
        return SessionId(f"{self._rng.getrandbits(64):016x}")


def _complete(order: Order) -> Outcome:
    """The client has all the tokens that it wants; only the end was lost."""
    now = now_s()
    return Outcome(FinishReason.LENGTH, order.plan, 0, now, now)


def _check_size(request: ChatRequest) -> None:
    num_bytes = sum(len(message.content.encode()) for message in request.messages)
    if num_bytes > MAX_CONVERSATION_BYTES:
        raise BadRequest(
            f"the conversation has {num_bytes} bytes; at most {MAX_CONVERSATION_BYTES} are taken"
        )
