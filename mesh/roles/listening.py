"""Hears what there is to hear of one answer, and notices when a token is overdue.

Owns the news that came and were not taken up yet, and the asking of stages how far they are. When silence is
too long, and whom to blame, is decided in `mesh.logic.patience`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mesh.errors import Stalled
from mesh.inbox import Inbox
from mesh.logic.patience import LOOK_AGAIN_S, Patience
from mesh.messages import Progress
from mesh.now import now_s
from mesh.roles.order import Heard, News, Order, TooSlow
from mesh.types import Plan

_UNREAD = 64  # news not taken up yet; a stage makes the next token only when it is asked


class Listening:
    """The ear of one driver."""

    def __init__(self, ask: Callable[[], Awaitable[None]], order: Order, stall_s: float) -> None:
        """`ask` asks every stage of the route how far it is; `stall_s` is the longest wait for a token.

        What the order has to flush meanwhile is flushed.
        """
        self._ask = ask
        self._order = order
        self._stall_s = stall_s
        self._inbox: Inbox[News] = Inbox(_UNREAD)
        self._patience = Patience()
        self._said: dict[int, Progress] | None = None
        """What stages say of an overdue token; None while it is not overdue."""
        self._since_s = now_s()
        """Since when a token is waited for, and no stage has got on."""
        self._reached = 0
        """How far all stages together were."""
        self._look_s = self._since_s + self._patience.overdue_s
        """When to look where it is."""

    def hear(self, news: News) -> None:
        """Take news, to be taken up in their turn."""
        self._inbox.put_nowait(news)

    def token_came(self, gap_s: float | None) -> None:
        """The token came, so long after the one before (None: that says nothing); the next is waited for."""
        if gap_s is not None:
            self._patience.token_came(gap_s)
        self.wait_anew()

    def rerouted(self) -> None:
        """What was found out about the stages of one route does not hold for the next."""
        self._patience.rerouted()

    def wait_anew(self) -> None:
        """A token is waited for from now on."""
        self._said, self._since_s, self._reached = None, now_s(), 0
        self._look_s = self._since_s + self._patience.overdue_s

    async def next(self, plan: Plan, epoch: int, position: int) -> Heard:
        """Return the next news, maybe that a stage is too slow with the token at a position.

        Raises Stalled where no token came for too long, no stage got on, and nobody could be blamed: a long
        prompt that shares its stages with others may take its time.
        """
        while True:
            try:
                async with asyncio.timeout_at(min(self._look_s, self._order.due_s())):
                    news = await self._inbox.get()
            except TimeoutError:
                if self._order.due_s() <= now_s() < self._look_s:
                    await self._order.flush()
                    continue
                culprit = await self._look(plan, position)
                if culprit is not None:
                    return TooSlow(culprit)
                continue
            if not isinstance(news, Progress):
                return news
            if self._said is not None and news.epoch == epoch:
                self._said[news.index] = news

    async def _look(self, plan: Plan, position: int) -> int | None:
        """See what the stages have said since the last look, and ask them again."""
        reached = sum(progress.position for progress in self._said.values()) if self._said else 0
        if reached > self._reached:
            self._reached, self._since_s = reached, now_s()
        if now_s() - self._since_s >= self._stall_s:
            names = ", ".join(stage.node.name for stage in plan.stages)
            raise Stalled(f"no token came from {names} within {self._stall_s:g} s; ask again")
        culprit = None
        if self._said is not None:
            culprit = self._patience.culprit(len(plan.stages), position, self._said)
        self._said, self._look_s = {}, now_s() + LOOK_AGAIN_S
        if culprit is None:
            await self._ask()
        return culprit
