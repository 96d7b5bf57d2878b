"""One chat from its request to its summary: which model, by which way, and by which next where that fails.

Owns the order in which ways are tried, and what the client is told of it. A way that fails before its first
word is given up for the next one, and the client sees nothing but the answer; after it the client gets the
error. Must not know how ways are found and ordered (`mesh.roles.choosing`), a session driven
(`mesh.roles.answers`) or a server asked (`mesh.roles.outside`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial

from mesh.config import Timing
from mesh.decision import Decision, Option, Privacy
from mesh.errors import (
    BadRequest,
    InsufficientMemory,
    MeshError,
    ModelNotPulled,
    UpstreamBroken,
    from_code,
    retry_after_s,
)
from mesh.link import Link
from mesh.logic.capacity import Demand
from mesh.logic.explaining import reason
from mesh.logic.routing import option
from mesh.logic.session import Session, check_max_tokens, needed_context
from mesh.logic.settling import as_it_stands
from mesh.logic.thinking import ThoughtSplitter
from mesh.messages import ChatRequest, Decided, PlanReply, PlanRequest, Routed
from mesh.now import now_s
from mesh.ports import Library, TextCodec
from mesh.roles.answers import Answers
from mesh.roles.choosing import Choice, Choosing, Question
from mesh.roles.draft_model import DraftModel
from mesh.roles.guessing import Guessing, Guesswork
from mesh.roles.order import Order, Outcome
from mesh.roles.outside import Server
from mesh.roles.planning import FirstRoute, Planner
from mesh.roles.roster import Roster
from mesh.roles.survey import Survey
from mesh.roles.telling import Telling
from mesh.types import (
    FinishReason,
    NodeRecord,
    Plan,
    Recovery,
    SessionId,
    Settled,
    StageShare,
    Summary,
    Thinking,
)
from mesh.upstream import UpstreamEnd, UpstreamFinish, UpstreamQuestion, UpstreamReasoning, UpstreamText

_log = logging.getLogger(__name__)

_MORE_PIECES = 16  # than tokens that were asked for: a piece may be less than a token


@dataclass(frozen=True, slots=True)
class ChattingParts:
    """What chats are made with."""

    own: NodeRecord
    library: Library
    roster: Roster
    survey: Survey
    planner: Planner
    answers: Answers
    choosing: Choosing
    timing: Timing
    guessing: Guessing


@dataclass(slots=True)
class _Chat:
    """One request while it is answered."""

    request: ChatRequest
    link: Link
    began_s: float
    decision: Decision | None = None
    """As the client was told last; None where another gateway decided."""
    session_id: SessionId | None = None
    """Of the session that makes the answer; None before."""
    settled: Settled = field(init=False)
    """What is made of what the request leaves open; what it says itself, until that was looked at."""

    def __post_init__(self) -> None:
        self.settled = as_it_stands(self.request)

    @property
    def until_s(self) -> float | None:
        """When the client's patience ends. To read a tokenizer counts: it takes a while."""
        deadline_s = self.request.deadline_s
        return None if deadline_s is None else self.began_s + deadline_s


