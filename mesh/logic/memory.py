"""What a worker's memory holds.

Owns the budget that the device's owner set: weights of stages, caches of sessions. Pure. Weights that
no session uses may make room for others, least recently used first; caches never do.
"""

from __future__ import annotations

from mesh.errors import Busy, InsufficientMemory
from mesh.types import LoadedStage, SessionId, StageKey

_MB = 1_000_000


class MemoryLedger:
    """Books of one node's memory, in bytes."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._stages: dict[StageKey, int] = {}  # from the least recently used to the most
        self._caches: dict[SessionId, tuple[StageKey, int]] = {}

    @property
    def used_bytes(self) -> int:
        """Weights and caches together."""
        return sum(self._stages.values()) + sum(size for _, size in self._caches.values())

    @property
    def stages(self) -> tuple[LoadedStage, ...]:
        """The stages that are booked."""
        return tuple(LoadedStage(key, size) for key, size in self._stages.items())

    @property
    def num_sessions(self) -> int:
        """How many caches are booked."""
        return len(self._caches)

    def has_stage(self, key: StageKey) -> bool:
        """Whether a stage's weights are booked."""
        return key in self._stages

    def book_stage(self, key: StageKey, weights_bytes: int) -> list[StageKey]:
        """Book a stage's weights and return the idle stages that must be freed for it first.

        Those are taken from the books too. Raises InsufficientMemory, changing nothing, where even
        freeing every idle stage is not enough.
        """
        doomed: list[StageKey] = []
        free_bytes = self.budget_bytes - self.used_bytes
        for idle in self._idle():
            if free_bytes >= weights_bytes:
                break
            free_bytes += self._stages[idle]
            doomed.append(idle)
        if free_bytes < weights_bytes:
            raise InsufficientMemory(
                f"a stage of {_megabytes(weights_bytes)} MB does not fit: "
                f"{_megabytes(self.budget_bytes)} MB are lent to the mesh and "
                f"{_megabytes(self.used_bytes)} MB of them are in use"
            )
        for idle in doomed:
            del self._stages[idle]
        self._stages[key] = weights_bytes
        return doomed

    def drop_stage(self, key: StageKey) -> None:
        """Take a stage's weights from the books."""
        self._stages.pop(key, None)

    def book_cache(self, session_id: SessionId, key: StageKey, cache_bytes: int) -> None:
        """Book a session's cache on a stage; raise Busy, changing nothing, where there is no room."""
        free_bytes = self.budget_bytes - self.used_bytes
        if cache_bytes > free_bytes:
            raise Busy(
                f"a cache of {_megabytes(cache_bytes)} MB does not fit beside what runs: "
                f"{max(0, free_bytes) // _MB} MB are free; try again when other answers have ended"
            )
        self._caches[session_id] = (key, cache_bytes)
        self._stages[key] = self._stages.pop(key)

    def drop_cache(self, session_id: SessionId) -> None:
        """Take a session's cache from the books."""
        self._caches.pop(session_id, None)

    def _idle(self) -> list[StageKey]:
        in_use = {key for key, _ in self._caches.values()}
        return [key for key in self._stages if key not in in_use]


def _megabytes(num_bytes: int) -> int:
    return -(-num_bytes // _MB)
