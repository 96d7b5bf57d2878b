"""What a worker computes now, and how long that takes as a rule.

Owns the pace of each stage, and that what goes wrong with a batch harms one session only. Must not know where
frames come from, nor what is done with what comes out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mesh.errors import InternalError, MeshError
from mesh.logic.batching import MOST_ROWS
from mesh.logic.pace import Pace, RunningMean, Told
from mesh.now import now_s
from mesh.ports import Compute, Prefix, Step, StepResult
from mesh.types import CacheKey, Hidden, Payload, Sampling, StageKey, TokenIds

_log = logging.getLogger(__name__)

_PART_S = 0.1  # of a prompt that runs at once: so long a token waits for it, which nobody notices
_PART_ROWS = 64  # while nothing was measured


class Computing:
    """The computing of one worker: one batch at a time."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._paces: dict[StageKey, Pace] = {}
        self._working: tuple[float, float] | None = None
        """Since when something is computed, and how long such a thing takes as a rule."""
        self._frame = RunningMean()
        self._told: dict[StageKey, Told] = {}

    @property
    def working_s(self) -> tuple[float, float]:
        """How long it has been at what it computes now, 0 where that is nothing; and as a rule."""
        since_s, usual_s = self._working or (now_s(), 0.0)
        return now_s() - since_s, usual_s

    @property
    def frame_s(self) -> float:
        """What one frame, or part of one, adds to the time of all that waits; 0 where none was measured."""
        return self._frame.seconds

    def row_s(self, key: StageKey) -> float:
        """What one row of a prompt takes at a stage; 0 where none was measured."""
        return self._paces[key].row_s if key in self._paces else 0.0

    def told_step_s(self, key: StageKey) -> float:
        """What a step of one row of one session takes at a stage, as it is told to others; 0 for unknown."""
        if key not in self._paces:
            return 0.0
        return self._told.setdefault(key, Told()).of(self._paces[key].step_s)

    def most_rows(self, key: StageKey) -> int:
        """How many rows of prompts may run at once at a stage."""
        pace = self._paces.get(key)
        num_rows = pace.rows_within(_PART_S) if pace else None
        return _PART_ROWS if num_rows is None else min(MOST_ROWS, num_rows)

    async def open(self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None) -> int:
        """Allot a cache; see the port."""
        self._working = (now_s(), 0.0)  # an engine that has just started takes seconds to answer
        try:
            return await self._compute.open(cache, context, sampling, prefix)
        finally:
            self._working = None

    async def run(self, steps: Sequence[Step], row_bytes: int) -> list[StepResult]:
        """Run a batch and return each frame's result; raises nothing that a frame has caused.

        Where the engine fails in an unforeseen way, each frame is run alone, so that one fails and no other.
        """
        try:
            return await self._timed(steps, row_bytes)
        except MeshError as error:
            return [error] * len(steps)
        except Exception as error:
            if len(steps) > 1:
                return [(await self.run((step,), row_bytes))[0] for step in steps]
            _log.exception("session %s", steps[0].cache.session_id)
            return [InternalError(f"{type(error).__name__}: {error}; the node's log has more")]

    async def _timed(self, steps: Sequence[Step], row_bytes: int) -> list[StepResult]:
        num_rows = sum(_num_rows(step.payload, row_bytes) for step in steps)
        pace, began_s = self._paces.setdefault(steps[0].cache.stage, Pace()), now_s()
        self._working = (began_s, pace.usual_s(num_rows, len(steps)))
        try:
            results = await self._compute.run(steps)
        finally:
            self._working = None
        if not any(isinstance(result, MeshError) for result in results):
            pace.measured(num_rows, now_s() - began_s, len(steps))
            self._frame.add((now_s() - began_s) / len(steps))
        return results


def _num_rows(payload: Payload, row_bytes: int) -> int:
    match payload:
        case TokenIds(ids):
            return len(ids)
        case Hidden(data):
            return len(data) // row_bytes
