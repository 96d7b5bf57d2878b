"""Which route an answer takes next, after something has interrupted it.

Owns what has happened since the last token: the route by which it came, which nodes are gone since then, and
which have refused. Pure. How lost spans are filled is the business of `mesh.logic.recovery`.

The next route is always made from the one that is known to work, not from one that has just failed: so stages
that live keep what they have, however often a replacement fails.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mesh.errors import CapacityLost
from mesh.logic.capacity import Candidate, Demand, held_bytes
from mesh.logic.interruption import Interruption
from mesh.logic.recovery import mend
from mesh.types import NodeId, Plan

_REFUSED_S = 2.0  # after which a node is asked again whether it has room
_BORNE_AGAIN_S = 1.0  # after which a slow node whom nobody can replace is tried again; then doubled
_LONGEST_S = 8.0


@dataclass(frozen=True, slots=True)
class _Slow:
    """A node that is there and does not get on."""

    num_times: int = 0
    """It was blamed so often since the last token."""
    last_s: float = 0.0

    def blamed(self, now: float) -> _Slow:
        return _Slow(self.num_times + 1, now)

    def is_borne(self, now: float) -> bool:
        pause_s = 0.0 if self.num_times == 1 else _BORNE_AGAIN_S * 2 ** (self.num_times - 2)
        return now - self.last_s >= min(_LONGEST_S, pause_s)


class Detour:
    """The routes of one answer."""

    def __init__(self, demand: Demand, base: Plan, *, is_settled: bool) -> None:
        """Begin with a route; `is_settled` where tokens have come by it already."""
        self._demand = demand
        self._base = base
        self._is_settled = is_settled
        self._gone: dict[NodeId, None] = {}
        self._refused_s: dict[NodeId, float] = {}
        self._slow: dict[NodeId, _Slow] = {}
        """Of those that are gone: nodes that are there."""

    def interrupted(self, interruption: Interruption, now: float) -> None:
        """Take note of who is gone, or has no room for more; the stages that it holds already stay there."""
        if interruption.is_refusal:
            self._refused_s.update(dict.fromkeys(interruption.nodes, now))
        if not (interruption.is_refusal and self._is_settled):
            self._gone.update(dict.fromkeys(interruption.gone))
        for node_id in interruption.gone:
            if interruption.is_slow:
                self._slow[node_id] = self._slow.get(node_id, _Slow()).blamed(now)
            else:
                self._slow.pop(node_id, None)

    def token_came(self, plan: Plan) -> None:
        """A token came by this route: what was before is over."""
        self._base, self._is_settled = plan, True
        self._gone.clear()
        self._refused_s.clear()
        self._slow.clear()

    def let_go(self) -> None:
        """Begin everywhere anew: others who wait for what this answer holds may hold what it waits for."""
        self._gone.update((stage.node.node_id, None) for stage in self._base.stages)

    def next(self, candidates: Sequence[Candidate], now: float) -> Plan:
        """Return the next route; raise CapacityLost where there is none.

        Where nobody has room to take a slow node's place, the answer goes on there: at once, and if that is
        too slow again, after longer and longer pauses.
        """
        usable = [self._without_room(c) if self._has_refused(c, now) else c for c in candidates]
        if not self._slow:
            return mend(self._demand, self._base, usable, tuple(self._gone))
        quick = [candidate for candidate in usable if candidate.node.node_id not in self._slow]
        try:
            return mend(self._demand, self._base, quick, tuple(self._gone), may_wait=False)
        except CapacityLost:
            borne = [node_id for node_id, slow in self._slow.items() if slow.is_borne(now)]
            if not borne:
                raise
        for node_id in borne:
            self._gone.pop(node_id, None)
        return mend(self._demand, self._base, usable, tuple(self._gone))

    def beside(
        self, candidates: Sequence[Candidate], leaving: NodeId, refused: Collection[NodeId] = ()
    ) -> Plan:
        """Return a route for when a node has left, without more on those who refused; raises as `next`."""
        usable = [self._without_room(c) if c.node.node_id in refused else c for c in candidates]
        return mend(self._demand, self._base, usable, (*self._gone, leaving))

    def _has_refused(self, candidate: Candidate, now: float) -> bool:
        """Whether a node has no room. It may have some later; an answer that has not begun does not wait."""
        refused_s = self._refused_s.get(candidate.node.node_id)
        return refused_s is not None and (not self._is_settled or now - refused_s < _REFUSED_S)

    def _without_room(self, candidate: Candidate) -> Candidate:
        """A node that refused has room for what it holds of this route, and for no more."""
        node_id = candidate.node.node_id
        held = (stage for stage in self._base.stages if stage.node.node_id == node_id)
        keeps = self._is_settled and node_id not in self._gone
        num_bytes = sum(held_bytes(stage) for stage in held) if keeps else 0
        return replace(candidate, memory_bytes=num_bytes, spare_bytes=0, used_bytes=num_bytes)
