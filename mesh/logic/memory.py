"""What a worker's memory holds.

Owns the budget that the device's owner set: weights of stages, caches of sessions. Pure. Weights that
no session uses may make room for others and for caches, least recently used first; caches never do, nor
weights that are still on their way into memory.
"""

from __future__ import annotations

from mesh.errors import Busy, InsufficientMemory
from mesh.types import CacheKey, LoadedStage, StageKey

_MB = 1_000_000


class MemoryLedger:
    """Books of one node's memory, in bytes."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._stages: dict[StageKey, int] = {}  # from the least recently used to the most
        self._arriving: set[StageKey] = set()
        self._departing: set[StageKey] = set()
        self._caches: dict[CacheKey, int] = {}

    @property
    def used_bytes(self) -> int:
        """Weights and caches together."""
        return sum(self._stages.values()) + sum(self._caches.values())

    @property
    def stages(self) -> tuple[LoadedStage, ...]:
        """The stages that are booked."""
        return tuple(LoadedStage(key, size) for key, size in self._stages.items())

    @property
    def num_sessions(self) -> int:
        """How many sessions have caches here."""
        return len({cache.session_id for cache in self._caches})

    def has_stage(self, key: StageKey) -> bool:
        """Whether a stage's weights are booked and have arrived."""
        return key in self._stages and key not in self._arriving

    def book_stage(self, key: StageKey, weights_bytes: int) -> list[StageKey]:
        """Book a stage's weights and return the idle stages that must be freed for it first.

        Those are taken from the books too; the stage itself counts as in use until `stage_arrived`. Where
        even freeing every idle stage is not enough, changes nothing and raises InsufficientMemory, or Busy
        if it would fit once what runs has ended, or while this very stage is being freed.
        """
        if key in self._departing:
            raise Busy(f"layers {key.span} are just being freed; try again")
        doomed = self._make_room(weights_bytes)
        if doomed is None:
            text = (
                f"a stage of {_megabytes(weights_bytes)} MB does not fit: "
                f"{_megabytes(self.budget_bytes)} MB are lent to the mesh"
            )
            if weights_bytes > self.budget_bytes:
                raise InsufficientMemory(f"{text}; give more with --memory")
            raise Busy(f"{text} and {_megabytes(self.used_bytes)} MB of them are in use; try again later")
        self._stages[key] = weights_bytes
        self._arriving.add(key)
        return doomed

    def stage_arrived(self, key: StageKey) -> None:
        """A booked stage's weights are in memory: sessions may use it."""
        self._arriving.discard(key)

    def stage_left(self, key: StageKey) -> None:
        """A stage that was to be freed is out of memory."""
        self._departing.discard(key)

    def drop_stage(self, key: StageKey) -> None:
        """Take a stage's weights from the books."""
        self._stages.pop(key, None)
        self._arriving.discard(key)

    def book_cache(self, cache: CacheKey, cache_bytes: int) -> list[StageKey]:
        """Book a session's cache on a stage and return the idle stages that must be freed for it first.

        Raises Busy, changing nothing, where even freeing every idle stage is not enough.
        """
        doomed = self._make_room(cache_bytes, spared=cache.stage)
        if doomed is None:
            free_bytes = self.budget_bytes - self.used_bytes
            raise Busy(
                f"a cache of {_megabytes(cache_bytes)} MB does not fit beside what runs: "
                f"{free_bytes // _MB} MB are free; try again when other answers have ended"
            )
        self._stages[cache.stage] = self._stages.pop(cache.stage)
        self._caches[cache] = cache_bytes
        return doomed

    def drop_cache(self, cache: CacheKey) -> None:
        """Take a session's cache from the books."""
        self._caches.pop(cache, None)

    def _make_room(self, num_bytes: int, spared: StageKey | None = None) -> list[StageKey] | None:
        """Take idle stages from the books until so much is free, and return them; None if it never is."""
        doomed: list[StageKey] = []
        free_bytes = self.budget_bytes - self.used_bytes
        for key in self._idle(spared):
            if free_bytes >= num_bytes:
                break
            free_bytes += self._stages[key]
            doomed.append(key)
        if free_bytes < num_bytes:
            return None
        for key in doomed:
            del self._stages[key]
        self._departing.update(doomed)
        return doomed

    def _idle(self, spared: StageKey | None) -> list[StageKey]:
        in_use = {spared, *self._arriving, *(cache.stage for cache in self._caches)}
        return [key for key in self._stages if key not in in_use]


def _megabytes(num_bytes: int) -> int:
    return -(-num_bytes // _MB)
