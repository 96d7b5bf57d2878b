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
from dataclasses import dataclass, replace
from functools import partial

from mesh.config import Planning, Timing
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
from mesh.logic.drafting import PromptLookup
from mesh.logic.explaining import reason
from mesh.logic.routing import option
from mesh.logic.session import Session, check_max_tokens, needed_context
from mesh.logic.speculation import Speculation
from mesh.messages import ChatRequest, Decided, PlanReply, PlanRequest, Routed
from mesh.now import now_s
from mesh.ports import Library, TextCodec
from mesh.roles.answers import Answers
from mesh.roles.choosing import Choice, Choosing, Question
from mesh.roles.order import Order, Outcome
from mesh.roles.outside import Server
from mesh.roles.planning import FirstRoute, Planner
from mesh.roles.roster import Roster
from mesh.roles.survey import Survey
from mesh.roles.telling import Telling
from mesh.types import Drafting, FinishReason, NodeRecord, Plan, Recovery, SessionId, StageShare, Summary
from mesh.upstream import UpstreamEnd, UpstreamFinish, UpstreamQuestion, UpstreamText

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
    planning: Planning


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
        failures: list[str] = []
        for choice, following in zip(choices, [*choices[1:], None], strict=True):
            telling = self._telling(chat, question.codec)
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
        codec, guessing = question.codec, self._guessing(chat.request)
        session = Session(session_id, question.prompt, question.max_tokens, codec.stop_ids, guessing)
        self._parts.planner.took(choice.by)
        return await self._by_mesh(choice.by, session, chat, telling)

    async def _by_server(self, server: Server, question: Question, chat: _Chat, telling: Telling) -> Summary:
        """Pass on what a server says."""
        request, first_s, num_pieces = chat.request, 0.0, 0
        asked = UpstreamQuestion(question.model, request.messages, request.max_tokens, request.sampling)
        end: UpstreamEnd | None = None
        async with aclosing(server.ask(asked)) as pieces:
            async for piece in pieces:
                if isinstance(piece, UpstreamEnd):
                    end = piece
                elif isinstance(piece, UpstreamText):
                    first_s, num_pieces = first_s or now_s(), num_pieces + 1
                    await telling.say(piece.text)
                if end is None and num_pieces >= request.max_tokens + _MORE_PIECES:
                    end = UpstreamEnd(UpstreamFinish.LENGTH, None)  # it heeds no limit
                    break
        if end is None:
            raise UpstreamBroken(f"the answer of '{server.name}' has no end")
        num_tokens = end.usage.num_tokens if end.usage else num_pieces
        elapsed_s = now_s() - first_s if num_pieces else 0.0
        return Summary(
            model=question.model,
            reason=FinishReason(end.reason.value),
            tokens=(),
            num_prompt_tokens=end.usage.num_prompt_tokens if end.usage else 0,
            seed=request.sampling.seed,
            ttft_s=first_s - chat.began_s if num_pieces else 0.0,
            tokens_per_s=max(0, num_tokens - 1) / elapsed_s if elapsed_s > 0 else 0.0,
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
        guessing = self._guessing(request)
        session = Session(started.session_id, prompt, request.max_tokens, codec.stop_ids, guessing)
        session.go_on(started.epoch, started.tokens)
        telling = self._telling(chat, codec)
        telling.skip(started.tokens)
        demand = planner.demand(spec, needed, started.plan)
        first = planner.take_over(demand, started.plan, request.privacy)
        return await self._by_mesh(first, session, chat, telling)

    async def _by_mesh(self, first: FirstRoute, session: Session, chat: _Chat, telling: Telling) -> Summary:
        chat.session_id = session.session_id
        order = Order(
            session=session,
            demand=first.demand,
            plan=first.plan,
            sampling=chat.request.sampling,
            show=telling.push,
            due_s=lambda: telling.due_s,
            flush=telling.flush,
            routed=partial(self._routed, chat, telling),
            taken_over=first.taken_over,
            until_s=chat.until_s,
            reuse=first.reuse,
            only=first.only,
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
            seed=chat.request.sampling.seed,
            ttft_s=outcome.first_s - chat.began_s,
            tokens_per_s=outcome.tokens_per_s,
            stages=self._shares(outcome.plan),
            recoveries=outcome.recoveries,
            reused_positions=outcome.reused_positions,
            guesses=outcome.guesses,
        )

    def _guessing(self, request: ChatRequest) -> Speculation | None:
        drafting = request.drafting or self._parts.planning.drafting
        if drafting is Drafting.NONE:
            return None
        return Speculation(PromptLookup(), self._parts.planning.draft_depth)

    def _telling(self, chat: _Chat, codec: TextCodec | None) -> Telling:
        pieces, timing = codec.pieces() if codec is not None else None, self._parts.timing
        return Telling(
            chat.request.request_id, chat.link, pieces, timing.stall_s, every_s=timing.told_every_s
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
        await telling.tell(Routed(telling.request_id, chat.session_id, epoch, plan, others, recovery))

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
