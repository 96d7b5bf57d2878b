"""The routes of one answer: what trouble means for the one of now, and which is the next.

Owns the blame, the detour, and the waiting for a device to come back where no route is possible. Must not
know how a route is loaded or opened.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from dataclasses import replace
from typing import NoReturn

from mesh.errors import CapacityLost, MeshError, StageLost
from mesh.logic.capacity import Candidate
from mesh.logic.detour import Detour
from mesh.logic.interruption import Blame, Interruption
from mesh.messages import SessionFailed
from mesh.now import now_s
from mesh.roles.deployer import LoadFailed
from mesh.roles.order import LinkBroken, NodeGone, Order, TooSlow, Trouble
from mesh.roles.survey import Survey
from mesh.types import NodeId, NodeRecord, Plan

_PAUSE_S = 0.05  # before a route is opened anew that has just failed; doubled each time
_LONGEST_PAUSE_S = 1.0
_TO_SAY_S = 0.2  # before the client's patience ends: what is missing has to be said in time
_LOOK_S = 0.1  # at least between two looks whether a route is possible by now
_REFUSALS_TO_LET_GO = 5  # two answers that hold what the other one waits for would wait to their end


class Interrupted(Exception):
    """The answer cannot go on by its route."""

    def __init__(self, interruption: Interruption) -> None:
        super().__init__(str(interruption.error))
        self.interruption = interruption


class Routes:
    """The routes of one answer."""

    def __init__(self, order: Order, survey: Survey, stall_s: float) -> None:
        self.plan = order.plan
        """The route of now."""
        self._order = order
        self._survey = survey
        self._stall_s = stall_s
        self._blame = Blame()
        self._detour = Detour(
            order.demand, order.taken_over or order.plan, is_settled=order.taken_over is not None
        )
        self._changed = asyncio.Event()
        """Set when the mesh has changed, so that a route may be possible which was not."""
        self._num_in_vain = 0
        """Routes that were opened since the last token."""
        self._heard_s = now_s()
        """When the last token came; the beginning, before the first."""

    def token_came(self) -> None:
        """The route of now works."""
        self._heard_s, self._num_in_vain = now_s(), 0
        self._blame.token_came()
        self._detour.token_came(self.plan)

    def mesh_changed(self) -> None:
        """A device came, went, or has other things to tell."""
        self._changed.set()

    def holds(self, node_id: NodeId) -> bool:
        """Whether a node has a stage of the route of now."""
        return any(stage.node.node_id == node_id for stage in self.plan.stages)

    def name(self, node_id: NodeId) -> str:
        """The name of a node of the route."""
        names = (s.node.name for s in self.plan.stages if s.node.node_id == node_id)
        return next(names, node_id[:8])

    def interrupt(self, error: MeshError, node_id: NodeId) -> NoReturn:
        """Raise Interrupted for a failure at a node, or the error itself where nothing helps."""
        seems_alive = self._survey.seems_alive(node_id)
        interruption = self._blame.judge(error, node_id, seems_alive=seems_alive)
        if interruption is None:
            raise error
        raise Interrupted(interruption)

    def load_failed(self, failed: LoadFailed) -> NoReturn:
        """Raise Interrupted, or the error, for a stage that could not be loaded."""
        self.interrupt(failed.error, failed.stage.node.node_id)

    def trouble(self, news: Trouble, epoch: int) -> None:
        """Raise Interrupted where the news concern the route of now, or the error where nothing helps."""
        match news:
            case SessionFailed() if news.epoch == epoch:
                error = news.error
                lost = error.lost if isinstance(error, StageLost) else None
                self.interrupt(error, NodeId(lost) if lost else news.node_id)
            case NodeGone(node_id, incarnation, gone):
                if any(
                    s.node.node_id == node_id for s in self.plan.stages if s.node.incarnation == incarnation
                ):
                    self.interrupt(gone, node_id)
            case LinkBroken() if news.epoch == epoch and news.address == self.plan.stages[0].node.address:
                first = self.plan.stages[0].node
                text = f"{first.name} went away ({news.error}); ask again"
                self.interrupt(StageLost(text, first.node_id), first.node_id)
            case TooSlow(index):
                self._blame_slow(self.plan.stages[index].node)

    def beside(self, leaving: NodeId, refused: Collection[NodeId]) -> Plan:
        """Return a route without a node that is about to leave, and without more on those who refused.

        Raises CapacityLost where there is none.
        """
        return self._detour.beside(self._candidates(), leaving, refused)

    def leaving(self) -> tuple[NodeId, ...]:
        """Nodes of the route that are about to leave."""
        return tuple(node_id for node_id in self._survey.leaving() if self.holds(node_id))

    async def reroute(self, interruption: Interruption) -> bool:
        """Make another route the one of now, with those that are there, or when a device has come back.

        Returns whether stages are to keep what they have of the session. Raises the interruption's error, or
        CapacityLost, when the time for that is over.
        """
        self._detour.interrupted(interruption, now_s())
        self._num_in_vain += 1
        is_stuck = interruption.is_refusal and self._num_in_vain % _REFUSALS_TO_LET_GO == 0
        if is_stuck:
            self._detour.let_go()
        if self._num_in_vain > 1:
            await asyncio.sleep(min(_LONGEST_PAUSE_S, _PAUSE_S * 2 ** (self._num_in_vain - 2)))
            if now_s() >= self._until_s:
                raise interruption.error
        self.plan = interruption.plan or await self._mended(interruption)
        return not is_stuck

    @property
    def _until_s(self) -> float:
        """So long routes are tried, and devices waited for, without a token."""
        if self._order.until_s is not None:
            return self._order.until_s - _TO_SAY_S
        return self._heard_s + self._stall_s

    async def _mended(self, interruption: Interruption) -> Plan:
        until_s = self._until_s
        while True:
            self._changed.clear()
            try:
                return self._mend()
            except CapacityLost:
                if not interruption.is_loss and not self._order.session.tokens:
                    raise interruption.error from None  # it never began: say what is in the way
                if now_s() >= until_s:
                    raise
            # At thousands of devices something changes all the time.
            await asyncio.sleep(max(0.0, min(_LOOK_S, until_s - now_s())))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(until_s, now_s() + _LONGEST_PAUSE_S)):
                    await self._changed.wait()

    def _mend(self) -> Plan:
        """Do without those that are about to leave; where that cannot be, with them."""
        staying = self._candidates()
        try:
            return self._detour.next(staying, now_s())
        except CapacityLost:
            everybody = self._candidates(with_leaving=True)
            if len(everybody) == len(staying):
                raise
            return self._detour.next(everybody, now_s())

    def _candidates(self, *, with_leaving: bool = False) -> list[Candidate]:
        return self._survey.for_recovery(
            self.plan.model, self._blame.doubts, with_leaving=with_leaving, only=self._order.only
        )

    def _blame_slow(self, node: NodeRecord) -> None:
        self._survey.mistrust(node.node_id)
        error = StageLost(f"{node.name} takes what it is sent and does not get on with it", node.node_id)
        interruption = self._blame.judge(error, node.node_id, seems_alive=False)
        assert interruption is not None
        raise Interrupted(replace(interruption, is_slow=True))
