"""Drives one answer: from its plan and prompt to the last token, over as many routes as it takes.

Owns the answer's session, the route that it has now, and what comes in for it. Stages know their part of it;
this is the only place that knows it all. What an interruption means is decided in `mesh.logic.interruption`,
what takes the place of a stage in `mesh.logic.recovery`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace

from mesh.config import Planning, Timing
from mesh.errors import CapacityLost, MeshError, NetworkError, StageLost, Stalled, first_of
from mesh.inbox import Inbox
from mesh.logic.capacity import Demand
from mesh.logic.detour import Detour
from mesh.logic.interruption import Account, Blame, Interruption
from mesh.logic.patience import LOOK_AGAIN_S, Patience
from mesh.logic.session import Session
from mesh.logic.standby import standbys
from mesh.messages import (
    CloseSession,
    Frame,
    OpenSession,
    Progress,
    ProgressRequest,
    Resume,
    SessionFailed,
    Token,
)
from mesh.roles.deployer import Deployer, LoadFailed
from mesh.roles.peers import Peers
from mesh.roles.places import Attention
from mesh.roles.survey import Survey
from mesh.types import (
    Address,
    FinishReason,
    Hop,
    NodeId,
    NodeRecord,
    Plan,
    PlannedStage,
    Recovery,
    Sampling,
    Standby,
)

_log = logging.getLogger(__name__)

_UNREAD = 64  # news not taken up yet; a stage makes the next token only when it is asked
_PAUSE_S = 0.05  # before a route is opened anew that has just failed; doubled each time
_LONGEST_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Order:
    """One answer to make."""

    session: Session
    demand: Demand
    plan: Plan
    sampling: Sampling
    show: Callable[[int], Awaitable[None]]
    """Takes each token of the answer as it comes."""
    routed: Callable[[int, Plan, Recovery | None], Awaitable[None]]
    """Told of each route by its epoch and plan: of the first at once, of others with their first token."""
    until_s: float | None = None
    """When the client's patience ends, by the loop's clock."""
    taken_over: Plan | None = None
    """The route that the session has had at another gateway; its stages may still hold it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an answer ended, and when its tokens came (seconds of the loop's clock)."""

    reason: FinishReason
    plan: Plan
    """The route by which the last token came."""
    num_drawn: int
    """Tokens that came, with the one that ended the answer."""
    first_s: float
    last_s: float
    recoveries: tuple[Recovery, ...] = ()

    @property
    def tokens_per_s(self) -> float:
        """Rate from the first token to the last; 0 where only one came."""
        elapsed_s = self.last_s - self.first_s
        return (self.num_drawn - 1) / elapsed_s if elapsed_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class NodeGone:
    """Nothing can be expected of a node in this life any more."""

    node_id: NodeId
    incarnation: int
    error: StageLost


@dataclass(frozen=True, slots=True)
class NodeLeaving:
    """A node asks that others take over what it holds."""

    node_id: NodeId


@dataclass(frozen=True, slots=True)
class LinkBroken:
    """The link to an address broke, or could not be opened."""

    address: Address
    error: MeshError


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Another route is loaded, to take over from the one of an epoch."""

    epoch: int
    plan: Plan
    leaving: NodeId


News = Token | Resume | Progress | SessionFailed | NodeGone | NodeLeaving | LinkBroken | _Prepared


@dataclass(frozen=True, slots=True)
class Means:
    """What drivers work with."""

    own: NodeRecord
    peers: Peers
    survey: Survey
    deployer: Deployer
    attention: Attention
    timing: Timing
    planning: Planning


class _Interrupted(Exception):
    def __init__(self, interruption: Interruption) -> None:
        super().__init__(str(interruption.error))
        self.interruption = interruption


class Driver:
    """One answer under way."""

    def __init__(self, order: Order, means: Means) -> None:
        self.order = order
        self.plan = order.plan
        """The route of now."""
        self.inbox: Inbox[News] = Inbox(_UNREAD)
        self._changed = asyncio.Event()
        """Set when the mesh has changed, so that a route may be possible which was not."""
        self._means = means
        self._blame = Blame()
        self._detour = Detour(
            order.demand, order.taken_over or order.plan, is_settled=order.taken_over is not None
        )
        self._patience = Patience()
        self._said: dict[int, Progress] | None = None
        """What stages say of an overdue token; None while it is not overdue."""
        self._since_s = _now()
        """When the route was opened, or its last token came."""
        self._look_s = self._since_s + self._patience.overdue_s
        """When to look where the token is."""
        self._account: Account | None = None
        self._recoveries: list[Recovery] = []
        self._times_s: list[float] = []
        self._heard_s = self._since_s
        """When the last token came; the beginning, before the first."""
        self._num_in_vain = 0
        """Routes that were opened since then."""
        self._relieved: set[tuple[int, NodeId]] = set()
        """Nodes for which another route is prepared already, by the epoch that it is to end."""
        self._unrelieved: dict[NodeId, None] = {}
        """Nodes for which there was no other route."""
        self._task: asyncio.Task[object] | None = None
        self._fed_from: int | None = None
        """Stage 0 has all before it, by what it has said of this route; None until it has."""
        self._touched: dict[Address, None] = {}
        """Where stages may hold something of this session."""
        if order.taken_over is not None:
            self._account = Account(self._heard_s, self._heard_s)
            self._account.rerouted(order.taken_over, order.plan)
            left = {stage.node.node_id for stage in order.plan.stages}
            lost = (s.node for s in order.taken_over.stages if s.node.node_id not in left)
            self._account.lost.update({node.node_id: node.name for node in lost})

    @property
    def session(self) -> Session:
        """The state of the answer."""
        return self.order.session

    def mesh_changed(self) -> None:
        """A device came, went, or has other things to tell: a route may be possible now which was not."""
        self._changed.set()
        self._detour.mesh_changed()
        for node_id in self._unrelieved:
            self.inbox.put_nowait(NodeLeaving(node_id))
        self._unrelieved.clear()

    def give_up(self) -> None:
        """Another driver goes on with this session: end, and leave it to that one."""
        self._touched.clear()
        if self._task is not None:
            self._task.cancel()

    async def run(self) -> Outcome:
        """Load, open and drive until the answer ends, whatever is lost on the way.

        Raises CapacityLost, Stalled, or what a stage reported and nothing can be done about. Cancelled or
        not, the stages are told to free the session.
        """
        self._task = asyncio.current_task()
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = _Helpers(tasks)
                outcome = await self._drive(helpers)
                helpers.cancel()
                return outcome
        except* MeshError as group:
            raise first_of(group) from None
        finally:
            self._means.attention.neglect(self)
            await self._close()

    async def _drive(self, helpers: _Helpers) -> Outcome:
        while True:
            try:
                await self._establish(helpers)
                return await self._follow(helpers)
            except _Interrupted as interrupted:
                await self._reroute(interrupted.interruption)

    async def _establish(self, helpers: _Helpers) -> None:
        """Have the route's stages loaded, and open the session along it."""
        is_first = self.session.epoch == 0
        addresses = [stage.node.address for stage in self.plan.stages]
        self._touched.update(dict.fromkeys(addresses))
        self._means.attention.attend(self, addresses)
        claiming = helpers.start(self._claim())
        try:
            await self._deploy(self.plan, self.plan.stages)
        finally:
            claiming.cancel()
        await self._place_standbys(helpers, is_first=is_first)
        self._wait_anew()
        self._fed_from = 0 if is_first else None
        await self._post(self._opening())
        if is_first:  # stages have nothing to say about what they hold
            for frame in self.session.frames_from(0):
                await self._post(frame)
            await self.order.routed(self.session.epoch, self.plan, None)

    async def _claim(self) -> None:
        """Have stages keep what they hold of a session that exists, however long the others take to load."""
        while self.session.epoch > 0:
            await self._ask_progress()
            await asyncio.sleep(self._means.timing.linger_s / 3)

    def _opening(self) -> OpenSession:
        plan = self.plan
        return OpenSession(
            session_id=self.session.session_id,
            epoch=self.session.epoch,
            route=tuple(Hop(s.node.node_id, s.node.address, plan.key(s)) for s in plan.stages),
            index=0,
            gateway=self._means.own.address,
            context=plan.context,
            sampling=self.order.sampling,
            known=self.session.position,
        )

    async def _follow(self, helpers: _Helpers) -> Outcome:
        """Take tokens and ask for the next until the answer ends, or something interrupts it."""
        while True:
            news = await self._next()
            match news:
                case Token():
                    if (outcome := await self._token(news)) is not None:
                        return outcome
                case Resume() if news.epoch == self.session.epoch:
                    await self._resume(news)
                case NodeLeaving(node_id) if self._holds(node_id):
                    self._relieve(node_id, helpers)
                case _Prepared(epoch, plan, node_id) if epoch == self.session.epoch:
                    error = StageLost(f"{self._name(node_id)} has handed over", node_id)
                    raise _Interrupted(Interruption(error, (node_id,), (node_id,), plan))
                case SessionFailed() | NodeGone() | LinkBroken():
                    self._trouble(news)

    async def _token(self, token: Token) -> Outcome | None:
        accepted = self.session.accept(token)
        if accepted is None:
            return None
        now = _now()
        if self._times_s and self._account is None:
            self._patience.token_came(now - self._heard_s)
        self._heard_s, self._num_in_vain = now, 0
        self._blame.token_came()
        self._detour.token_came(self.plan)
        self._times_s.append(now)
        self._wait_anew()
        if accepted.frame is not None and self._fed_from is not None and token.position >= self._fed_from:
            await self._post(accepted.frame)
            # Out it goes before the text is made, so that the stages work meanwhile.
            await asyncio.sleep(0)
        await self._settle(now)
        if accepted.is_text:
            await self.order.show(accepted.token)
        if accepted.reason is None:
            return None
        times_s, recoveries = self._times_s, tuple(self._recoveries)
        return Outcome(accepted.reason, self.plan, len(times_s), times_s[0], now, recoveries)

    async def _settle(self, now: float) -> None:
        """The first token after an interruption: close its account, and tell the client of the new route."""
        if self._account is not None:
            recovery = self._account.recovery(now)
            self._account = None
            self._recoveries.append(recovery)
            await self.order.routed(self.session.epoch, self.plan, recovery)

    async def _resume(self, resume: Resume) -> None:
        """A stage says where its cache ends; the first one is sent what it lacks."""
        if self._account is not None:
            position = self.session.position
            made = position - 1 if self.session.tokens else 0
            self._account.resumed(resume, position, made)
        if resume.index == 0:
            self._fed_from = resume.position
            for frame in self.session.frames_from(resume.position):
                await self._post(frame)

    def _trouble(self, news: SessionFailed | NodeGone | LinkBroken) -> None:
        """Raise _Interrupted where the news concern the route of now, or the error where nothing helps."""
        match news:
            case SessionFailed() if news.epoch == self.session.epoch:
                error = news.error
                lost = error.lost if isinstance(error, StageLost) else None
                self._interrupt(error, NodeId(lost) if lost else news.node_id)
            case NodeGone(node_id, incarnation, gone):
                if self._holds(node_id, incarnation):
                    self._interrupt(gone, node_id)
            case LinkBroken(address, why) if self.plan.stages[0].node.address == address:
                first = self.plan.stages[0].node
                text = f"{first.name} went away ({why}); ask again"
                self._interrupt(StageLost(text, first.node_id), first.node_id)

    def _interrupt(self, error: MeshError, node_id: NodeId) -> None:
        seems_alive = self._means.survey.seems_alive(node_id)
        interruption = self._blame.judge(error, node_id, seems_alive=seems_alive)
        if interruption is None:
            raise error
        raise _Interrupted(interruption)

    async def _reroute(self, interruption: Interruption) -> None:
        """Choose the next route, and raise the epoch: what stages still say of the last one is old news."""
        _log.info("session %s: %s", self.session.session_id, interruption.error)
        before, old = self.plan, CloseSession(self.session.session_id, self.session.epoch)
        account = self._account = self._account or Account(self._heard_s, _now())
        account.lost.update({node_id: self._name(node_id) for node_id in interruption.nodes})
        self._detour.interrupted(interruption)
        await self._pause(interruption)
        self.plan = interruption.plan or await self._mended(interruption)
        self.session.epoch += 1
        self._patience.rerouted()
        account.rerouted(before, self.plan)
        for stage in before.stages:
            if not self._holds(stage.node.node_id):
                await self._post_to(stage.node.address, old)

    async def _pause(self, interruption: Interruption) -> None:
        """Wait a little longer each time that a new route has failed as well, and give up at last."""
        self._num_in_vain += 1
        if self._num_in_vain > 1:
            await asyncio.sleep(min(_LONGEST_PAUSE_S, _PAUSE_S * 2 ** (self._num_in_vain - 2)))
        if self._num_in_vain > 1 and _now() >= self._until_s:
            raise interruption.error

    @property
    def _until_s(self) -> float:
        """So long routes are tried, and devices waited for, without a token."""
        if self.order.until_s is not None:
            return self.order.until_s - _PAUSE_S
        return self._heard_s + self._means.timing.stall_s

    async def _mended(self, interruption: Interruption) -> Plan:
        """Find who takes over; where nobody can, wait for a device to come back while there is time."""
        until_s = self._until_s
        while True:
            self._changed.clear()
            try:
                return self._mend()
            except CapacityLost:
                if not interruption.is_loss and not self.session.tokens:
                    raise interruption.error from None  # it never began: say what is in the way
                if _now() >= until_s:
                    raise
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until_s):
                    await self._changed.wait()

    def _mend(self, also_gone: tuple[NodeId, ...] = (), *, with_leaving: bool = True) -> Plan:
        survey, doubts, model = self._means.survey, self._blame.doubts, self.plan.model
        try:
            return self._detour.next(survey.for_recovery(model, doubts), also_gone)
        except CapacityLost:
            if not with_leaving:
                raise
        return self._detour.next(survey.for_recovery(model, doubts, with_leaving=True), also_gone)

    async def _next(self) -> News:
        """Return the next news; look where the token is when it is overdue, and give up at last."""
        while True:
            try:
                async with asyncio.timeout_at(self._look_s):
                    news = await self.inbox.get()
            except TimeoutError:
                await self._look()
                continue
            if not isinstance(news, Progress):
                return news
            if self._said is not None and news.epoch == self.session.epoch:
                self._said[news.index] = news

    async def _look(self) -> None:
        """The token is overdue: see what the stages have said since the last look, and ask them again."""
        if _now() - self._since_s >= self._means.timing.stall_s:
            raise self._stalled()
        if self._said is not None:
            num_stages, position = len(self.plan.stages), self.session.position
            culprit = self._patience.culprit(num_stages, position, self._said)
            if culprit is not None:
                self._blame_slow(culprit)
        self._said, self._look_s = {}, _now() + LOOK_AGAIN_S
        await self._ask_progress()

    async def _ask_progress(self) -> None:
        for index, stage in enumerate(self.plan.stages):
            request = ProgressRequest(self.session.session_id, self.session.epoch, index)
            await self._post_to(stage.node.address, request)

    def _wait_anew(self) -> None:
        """A token is waited for from now on."""
        self._said, self._since_s = None, _now()
        self._look_s = self._since_s + self._patience.overdue_s

    def _blame_slow(self, index: int) -> None:
        node = self.plan.stages[index].node
        self._means.survey.mistrust(node.node_id)
        error = StageLost(f"{node.name} takes what it is sent and does not get on with it", node.node_id)
        interruption = self._blame.judge(error, node.node_id, seems_alive=False)
        assert interruption is not None
        raise _Interrupted(interruption)

    def _stalled(self) -> Stalled:
        names = ", ".join(stage.node.name for stage in self.plan.stages)
        within_s = self._means.timing.stall_s
        return Stalled(f"no token came from {names} within {within_s:g} s; ask again")

    def _relieve(self, leaving: NodeId, helpers: _Helpers) -> None:
        if (self.session.epoch, leaving) not in self._relieved:
            self._relieved.add((self.session.epoch, leaving))
            helpers.start(self._prepare(leaving))

    async def _prepare(self, leaving: NodeId) -> None:
        """Have another route loaded, while this one goes on, and say when it is."""
        epoch = self.session.epoch
        try:
            plan = self._mend((leaving,), with_leaving=False)
            await self._load(plan, plan.stages)
        except (LoadFailed, CapacityLost, TimeoutError) as error:
            _log.warning("%s cannot hand over: %s", self._name(leaving), error)
            self._relieved.discard((epoch, leaving))
            self._unrelieved[leaving] = None
        else:
            self.inbox.put_nowait(_Prepared(epoch, plan, leaving))

    async def _place_standbys(self, helpers: _Helpers, *, is_first: bool) -> None:
        """Have warm copies loaded, as the owner wants them; an answer under way does not depend on it."""
        wanted = self._means.planning.standby
        must_be = is_first and wanted is Standby.ALL
        if wanted is Standby.NONE:
            return
        candidates = self._means.survey.for_plans(self.plan.model, is_strict=False)
        wanted = wanted if must_be else Standby.AUTO
        self.plan = replace(self.plan, standbys=standbys(self.order.demand, self.plan, candidates, wanted))
        if must_be:
            await self._deploy(self.plan, self.plan.standbys)
        else:
            helpers.start(self._load_quietly(self.plan))

    async def _load_quietly(self, plan: Plan) -> None:
        with contextlib.suppress(LoadFailed, TimeoutError):
            await self._load(plan, plan.standbys)

    async def _deploy(self, plan: Plan, stages: tuple[PlannedStage, ...]) -> None:
        """Have stages loaded; raises _Interrupted or the error of a node that could not."""
        try:
            await self._load(plan, stages)
        except LoadFailed as failed:
            self._interrupt(failed.error, failed.stage.node.node_id)
        except TimeoutError as error:
            within_s = self._means.timing.load_s
            raise Stalled(f"the devices had not loaded {plan.model.name} within {within_s:g} s") from error

    async def _load(self, plan: Plan, stages: tuple[PlannedStage, ...]) -> None:
        async with asyncio.timeout(self._means.timing.load_s):
            await self._means.deployer.load(plan, stages)

    async def _close(self) -> None:
        """Have every stage free the session, each told by us too: one before it may be frozen.

        Bounded: whoever cannot be told asks us, or frees it when we are gone.
        """
        closing = CloseSession(self.session.session_id, self.session.epoch)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._means.timing.close_s):
                for address in self._touched:
                    await self._post_to(address, closing)

    async def _post(self, message: OpenSession | Frame) -> None:
        await self._post_to(self.plan.stages[0].node.address, message)

    async def _post_to(
        self, address: Address, message: OpenSession | Frame | CloseSession | ProgressRequest
    ) -> None:
        with contextlib.suppress(NetworkError):  # it broke while this waited: told as LinkBroken
            await self._means.peers.post(address, message)

    def _holds(self, node_id: NodeId, incarnation: int | None = None) -> bool:
        """Whether a node, in that life, has a stage of the route."""
        return any(
            stage.node.node_id == node_id and incarnation in (None, stage.node.incarnation)
            for stage in self.plan.stages
        )

    def _name(self, node_id: NodeId) -> str:
        names = (s.node.name for s in self.plan.stages if s.node.node_id == node_id)
        return next(names, node_id[:8])


class _Helpers:
    """Tasks that go on beside an answer, and end with it."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._started: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(work)
        self._started.append(task)
        return task

    def cancel(self) -> None:
        for task in self._started:
            task.cancel()


def _now() -> float:
    return asyncio.get_running_loop().time()
