"""Which route an answer takes next, after something has interrupted it.

Owns what has happened since the last token: the route by which it came, which nodes are gone since then, and
which have refused. Pure. How lost spans are filled is the business of `mesh.logic.recovery`.

The next route is always made from the one that is known to work, not from one that has just failed: so stages
that live keep what they have, however often a replacement fails.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from mesh.logic.capacity import Candidate, Demand, held_bytes
from mesh.logic.interruption import Interruption
from mesh.logic.recovery import mend
from mesh.types import NodeId, Plan


class Detour:
    """The routes of one answer."""

    def __init__(self, demand: Demand, base: Plan, *, is_settled: bool) -> None:
        """Begin with a route; `is_settled` where tokens have come by it already."""
        self._demand = demand
        self._base = base
        self._is_settled = is_settled
        self._gone: dict[NodeId, None] = {}
        self._refused: dict[NodeId, None] = {}

    def interrupted(self, interruption: Interruption) -> None:
        """Take note of who is gone, or has no room for more; the stages that it holds already stay there."""
        if interruption.is_refusal:
            self._refused.update(dict.fromkeys(interruption.nodes))
        if not (interruption.is_refusal and self._is_settled):
            self._gone.update(dict.fromkeys(interruption.gone))

    def token_came(self, plan: Plan) -> None:
        """A token came by this route: what was before is over."""
        if self._base is not plan or self._gone or self._refused:
            self._base, self._is_settled = plan, True
            self._gone, self._refused = {}, {}
        self._is_settled = True

    def mesh_changed(self) -> None:
        """Who had no room may have some now; an answer that has not begun does not wait for it."""
        if self._is_settled:
            self._refused.clear()

    def next(self, candidates: Sequence[Candidate], also_gone: Collection[NodeId] = ()) -> Plan:
        """Return the next route; raise CapacityLost where there is none."""
        gone = (*self._gone, *also_gone)
        usable = [self._without_room(c) if c.node.node_id in self._refused else c for c in candidates]
        return mend(self._demand, self._base, usable, gone)

    def _without_room(self, candidate: Candidate) -> Candidate:
        """A node that refused has room for what it holds of this route, and for no more."""
        held = (stage for stage in self._base.stages if stage.node.node_id == candidate.node.node_id)
        num_bytes = sum(held_bytes(stage) for stage in held) if self._is_settled else 0
        return replace(candidate, memory_bytes=num_bytes, spare_bytes=0, used_bytes=num_bytes)