class Chatting:
    """Makes the answers that clients of one gateway ask for."""

    def __init__(self, parts: ChattingParts) -> None:
        self._parts = parts
        self.num_under_way = 0
        """Answers that are made now, wherever."""
        self._rng = random.Random(f"{parts.own.node_id}/{parts.own.incarnation}")

    async def explain(self, request: PlanRequest) -> PlanReply:
        """Decide as for a chat, and do nothing."""
        context = request.context or (None if request.max_tokens else 1)
        _, choices, decision = await self._parts.choosing.prepared(request, context)
        routes = [choice.by for choice in choices if isinstance(choice.by, FirstRoute)]
        return PlanReply(request.request_id, routes[0].plan if routes else None, decision)

    async def answer(self, request: ChatRequest, link: Link) -> Summary:
        """Answer, and return the summary; raises what the last way that was tried could not do."""
        self.num_under_way += 1
        try:
            return await self._answer(_Chat(request, link, now_s()))
        finally:
            self.num_under_way -= 1

    async def _answer(self, chat: _Chat) -> Summary:
        request = chat.request
        if request.started is not None:
            return await self._go_on(chat)
        check_max_tokens(request.max_tokens)
        question, choices, decision = await self._parts.choosing.prepared(request)
        chat.settled = question.settled(request)
        failures: list[str] = []
        for choice, following in zip(choices, [*choices[1:], None], strict=True):
            telling = self._telling(chat, question.codec if isinstance(choice.by, FirstRoute) else None)
            chat.decision = decision
            await telling.tell(Decided(request.request_id, decision))
            try:
                return await self._by(choice, question, chat, telling)
            except MeshError as error:
                if telling.has_text or following is None or isinstance(error, BadRequest):
                    raise _after(failures, error) from error
                _log.info("%s failed before its first word: %s", choice.option.name, error)
                failures.append(f"{choice.option.name}: {error}")
                decision = _without(decision, choice.option, str(error))
        raise InsufficientMemory(decision.reason)

    async def _by(self, choice: Choice, question: Question, chat: _Chat, telling: Telling) -> Summary:
        if isinstance(choice.by, Server):
            return await self._by_server(choice.by, question, chat, telling)
        assert question.codec is not None
        session_id = SessionId(f"{self._rng.getrandbits(64):016x}")
        codec, spec = question.codec, choice.by.demand.spec
        guesswork = await self._parts.guessing.prepare(chat.request.drafting, spec, codec)
        if guesswork.note and chat.decision is not None:
            chat.decision = replace(chat.decision, notes=(*chat.decision.notes, guesswork.note))
            await telling.tell(Decided(chat.request.request_id, chat.decision))
        session = Session(
            session_id, question.prompt, question.max_tokens, codec.stop_ids, guesswork.speculation
        )
        self._parts.planner.took(choice.by)
        return await self._by_mesh(choice.by, session, chat, telling, guesswork)

    async def _by_server(self, server: Server, question: Question, chat: _Chat, telling: Telling) -> Summary:
        """Pass on what a server says."""
        request, sampling = chat.request, chat.settled.sampling
        asked = UpstreamQuestion(question.model, request.messages, request.max_tokens, sampling)
        first_s, num_pieces = 0.0, 0
        end: UpstreamEnd | None = None
        async with aclosing(server.ask(asked)) as pieces:
            async for piece in pieces:
                if isinstance(piece, UpstreamEnd):
                    end = piece
                else:
                    first_s, num_pieces = first_s or now_s(), num_pieces + 1
                    await _pass_on(piece, telling)
                if end is None and num_pieces >= request.max_tokens + _MORE_PIECES:
                    end = UpstreamEnd(UpstreamFinish.LENGTH, None)  # it heeds no limit
                    break
        if end is None:
            raise UpstreamBroken(f"the answer of '{server.name}' has no end")
        await telling.finish()
        num_tokens = end.usage.num_tokens if end.usage else num_pieces
        elapsed_s = now_s() - first_s if num_pieces else 0.0
        return Summary(
            model=question.model,
            reason=FinishReason(end.reason.value),
            tokens=(),
            num_prompt_tokens=end.usage.num_prompt_tokens if end.usage else 0,
            seed=sampling.seed,
            ttft_s=first_s - chat.began_s if num_pieces else 0.0,
            tokens_per_s=max(0, num_tokens - 1) / elapsed_s if elapsed_s > 0 else 0.0,
            sampling=sampling,
        )

    async def _go_on(self, chat: _Chat) -> Summary:
        """Make what is left of an answer that another gateway began."""
        request, started = chat.request, chat.request.started
        assert started is not None
        model, library, planner = started.plan.model, self._parts.library, self._parts.planner
        spec, codec = await library.spec(model.name), await library.codec(model.name)
        own = self._parts.own
        if request.privacy is Privacy.DEVICE and any(
            stage.node.node_id != own.node_id for stage in started.plan.stages
        ):
            raise BadRequest(
                f"the request may not leave the device that it was asked on; that is not {own.name}"
            )
        if model != spec.ref:
            raise ModelNotPulled(
                f"{self._parts.own.name} has another file of {model.name} than the answer was begun with"
            )
        prompt = await library.encode_chat(model.name, request.messages)
        needed = needed_context(len(prompt), request.max_tokens, spec.context_length)
        guesswork = await self._parts.guessing.prepare(request.drafting, spec, codec)
        session = Session(
            started.session_id, prompt, request.max_tokens, codec.stop_ids, guesswork.speculation
        )
        session.go_on(started.epoch, started.tokens)
        telling = self._telling(chat, codec)
        telling.skip(started.tokens)
        demand = planner.demand(spec, needed, started.plan)
        first = planner.take_over(demand, started.plan, request.privacy)
        return await self._by_mesh(first, session, chat, telling, guesswork)

    async def _by_mesh(
        self, first: FirstRoute, session: Session, chat: _Chat, telling: Telling, guesswork: Guesswork
    ) -> Summary:
        chat.session_id = session.session_id
        order = Order(
            session=session,
            demand=first.demand,
            plan=first.plan,
            sampling=chat.settled.sampling,
            show=telling.push,
            due_s=lambda: telling.due_s,
            flush=telling.flush,
            routed=partial(self._routed, chat, telling),
            taken_over=first.taken_over,
            until_s=chat.until_s,
            reuse=first.reuse,
            only=first.only,
            draft=self._draft(guesswork, first, session, chat),
        )
        try:
            outcome = _complete(order) if session.is_full else await self._parts.answers.make(order)
        except (MeshError, asyncio.CancelledError):
            with contextlib.suppress(MeshError):  # every token that came, then the error, be it of the time
                await telling.flush()
            raise
        self._parts.planner.ended(first, outcome)
        await telling.finish()
        return Summary(
            model=first.demand.spec.name,
            reason=outcome.reason,
            tokens=session.tokens,
            num_prompt_tokens=len(session.prompt),
            seed=chat.settled.sampling.seed,
            ttft_s=outcome.first_s - chat.began_s,
            tokens_per_s=outcome.tokens_per_s,
            stages=self._shares(outcome.plan),
            recoveries=outcome.recoveries,
            reused_positions=outcome.reused_positions,
            guesses=outcome.guesses,
            sampling=chat.settled.sampling,
        )

    def _draft(
        self, guesswork: Guesswork, first: FirstRoute, session: Session, chat: _Chat
    ) -> DraftModel | None:
        """The small model that guesses, on this node."""
        if guesswork.model is None:
            return None
        context = min(first.plan.context, guesswork.model.context_length)
        demand = Demand(guesswork.model, first.plan.precision, context)
        stage = demand.stage(self._parts.own, demand.spec.whole)
        plan = Plan(demand.spec.ref, demand.precision, context, (stage,))
        return self._parts.answers.draft_model(plan, session, chat.settled.sampling)

    def _telling(self, chat: _Chat, codec: TextCodec | None) -> Telling:
        """Make what tells the client; without a codec, of the text that a server says."""
        timing, thinking = self._parts.timing, chat.settled.thinking
        if codec is None and thinking is Thinking.BEGUN:
            thinking = Thinking.MAY_BEGIN  # what begins an answer there is the server's to render
        return Telling(
            request_id=chat.request.request_id,
            link=chat.link,
            pieces=codec.pieces() if codec is not None else None,
            within_s=timing.stall_s,
            splitter=ThoughtSplitter(thinking),
            every_s=timing.told_every_s,
        )

    async def _routed(
        self,
        chat: _Chat,
        telling: Telling,
        epoch: int,
        plan: Plan,
        recovery: Recovery | None,
    ) -> None:
        """Tell the client how its answer goes on, and where else it could ask."""
        assert chat.session_id is not None
        others = self._parts.survey.other_gateways(self._parts.own.node_id, plan)
        await telling.flush()
        taken = option(plan)
        chosen = chat.decision.chosen if chat.decision else None
        if chat.decision and chosen and chosen.shares != taken.shares and not telling.has_text:
            chat.decision = _instead(chat.decision, chosen, taken)
            await telling.tell(Decided(telling.request_id, chat.decision))
        settled = chat.settled if chat.settled != as_it_stands(chat.request) else None
        routed = Routed(telling.request_id, chat.session_id, epoch, plan, others, recovery, settled)
        await telling.tell(routed)

    def _shares(self, plan: Plan) -> tuple[StageShare, ...]:
        memory = {d.record.node_id: d.status.memory_bytes for d in self._parts.roster.devices() if d.status}
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


