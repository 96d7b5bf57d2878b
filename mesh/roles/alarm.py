"""A sleep that others can cut short.

Owns one task's waiting. Must not know what it waits for.
"""

from __future__ import annotations

import asyncio
import math


class Alarm:
    """One task sleeps, anybody wakes it. Costs what a plain sleep costs."""

    def __init__(self) -> None:
        self._sleeper: asyncio.Future[None] | None = None
        self._until_s = -math.inf
        self._is_rung = False

    def ring(self) -> None:
        """Wake who sleeps; where nobody does, the next sleep ends at once."""
        self._is_rung = True
        if self._sleeper:
            _end(self._sleeper)

    def ring_before(self, until_s: float) -> None:
        """Wake who would sleep past that time of the loop's clock."""
        if until_s < self._until_s:
            self.ring()

    async def sleep(self, until_s: float) -> None:
        """Sleep until that time of the loop's clock, or until it rings."""
        if not self._is_rung:
            loop = asyncio.get_running_loop()
            self._sleeper, self._until_s = loop.create_future(), until_s
            timer = loop.call_at(until_s, _end, self._sleeper)
            try:
                await self._sleeper
            finally:
                timer.cancel()
                self._sleeper, self._until_s = None, -math.inf
        self._is_rung = False


def _end(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
