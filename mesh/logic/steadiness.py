"""Which nodes come and go too often to be planned with.

Owns the memory of every node's goings, which outlasts the membership's. Pure. Must not know plans, nor what
is believed of a node now.

A going is a loss, a goodbye, or a new start of a node that was there. One that the node had announced before
(a planned drain) is none, for its sessions were handed over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mesh.config import Timing
from mesh.logic.membership import Change
from mesh.types import NodeId, NodeState

_PRESENT = (NodeState.ALIVE, NodeState.SUSPECT)
_AWAY = (NodeState.LOST, NodeState.LEFT, NodeState.JOINED)
"""JOINED, of a node that was there, is a new life."""

_MOST_GOINGS = 100  # of one node that are counted: a crash loop can make thousands within the window
_MOST_NODES = 1_000  # far more than a home has; beyond it the one whose going is longest ago is forgotten


@dataclass(frozen=True, slots=True)
class _Goings:
    """What is remembered of one node."""

    times_s: tuple[float, ...]
    """Within the window before the last of them, in order."""
    kept_out_until_s: float
    """Minus infinity where it went seldom enough."""


class Steadiness:
    """The goings of all nodes, by `now` in seconds of any monotonic clock."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._goings: dict[NodeId, _Goings] = {}
        """By the time of the last going, oldest first."""

    def note(self, change: Change, now: float) -> None:
        """Count a change of a node's state if it is a going."""
        if change.before in _PRESENT and change.after in _AWAY:
            self._count(change.record.node_id, now)

    def reason(self, node_id: NodeId, now: float) -> str | None:
        """Return why a node is kept out of new plans, and for how long yet; None where it is not."""
        known = self._goings.get(node_id)
        if known is None or known.kept_out_until_s <= now:
            return None
        times, left_s = len(known.times_s), math.ceil(known.kept_out_until_s - now)
        return f"left {times} times within {self._timing.flap_window_s:g} s; kept out for another {left_s} s"

    def _count(self, node_id: NodeId, now: float) -> None:
        timing, known = self._timing, self._goings.pop(node_id, None)
        recent = [at_s for at_s in (known.times_s if known else ()) if at_s > now - timing.flap_window_s]
        times_s = (*recent, now)[-_MOST_GOINGS:]
        is_unsteady = len(times_s) > timing.flap_limit
        until_s = now + timing.kept_out_s if is_unsteady else known.kept_out_until_s if known else -math.inf
        self._goings[node_id] = _Goings(times_s, until_s)
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Drop what has no effect any more."""
        memory_s = max(self._timing.flap_window_s, self._timing.kept_out_s)
        while (oldest := next(iter(self._goings))) and (
            len(self._goings) > _MOST_NODES or self._goings[oldest].times_s[-1] < now - memory_s
        ):
            del self._goings[oldest]
