"""The memory that sessions at one worker share with what is idle: kept rows, and parked caches.

Owns which sessions keep rows that they sent on, and the freeing of what the books have given up. Must not
know what a stage does with a session; that is `mesh.roles.places`.
"""

from __future__ import annotations

from mesh.config import MAX_KEPT_BYTES
from mesh.logic.memory import Doomed
from mesh.roles.place import Means, Place
from mesh.types import CacheKey, SessionId


class Caches:
    """The idle memory of one worker."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._kept: dict[CacheKey, Place] = {}
        """Those that keep rows, from the least recently used to the most."""

    async def keeps(self, place: Place) -> None:
        """A place has sent rows on, and keeps them as long as there is room."""
        self._kept.pop(place.cache, None)
        self._kept[place.cache] = place
        await self.limit_kept()

    def forget(self, place: Place) -> None:
        """A place is no more."""
        self._kept.pop(place.cache, None)

    async def free(self, doomed: Doomed) -> None:
        """Free what the books have given up already."""
        for cache in doomed.caches:
            await self._means.compute.close(cache)
        for key in doomed.stages:
            try:
                await self._means.compute.unload(key)
            finally:
                self._means.ledger.stage_left(key)

    async def free_parked(self, session_id: SessionId) -> None:
        """Free the caches of a session that is over."""
        for cache in self._means.ledger.parked_of(session_id):
            self._means.ledger.drop_cache(cache)
            await self._means.compute.close(cache)

    @property
    def _kept_bytes(self) -> int:
        return sum(place.relay.kept_bytes for place in self._kept.values())

    async def limit_kept(self) -> None:
        """Keep rows only in memory that nobody needs; the least recently used are forgotten first.

        Parked caches go before them: what an answer under way may need counts more than what may be asked.
        """
        ledger = self._means.ledger
        await self.free(ledger.free_parked(min(self._kept_bytes, MAX_KEPT_BYTES)))
        excess = self._kept_bytes - min(ledger.budget_bytes - ledger.used_bytes, MAX_KEPT_BYTES)
        for cache, place in tuple(self._kept.items()):
            if excess <= 0:
                return
            excess -= place.relay.kept_bytes
            place.relay.forget()
            del self._kept[cache]
