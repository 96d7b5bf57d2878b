"""Drives one answer: from its plan and prompt to the last token, over as many routes as it takes.

Owns the order of steps: load, open, ask and take, and all that again by another route. Stages know their part
of a session; this is the only place that knows it all. What is heard meanwhile is the business of
`mesh.roles.listening`, which route is the next that of `mesh.roles.routes`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from mesh.errors import MeshError, NetworkError, Stalled, first_of
from mesh.logic.feeding import Feeding
from mesh.logic.interruption import Interruption, RecoveryAccount
from mesh.logic.prefixes import LEAST_SHARED
from mesh.logic.session import Session
from mesh.logic.standby import standbys
from mesh.messages import (
    CloseSession,
    Frame,
    OpenSession,
    ProgressRequest,
    Resume,
    SessionFailed,
    Token,
)
from mesh.now import now_s
from mesh.roles.deployer import LoadFailed
from mesh.roles.helpers import Helpers
from mesh.roles.listening import Listening
from mesh.roles.order import (
    Heard,
    LinkBroken,
    Means,
    News,
    NodeGone,
    NodeLeaving,
    Order,
    Outcome,
    Prepared,
    TooSlow,
)
from mesh.roles.relief import Relief
from mesh.roles.routes import Interrupted, Routes
from mesh.types import Address, Hop, NodeId, Plan, PlannedStage, Recovery, Standby

_log = logging.getLogger(__name__)


class Driver:
    """One answer under way."""

    def __init__(self, order: Order, means: Means) -> None:
        self._order = order
        self._means = means
        self._routes = Routes(order, means.survey, means.timing.stall_s)
        self._listening = Listening(self._ask_progress, order, means.timing.stall_s)
        self._account = _account_of(order)
        self._recoveries: list[Recovery] = []
        self._first_s: float | None = None
        """When the first token came."""
        self._num_drawn = 0
        self._heard_s = now_s()
        """When the last token came; the beginning, before the first."""
        self._is_begun = order.taken_over is not None
        """Whether some stages may hold something of the session."""
        self._feeding = Feeding(order.session, order.reuse.shared if order.reuse else 0)
        self._is_sound = True
        """Whether nothing went wrong that could not be mended."""
        self._relief = Relief(
            order.session, self._routes, lambda plan: self._load(plan, plan.stages), self._listening.hear
        )
        self._touched: dict[Address, None] = {}
        """Where stages may hold something of this session."""
        self._task: asyncio.Task[object] | None = None
        self._drafting: asyncio.Task[None] | None = None
        """The small model that guesses, while there is one."""

    @property
    def session(self) -> Session:
        """The state of the answer."""
        return self._order.session

    @property
    def is_of_use(self) -> bool:
        """Whether another session may begin with what the stages have of this one."""
        return self._is_sound and len(self.session.history) >= LEAST_SHARED

    @property
    def plan(self) -> Plan:
        """The route of now."""
        return self._routes.plan

    def hear(self, news: News) -> None:
        """Take news, to be taken up in their turn."""
        self._listening.hear(news)

    def mesh_changed(self) -> None:
        """A device came, went, or has other things to tell: a route may be possible now which was not."""
        self._routes.mesh_changed()
        self._relief.mesh_changed()

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
                helpers = Helpers(tasks)
                outcome = await self._drive_soundly(helpers)
                helpers.cancel()
                return outcome
        except* MeshError as group:
            raise first_of(group) from None
        finally:
            self._means.attention.neglect(self)
            await self._close()

    async def _drive_soundly(self, helpers: Helpers) -> Outcome:
        try:
            return await self._drive(helpers)
        except Exception:
            self._is_sound = False
            raise

    async def _drive(self, helpers: Helpers) -> Outcome:
        while True:
            try:
                await self._establish(helpers)
                return await self._follow(helpers)
            except Interrupted as interrupted:
                await self._reroute(interrupted.interruption, helpers)

    async def _establish(self, helpers: Helpers) -> None:
        """Have the route's stages loaded, and open the session along it."""
        is_first = self.session.epoch == 0
        self._touched.update((stage.node.address, None) for stage in self.plan.stages)
        self._means.attention.attend(self, [stage.node.node_id for stage in self.plan.stages])
        with self._claimed(helpers):
            row_s = await self._deploy(self.plan.stages)
        self._feeding.route(len(self.plan.stages), row_s)
        self.session.take_route(self.plan)
        await self._place_standbys(helpers, is_first=is_first)
        await self._open(is_first=is_first)
        for node_id in self._routes.leaving():
            self._relieve(node_id, helpers)

    @contextlib.contextmanager
    def _claimed(self, helpers: Helpers) -> Iterator[None]:
        """Have stages keep what they hold of the session, however long something else takes."""
        claiming = helpers.start(self._claim())
        try:
            yield
        finally:
            claiming.cancel()

    async def _claim(self) -> None:
        while self._is_begun:
            await self._ask_progress()
            await asyncio.sleep(self._means.timing.linger_s / 3)

    async def _open(self, *, is_first: bool) -> None:
        self._listening.wait_anew()
        self._is_begun = True
        await self._post(self._opening())
        await self._post_all(self._feeding.opened(is_first=is_first))
        if is_first:
            await self._order.routed(self.session.epoch, self.plan, None)

    def _opening(self) -> OpenSession:
        plan, reuse = self.plan, self._order.reuse
        return OpenSession(
            session_id=self.session.session_id,
            epoch=self.session.epoch,
            route=tuple(Hop(s.node.node_id, s.node.address, plan.key(s)) for s in plan.stages),
            index=0,
            gateway=self._means.own.address,
            context=plan.context,
            sampling=self._order.sampling,
            known=self.session.position,
            gateway_id=self._means.own.node_id,
            source=reuse.source if reuse else None,
            shared=reuse.shared if reuse else 0,
            newest=self.session.newest,
        )

    async def _follow(self, helpers: Helpers) -> Outcome:
        """Take tokens and ask for the next until the answer ends, or something interrupts it."""
        while True:
            news = await self._listening.next(self.plan, self.session.epoch, self.session.position)
            if isinstance(news, Token):
                if (outcome := await self._token(news)) is not None:
                    return outcome
                self._have_guessed(helpers)
            else:
                await self._take(news, helpers)

    async def _take(self, news: Heard, helpers: Helpers) -> None:
        epoch = self.session.epoch
        match news:
            case Resume():
                if news.epoch == epoch:
                    await self._resume(news)
            case NodeLeaving(node_id):
                self._relieve(node_id, helpers)
            case Prepared():
                if news.epoch == epoch:
                    raise Interrupted(self._relief.handed_over(news))
            case SessionFailed() | NodeGone() | LinkBroken() | TooSlow():
                self._routes.trouble(news, epoch)

    async def _token(self, token: Token) -> Outcome | None:
        is_steady = self._first_s is not None and self._account is None and self.session.has_caught_up
        now, gap_s = now_s(), now_s() - self._heard_s
        accepted = self.session.accept(token, gap_s if is_steady else None)
        if accepted is None:
            return None
        self._heard_s = now
        self._first_s = now if self._first_s is None else self._first_s
        self._num_drawn += len(accepted.tokens)
        self._routes.token_came()
        self._listening.token_came(gap_s if is_steady and accepted.is_of_traversal else None)
        await self._go_on()
        await self._settle(now)
        for one in accepted.text:
            await self._order.show(one)
        if accepted.reason is None:
            return None
        return Outcome(
            reason=accepted.reason,
            plan=self.plan,
            num_drawn=self._num_drawn,
            first_s=self._first_s,
            last_s=now,
            recoveries=tuple(self._recoveries),
            reused_positions=self._feeding.num_reused,
            guesses=self.session.guesses,
        )

    async def _go_on(self) -> None:
        """Ask for what comes next, and send what may follow it."""
        if self._order.draft is not None:
            await self._order.draft.guess()
        frames = self.session.ask()
        if frames and self._feeding.is_fed_to(frames[0].start):
            await self._post_all(frames)
            # Out it goes before the text is made, so that the stages work meanwhile.
            await asyncio.sleep(0)
        elif frames:
            self.session.not_asked()  # the stages have its rows

    def _have_guessed(self, helpers: Helpers) -> None:
        """A token came, so all stages have their room: what is left may be the small model's."""
        if self._order.draft is not None and self._drafting is None:
            self._drafting = helpers.start(self._order.draft.run())

    def _guess_no_more(self) -> None:
        """The next route comes first: the small model gives back its room, until that one works."""
        if self._drafting is not None:
            self._drafting.cancel()
            self._drafting = None

    async def _settle(self, now: float) -> None:
        """The first token after an interruption: close its account, and tell the client of the new route."""
        if self._account is not None:
            recovery = self._account.recovery(now)
            self._account = None
            self._recoveries.append(recovery)
            await self._order.routed(self.session.epoch, self.plan, recovery)

    async def _resume(self, resume: Resume) -> None:
        """A stage says where its cache ends; the first one is sent what it lacks."""
        if self._account is not None:
            position = self.session.position
            made = position - 1 if self.session.tokens else 0
            self._account.resumed(resume, position, made)
        self.session.resumed(resume)
        await self._post_all(self._feeding.resumed(resume))

    async def _reroute(self, interruption: Interruption, helpers: Helpers) -> None:
        """Take another route, and raise the epoch: what stages still say of the last one is old news."""
        _log.info("session %s: %s", self.session.session_id, interruption.error)
        before, old = self.plan, CloseSession(self.session.session_id, self.session.epoch)
        account = self._account = self._account or RecoveryAccount(self._heard_s, now_s())
        account.lost.update({node_id: self._routes.name(node_id) for node_id in interruption.nodes})
        self._guess_no_more()
        with self._claimed(helpers):
            is_kept = await self._routes.reroute(interruption)
        self.session.reopened()
        self._listening.rerouted()
        account.rerouted(before, self.plan)
        for stage in before.stages:
            if not (is_kept and self._routes.holds(stage.node.node_id)):
                await self._post_to(stage.node.address, old)

    def _relieve(self, leaving: NodeId, helpers: Helpers) -> None:
        if self._relief.is_needed(leaving):
            helpers.start(self._relief.prepare(leaving))

    async def _place_standbys(self, helpers: Helpers, *, is_first: bool) -> None:
        """Have warm copies loaded, as the owner wants them; an answer under way does not depend on it."""
        wanted = self._means.planning.standby
        if wanted is Standby.NONE or self._order.only is not None:
            return
        if not is_first:  # those of the first route came with its plan
            candidates = self._means.survey.for_plans(self.plan.model, is_strict=False)
            copies = standbys(self._order.demand, self.plan, candidates, Standby.AUTO)
            self._routes.plan = replace(self.plan, standbys=copies)
        if is_first and wanted is Standby.ALL:
            await self._deploy(self.plan.standbys)
        else:
            helpers.start(self._load_quietly(self.plan, self.plan.standbys))

    async def _load_quietly(self, plan: Plan, copies: tuple[PlannedStage, ...]) -> None:
        with contextlib.suppress(LoadFailed, TimeoutError):
            await self._load(plan, copies)

    async def _deploy(self, stages: tuple[PlannedStage, ...]) -> float:
        """Have stages loaded; raises Interrupted, or the error of a node that could not.

        Returns the seconds that a row of a prompt takes at the slowest; 0 where none was measured.
        """
        try:
            return await self._load(self.plan, stages)
        except LoadFailed as failed:
            self._routes.load_failed(failed)
        except TimeoutError as error:
            name, within_s = self.plan.model.name, self._means.timing.load_s
            raise Stalled(f"the devices had not loaded {name} within {within_s:g} s") from error

    async def _load(self, plan: Plan, stages: tuple[PlannedStage, ...]) -> float:
        async with asyncio.timeout(self._means.timing.load_s):
            return await self._means.deployer.load(plan, stages)

    async def _close(self) -> None:
        """Have every stage free the session, each told by us too: one before it may be frozen.

        Where nothing went wrong those of the route keep their caches while nobody needs the room. Bounded:
        whoever cannot be told asks us, or frees it when we are gone.
        """
        parked = [stage.node.address for stage in self.plan.stages] if self.is_of_use else []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._means.timing.close_s):
                for address in tuple(self._touched):
                    epoch = self.session.epoch
                    await self._post_to(
                        address, CloseSession(self.session.session_id, epoch, address in parked)
                    )

    async def _ask_progress(self) -> None:
        for index, stage in enumerate(self.plan.stages):
            request = ProgressRequest(self.session.session_id, self.session.epoch, index)
            await self._post_to(stage.node.address, request)

    async def _post_all(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            await self._post(frame)

    async def _post(self, message: OpenSession | Frame) -> None:
        await self._post_to(self.plan.stages[0].node.address, message)

    async def _post_to(
        self, address: Address, message: OpenSession | Frame | CloseSession | ProgressRequest
    ) -> None:
        with contextlib.suppress(NetworkError):  # it broke while this waited: told as LinkBroken
            await self._means.peers.post(address, message)


def _account_of(order: Order) -> RecoveryAccount | None:
    """The account of an answer that another gateway began: its loss is the interruption."""
    before, after = order.taken_over, order.plan
    if before is None:
        return None
    account = RecoveryAccount(now_s(), now_s())
    account.rerouted(before, after)
    left = {stage.node.node_id for stage in after.stages}
    lost = (stage.node for stage in before.stages if stage.node.node_id not in left)
    account.lost.update({node.node_id: node.name for node in lost})
    return account
