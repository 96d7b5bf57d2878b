"""When a node beats: in equal intervals to everybody, and quickly to those who wait for its signs of life.

Owns both beats and when they are due. Pure: `now` in seconds of any monotonic clock. Must not know to whom
it is spoken.
"""

from __future__ import annotations

import math
from enum import Enum, auto

from mesh.config import Timing

_EARLY_S = 0.01  # timers come a little early


class Beat(Enum):
    """Who is spoken to."""

    USUAL = auto()
    """Everybody."""
    QUICK = auto()
    """Those that are attended."""


class Rhythm:
    """Both beats of one node. The first usual one is due at once; there is no quick one until `quicken`."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._usual_s = -math.inf
        self._quick_s = math.inf

    @property
    def next_s(self) -> float:
        """When the next beat is due."""
        return min(self._usual_s, self._quick_s)

    def quicken(self, now: float) -> None:
        """Beat quickly too, first in one interval: who is attended is spoken to anyway at that moment."""
        self._quick_s = min(self._quick_s, now + self._timing.quick_heartbeat_s)

    def relax(self) -> None:
        """Beat quickly no more."""
        self._quick_s = math.inf

    def due(self, now: float) -> Beat | None:
        """Return the beat that is due, if any, and count it as made; a usual one reaches the attended too."""
        soon_s, beat = now + _EARLY_S, None
        if self._usual_s <= soon_s:
            self._usual_s, beat = now + self._timing.heartbeat_interval_s, Beat.USUAL
        elif self._quick_s <= soon_s:
            beat = Beat.QUICK
        if beat and self._quick_s < math.inf:
            self._quick_s = now + self._timing.quick_heartbeat_s
        return beat
