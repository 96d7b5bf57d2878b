"""What a worker's memory holds.

Owns the budget that the device's owner set: weights of stages, caches of sessions. Pure. Caches of sessions
that are over are parked: they may save a later session the computing of what both have in common, and make
room for whoever needs it. Weights that no session uses may make room, too; caches of sessions never do, nor
weights that are still on their way into memory or have just arrived: two who want different stages in one
room would take them from each other for ever.

Parked caches go first, all of them before any weights, each kind least recently used first. A parked cache
may save one conversation some seconds, if it goes on at all; weights save everybody who comes a load from
disk, and a parked cache is worth nothing without them.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh.errors import Busy, InsufficientMemory
from mesh.types import CacheKey, LoadedStage, SessionId, StageKey

_MB = 1_000_000
_MOST_PARKED = 256  # caches; a gateway remembers as many conversations at most


@dataclass(frozen=True, slots=True)
class Doomed:
    """What the books have given up and is still in memory: it is to be freed before anything is put there."""

    caches: tuple[CacheKey, ...] = ()
    """Parked ones, to be freed before the stages."""
    stages: tuple[StageKey, ...] = ()
    """Idle ones."""


class MemoryLedger:
    """Books of one node's memory, in bytes."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._stages: dict[StageKey, int] = {}  # from the least recently used to the most
        self._arriving: set[StageKey] = set()
        self._fresh: dict[StageKey, None] = {}
        """Those that have arrived, and whoever asked for them may be about to open a session."""
        self._departing: set[StageKey] = set()
        self._caches: dict[CacheKey, int] = {}
        self._parked: dict[CacheKey, int] = {}  # from the least recently used to the most

    @property
    def used_bytes(self) -> int:
        """Weights and caches together, also those that are parked."""
        return sum(self._stages.values()) + sum(self._caches.values()) + self.parked_bytes

    @property
    def parked_bytes(self) -> int:
        """Of caches that nobody uses and that make room for whoever needs it."""
        return sum(self._parked.values())

    @property
    def stages(self) -> tuple[LoadedStage, ...]:
        """The stages that are booked."""
        idle = self._idle()
        return tuple(LoadedStage(key, size, is_in_use=key not in idle) for key, size in self._stages.items())

    @property
    def parked(self) -> tuple[CacheKey, ...]:
        """Caches of sessions that are over, from the least recently used to the most."""
        return tuple(self._parked)

    @property
    def num_sessions(self) -> int:
        """How many sessions have caches here, those that are over not counted."""
        return len({cache.session_id for cache in self._caches})

    def has_stage(self, key: StageKey) -> bool:
        """Whether a stage's weights are booked and have arrived."""
        return key in self._stages and key not in self._arriving

    def book_stage(self, key: StageKey, weights_bytes: int) -> Doomed:
        """Book a stage's weights and return what must be freed for it first.

        That is taken from the books too; the stage itself counts as in use until `stage_arrived`. Where
        even freeing all that is idle is not enough, changes nothing and raises InsufficientMemory, or Busy
        if it would fit once what runs has ended, or while this very stage is being freed.
        """
        if key in self._departing:
            raise Busy(f"layers {key.span} are just being freed").until(1)
        doomed = self._make_room(weights_bytes)
        if doomed is None:
            text = (
                f"a stage of {_megabytes(weights_bytes)} MB does not fit: "
                f"{_megabytes(self.budget_bytes)} MB are lent to the mesh"
            )
            if weights_bytes > self.budget_bytes:
                raise InsufficientMemory(f"{text}; give more with --memory")
            in_use = self.used_bytes - self.parked_bytes
            raise Busy(f"{text} and {_megabytes(in_use)} MB of them are in use")
        self._stages[key] = weights_bytes
        self._arriving.add(key)
        return doomed

    def stage_arrived(self, key: StageKey) -> None:
        """A booked stage's weights are in memory: sessions may use it, and it is fresh."""
        self._arriving.discard(key)
        self._fresh[key] = None

    def stage_aged(self, key: StageKey) -> None:
        """Whoever asked for a stage has had time to use it: from now on it may make room again."""
        self._fresh.pop(key, None)

    def stage_left(self, key: StageKey) -> None:
        """A stage that was to be freed is out of memory."""
        self._departing.discard(key)

    def drop_stage(self, key: StageKey) -> None:
        """Take a stage's weights from the books."""
        self._stages.pop(key, None)
        self._arriving.discard(key)
        self._fresh.pop(key, None)

    def book_cache(self, cache: CacheKey, cache_bytes: int, source: CacheKey | None = None) -> Doomed:
        """Book a session's cache on a stage and return what must be freed for it first.

        `source` is a parked cache that the new one is to begin with: it counts as used now, and goes only
        where there is no other way. Raises Busy, changing nothing, where even freeing all that is idle is
        not enough.
        """
        doomed = self._make_room(cache_bytes, spared=cache.stage, source=source)
        if doomed is None:
            free_bytes = self.budget_bytes - self.used_bytes + self.parked_bytes
            raise Busy(
                f"a cache of {_megabytes(cache_bytes)} MB does not fit beside what runs: "
                f"{free_bytes // _MB} MB are free"
            )
        self._stages[cache.stage] = self._stages.pop(cache.stage)
        self._caches[cache] = cache_bytes
        if source in self._parked:
            self._parked[source] = self._parked.pop(source)
        return doomed

    def drop_cache(self, cache: CacheKey) -> None:
        """Take a session's cache from the books, parked or not."""
        self._caches.pop(cache, None)
        self._parked.pop(cache, None)

    def park_cache(self, cache: CacheKey) -> Doomed:
        """A session is over, and its cache stays while nobody needs the room; return what goes instead."""
        self._parked[cache] = self._caches.pop(cache)
        excess = tuple(self._parked)[: max(0, len(self._parked) - _MOST_PARKED)]
        return self._give_up(Doomed(excess))

    def parked_of(self, session_id: SessionId) -> tuple[CacheKey, ...]:
        """The parked caches of a session."""
        return tuple(cache for cache in self._parked if cache.session_id == session_id)

    def free_parked(self, num_bytes: int) -> Doomed:
        """Give up parked caches for so many bytes beside what is used, or all of them if that is less."""
        missing_bytes = num_bytes - (self.budget_bytes - self.used_bytes)
        return self._give_up(Doomed(self._parked_worth(missing_bytes, None)))

    def _make_room(
        self, num_bytes: int, spared: StageKey | None = None, source: CacheKey | None = None
    ) -> Doomed | None:
        """Give up what is idle until so much is free, and return it; None if it never is."""
        missing_bytes = num_bytes - (self.budget_bytes - self.used_bytes)
        caches = self._parked_worth(missing_bytes, source)
        missing_bytes -= sum(self._parked[cache] for cache in caches)
        stages = []
        for key in self._idle(spared):
            if missing_bytes <= 0:
                break
            missing_bytes -= self._stages[key]
            stages.append(key)
        if missing_bytes > 0 and source in self._parked:
            caches, missing_bytes = (*caches, source), missing_bytes - self._parked[source]
        return self._give_up(Doomed(caches, tuple(stages))) if missing_bytes <= 0 else None

    def _parked_worth(self, num_bytes: int, spared: CacheKey | None) -> tuple[CacheKey, ...]:
        """Parked caches of so many bytes together, the least recently used first, or all of them."""
        found = []
        for cache, cache_bytes in self._parked.items():
            if num_bytes <= 0:
                break
            if cache != spared:
                num_bytes -= cache_bytes
                found.append(cache)
        return tuple(found)

    def _give_up(self, doomed: Doomed) -> Doomed:
        for cache in doomed.caches:
            del self._parked[cache]
        for key in doomed.stages:
            del self._stages[key]
        self._departing.update(doomed.stages)
        return doomed

    def _idle(self, spared: StageKey | None = None) -> list[StageKey]:
        in_use = {spared, *self._arriving, *self._fresh, *(cache.stage for cache in self._caches)}
        return [key for key in self._stages if key not in in_use]


def _megabytes(num_bytes: int) -> int:
    return -(-num_bytes // _MB)