async def _pass_on(piece: UpstreamText | UpstreamReasoning, telling: Telling) -> None:
    match piece:
        case UpstreamText(text):
            await telling.say(text)
        case UpstreamReasoning(text):
            await telling.think(text)


def _complete(order: Order) -> Outcome:
    """The client has all the tokens that it wants; only the end was lost."""
    now = now_s()
    return Outcome(FinishReason.LENGTH, order.plan, 0, now, now)


def _without(decision: Decision, failed: Option, why: str) -> Decision:
    """The same decision after its best option has failed."""
    others = [option for option in decision.options if option is not failed]
    options = (*others, replace(failed, excluded=f"it failed before its first word: {why}"))
    return replace(decision, options=options, reason=reason(options))


def _instead(decision: Decision, refused: Option, taken: Option) -> Decision:
    """The same decision where the answer goes another way than was chosen, before its first word."""
    others = [one for one in decision.options if one is not refused and one.shares != taken.shares]
    known = next((one for one in decision.options if one.shares == taken.shares), taken)
    options = (
        replace(known, excluded=None),
        *others,
        replace(refused, excluded="it did not take the answer"),
    )
    return replace(
        decision, options=options, reason=f"{taken.name} answers, for {refused.name} did not take it"
    )


def _after(failures: Sequence[str], error: MeshError) -> MeshError:
    """The same error, with the ways that were tried before."""
    if not failures:
        return error
    text = f"{error}; before that {'; '.join(failures)}"
    return from_code(error.code, text, retry_after_s(error))
