"""A Compute that is as slow as the device it stands for.

Owns the waiting: whatever is computed is computed for real, and the result is held back until the seconds
are over that the device would have needed. Must not know how many those are; a `Pace` says. A machine that
is slower than the device cannot be hidden: `late_s` tells how much was lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol, TypeVar

from mesh.ports import Compute, Prefix, Step, StepResult
from mesh.types import CacheKey, Sampling, StageKey
from simulator.real.clock import now_s, wait_until

T = TypeVar("T")


class Pace(Protocol):
    """How long a device takes."""

    async def batch_until_s(self, steps: Sequence[Step]) -> float:
        """When a batch that begins now is through its stage; called once for each batch."""

    async def load_until_s(self, key: StageKey) -> float:
        """When a span whose loading begins now is in memory."""


class ThrottledCompute:
    """The Compute port of a device slower than this machine."""

    def __init__(self, inner: Compute, pace: Pace) -> None:
        self._inner = inner
        self._pace = pace
        self._loaded: set[StageKey] = set()
        self._open: set[CacheKey] = set()
        self.busy_s = 0.0
        """Seconds in which batches were computed."""
        self.late_s = 0.0
        """Seconds that this machine took beyond what the device would have."""

    async def load(self, key: StageKey) -> int:
        """Load a span in the device's time; see the port."""
        if key in self._loaded:
            return await self._inner.load(key)
        due_s = await self._pace.load_until_s(key)
        num_bytes = await self._hold(self._inner.load(key), due_s)
        self._loaded.add(key)
        return num_bytes

    async def unload(self, key: StageKey) -> None:
        """Free a span; see the port."""
        self._loaded.discard(key)
        await self._inner.unload(key)

    async def open(
        self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None
    ) -> int:
        """Allot a cache; see the port."""
        length = await self._inner.open(cache, context, sampling, prefix)
        self._open.add(cache)
        return length

    async def close(self, cache: CacheKey) -> None:
        """Free a cache; see the port."""
        self._open.discard(cache)
        await self._inner.close(cache)

    async def run(self, steps: Sequence[Step]) -> list[StepResult]:
        """Run a batch in the device's time; see the port."""
        known = [step for step in steps if step.cache in self._open]
        if not known:
            return await self._inner.run(steps)  # which says what is wrong
        began_s = now_s()
        due_s = await self._pace.batch_until_s(known)
        try:
            return await self._hold(self._inner.run(steps), due_s)
        finally:
            self.busy_s += now_s() - began_s

    async def _hold(self, work: Awaitable[T], due_s: float) -> T:
        result = await work
        self.late_s += max(now_s() - due_s, 0.0)
        await wait_until(due_s)
        return result
