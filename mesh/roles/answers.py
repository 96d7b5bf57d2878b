"""Drives answers: from a plan and a prompt to the last token.

Owns the sessions under way and what comes in for them. It is the only place that knows a whole session;
stages know their part of it. Must not know how the plan was made or who asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mesh.config import Timing
from mesh.errors import MeshError, StageLost, StageNotLoaded, Stalled
from mesh.inbox import Inbox
from mesh.logic.membership import Change
from mesh.logic.session import Session
from mesh.messages import CloseSession, Frame, OpenSession, RequestFailed, SessionFailed, StageLoaded, Token
from mesh.roles.deployer import Deployer
from mesh.roles.peers import Peers
from mesh.types import Address, FinishReason, Hop, Plan, Sampling, SessionId

_UNREAD = 64  # tokens not taken up yet; a stage makes the next only when it is asked

Show = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Order:
    """One answer to make."""

    session: Session
    plan: Plan
    sampling: Sampling
    show: Show
    """Takes each token of the answer as it comes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an answer ended, and when its tokens came (seconds of the loop's clock)."""

    reason: FinishReason
    num_drawn: int
    """Tokens that came, with the one that ended the answer."""
    first_s: float
    last_s: float

    @property
    def tokens_per_s(self) -> float:
        """Rate from the first token to the last; 0 where only one came."""
        elapsed_s = self.last_s - self.first_s
        return (self.num_drawn - 1) / elapsed_s if elapsed_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class _Running:
    order: Order
    inbox: Inbox[Token | MeshError] = field(default_factory=lambda: Inbox(_UNREAD))

    @property
    def session(self) -> Session:
        return self.order.session


class Answers:
    """The sessions that this node's gateway drives."""

    def __init__(self, own: Address, peers: Peers, timing: Timing) -> None:
        self._own = own
        self._peers = peers
        self._timing = timing
        self._deployer = Deployer(peers)
        self._running: dict[SessionId, _Running] = {}
        peers.on_broken(self._peer_broken)

    async def make(self, order: Order) -> Outcome:
        """Load, open, and drive to the end; a stage that was unloaded meanwhile is loaded once more.

        Raises StageLost, Stalled, or what a stage reported. Cancelled or not, the session's stages are
        told to free it.
        """
        await self._deploy(order.plan)
        try:
            return await self._drive_once(order)
        except StageNotLoaded:
            if order.session.tokens:
                raise
        order.session.epoch += 1  # what stages still say of the first route is old news
        await self._deploy(order.plan)
        return await self._drive_once(order)

    def owns(self, session_id: SessionId) -> bool:
        """Whether a session is driven here."""
        return session_id in self._running

    def take(self, message: Token | SessionFailed | StageLoaded | RequestFailed) -> None:
        """Take what a worker sends back; what belongs to no request, session or epoch of ours is dropped."""
        if isinstance(message, StageLoaded | RequestFailed):
            return self._deployer.answered(message)
        running = self._running.get(message.session_id)
        if running is not None and message.epoch == running.session.epoch:
            running.inbox.put_nowait(message.error if isinstance(message, SessionFailed) else message)
        return None

    def node_changed(self, change: Change) -> None:
        """Take news of a node: sessions that need one that is gone fail at once."""
        lost, node_id = change.loss, change.record.node_id
        if lost is None:
            return
        self._deployer.node_gone(node_id, lost)
        for running in self._running.values():
            if any(stage.node.node_id == node_id for stage in running.order.plan.stages):
                running.inbox.put_nowait(lost)

    def _peer_broken(self, address: Address, error: MeshError) -> None:
        for running in self._running.values():
            first = running.order.plan.stages[0].node
            if first.address == address:
                running.inbox.put_nowait(StageLost(f"{first.name} went away ({error}); ask again"))

    async def _deploy(self, plan: Plan) -> None:
        within_s = self._timing.load_s
        try:
            async with asyncio.timeout(within_s):
                await self._deployer.deploy(plan)
        except TimeoutError as error:
            raise Stalled(f"the devices had not loaded {plan.model.name} within {within_s:g} s") from error

    async def _drive_once(self, order: Order) -> Outcome:
        async with self._opened(order) as running:
            for frame in running.session.first_frames():
                await self._post(running, frame)
            return await self._drive(running)

    @asynccontextmanager
    async def _opened(self, order: Order) -> AsyncIterator[_Running]:
        """Open a session along its route; close it there however it ends."""
        session, plan = order.session, order.plan
        route = tuple(Hop(s.node.node_id, s.node.address, plan.key(s)) for s in plan.stages)
        running = self._running[session.session_id] = _Running(order)
        opening = OpenSession(
            session.session_id, session.epoch, route, 0, self._own, plan.context, order.sampling
        )
        try:
            await self._post(running, opening)
            yield running
        finally:
            del self._running[session.session_id]
            await self._close(running)

    async def _close(self, running: _Running) -> None:
        """Have every stage free a session, each told by us too: one before it may be frozen.

        Bounded: whoever cannot be told frees it when the link that it came over closes, or its node is lost.
        """
        closing = CloseSession(running.session.session_id, running.session.epoch)
        with contextlib.suppress(MeshError, TimeoutError):
            async with asyncio.timeout(self._timing.close_s):
                for stage in running.order.plan.stages:
                    await self._peers.post(stage.node.address, closing)

    async def _drive(self, running: _Running) -> Outcome:
        """Take tokens and ask for the next until the answer ends."""
        now = asyncio.get_running_loop().time
        times_s: list[float] = []
        while True:
            accepted = running.session.accept(await self._next_token(running))
            if accepted is None:
                continue
            times_s.append(now())
            if accepted.frame is not None:
                await self._post(running, accepted.frame)
                # Out it goes before the text is made, so that the stages work meanwhile.
                await asyncio.sleep(0)
            if accepted.is_text:
                await running.order.show(accepted.token)
            if accepted.reason is not None:
                return Outcome(accepted.reason, len(times_s), times_s[0], times_s[-1])

    async def _next_token(self, running: _Running) -> Token:
        within_s = self._timing.stall_s
        try:
            async with asyncio.timeout(within_s):
                came = await running.inbox.get()
        except TimeoutError as error:
            names = ", ".join(stage.node.name for stage in running.order.plan.stages)
            raise Stalled(f"no token came from {names} within {within_s:g} s; ask again") from error
        if isinstance(came, MeshError):
            raise came
        return came

    async def _post(self, running: _Running, message: OpenSession | Frame) -> None:
        await self._peers.post(running.order.plan.stages[0].node.address, message)
