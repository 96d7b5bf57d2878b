"""The answers under way at one gateway: what comes in finds the one that it is for.

Owns who is told of what. Must not know how an answer is driven; that is `mesh.roles.driver`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from mesh.errors import Busy, MeshError, NetworkError
from mesh.logic.membership import Change
from mesh.logic.pace import RunningMean
from mesh.logic.prefixes import Histories, History, Reuse, best_reuse
from mesh.logic.session import Session
from mesh.messages import CloseSession, Progress, RequestFailed, Resume, SessionFailed, StageLoaded, Token
from mesh.now import now_s
from mesh.roles.draft_model import DraftMeans, DraftModel
from mesh.roles.driver import Driver
from mesh.roles.order import LinkBroken, Means, NodeGone, NodeLeaving, Order, Outcome
from mesh.types import Address, NodeId, NodeRecord, NodeState, NodeStatus, Plan, Sampling, SessionId

_MOST_ANSWERS = 256  # that one gateway makes at once: each has a task, and frames on their way


class Answers:
    """The sessions that this node's gateway drives."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._drivers: dict[SessionId, Driver] = {}
        self._drafts: dict[SessionId, DraftModel] = {}
        """Models that guess for answers, by the sessions that they have of their own."""
        self._histories = Histories()
        self._lasting = RunningMean()
        """How long answers take."""
        means.peers.on_broken(self._peer_broken)

    async def make(self, order: Order) -> Outcome:
        """Drive an answer to its end; see `Driver.run`.

        Raises Busy where too many are made already.
        """
        if len(self._drivers) >= _MOST_ANSWERS:
            text = f"{len(self._drivers)} answers are made here already"
            raise Busy(text).until(self._lasting.seconds / len(self._drivers))
        driver, session_id = Driver(order, self._means), order.session.session_id
        before = self._drivers.get(session_id)
        if before is not None:
            before.give_up()  # its client has turned to us again, over another link
        self._drivers[session_id] = driver
        if order.draft is not None:
            self._drafts[order.draft.session_id] = order.draft
        began_s = now_s()
        try:
            return await driver.run()
        finally:
            if order.draft is not None and self._drafts.get(order.draft.session_id) is order.draft:
                del self._drafts[order.draft.session_id]
            self._lasting.add(now_s() - began_s)
            if self._drivers.get(session_id) is driver:
                del self._drivers[session_id]
                await self._ended(driver)

    def reuse(self, prompt: tuple[int, ...], plan_like: Callable[[Plan], Plan | None]) -> Reuse | None:
        """Return which session a new one begins like, under way or over; None where there is none.

        `plan_like`: see `mesh.logic.prefixes.best_reuse`.
        """
        live = [_history(driver) for driver in self._all()]
        found = best_reuse([*self._histories, *live], prompt, plan_like)
        if found is not None:
            self._histories.used(found.source)
        return found

    async def _ended(self, driver: Driver) -> None:
        """Keep in mind what its stages may have kept of an answer."""
        if not driver.is_of_use:
            return
        gone = self._histories.remember(_history(driver))
        with contextlib.suppress(TimeoutError, NetworkError):
            async with asyncio.timeout(self._means.timing.close_s):
                for old in gone:
                    for stage in old.plan.stages:
                        await self._means.peers.post(stage.node.address, CloseSession(old.session_id, 0))

    def owns(self, session_id: SessionId) -> bool:
        """Whether a session is driven here."""
        return session_id in self._drivers or session_id in self._drafts

    def draft_model(self, plan: Plan, session: Session, sampling: Sampling) -> DraftModel:
        """Return what guesses for a session by a plan of one stage on this node."""
        means = DraftMeans(self._means.own, self._means.peers, self._means.deployer)
        return DraftModel(means, plan, session, sampling)

    def take(self, message: Token | Resume | Progress | SessionFailed | StageLoaded | RequestFailed) -> None:
        """Take what a worker sends back; what belongs to no request, session or epoch of ours is dropped."""
        if isinstance(message, StageLoaded | RequestFailed):
            return self._means.deployer.answered(message)
        if (draft := self._drafts.get(message.session_id)) is not None:
            return draft.hear(message)
        driver = self._drivers.get(message.session_id)
        if driver is not None and message.epoch == driver.session.epoch:
            driver.hear(message)
        return None

    def is_over(self, progress: Progress, node: NodeRecord | None) -> bool:
        """Whether a node that says how far it is has nothing to do with a session any more."""
        if progress.session_id in self._drafts:
            return False
        driver = self._drivers.get(progress.session_id)
        if driver is None:
            return True
        is_old = progress.epoch < driver.session.epoch
        life = (node.node_id, node.incarnation) if node else None
        return is_old and all(life != (s.node.node_id, s.node.incarnation) for s in driver.plan.stages)

    def node_changed(self, change: Change) -> None:
        """Take news of a node: answers that need it go on without it, others may have waited for it."""
        lost, record = change.loss, change.record
        self._mesh_changed()
        if lost is None:
            return
        self._means.deployer.node_gone(record.node_id, lost)
        for driver in self._all():
            lives = {s.node.incarnation for s in driver.plan.stages if s.node.node_id == record.node_id}
            for incarnation in sorted(lives):
                # One that started again has lost what its life before had, and that only.
                if change.after is not NodeState.JOINED or incarnation < record.incarnation:
                    driver.hear(NodeGone(record.node_id, incarnation, lost))

    def status_changed(self, record: NodeRecord, status: NodeStatus) -> None:
        """Take what a node tells about itself: one that leaves is to be relieved, another has room now."""
        self._mesh_changed()
        if status.leaving is not None:
            self.node_leaving(record.node_id)

    def node_leaving(self, node_id: NodeId) -> None:
        """Have others take over what a node holds."""
        for driver in self._all():
            driver.hear(NodeLeaving(node_id))

    def _mesh_changed(self) -> None:
        for driver in self._all():
            driver.mesh_changed()

    def _peer_broken(self, address: Address, error: MeshError) -> None:
        for driver in self._all():
            driver.hear(LinkBroken(address, error, driver.session.epoch))

    def _all(self) -> Iterator[Driver]:
        return iter(tuple(self._drivers.values()))


def _history(driver: Driver) -> History:
    return History(driver.session.session_id, driver.session.reusable, driver.plan)
