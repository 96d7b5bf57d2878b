"""Which spans get warm copies, and where.

Owns the choice of nodes that load a copy of a plan's stages in advance, so that a loss costs no loading.
Pure. Must not know how a copy is loaded: to its node it is a stage that nobody uses yet. A copy is
counted with one cache, so that it can really stand in, and is never on the node of the stage itself: a
copy of each stage lets an answer outlive the loss of any one node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mesh.errors import InsufficientMemory
from mesh.logic.capacity import Candidate, Demand, held_bytes, megabytes
from mesh.logic.rooms import Rooms, Tier
from mesh.types import NodeId, Plan, PlannedStage, Span, Standby

_MAX_STEPS = 2_000
"""Tries of the search for copies of each stage; a home needs some dozen, and all stand still meanwhile."""


def standbys(
    demand: Demand, plan: Plan, candidates: Sequence[Candidate], wanted: Standby
) -> tuple[PlannedStage, ...]:
    """Choose nodes for warm copies of the plan's stages; in the order of the layers, one each at most.

    Copies may use what nodes keep spare. AUTO: as many as fit into memory that holds nothing, beside what
    the plan has still to load; the largest stage first. ALL: each stage gets one; idle stages, and where
    it must be other sessions, make room for it. Raises InsufficientMemory where that cannot be done.
    The order of preference among nodes is that of `mesh.logic.rooms`.
    """
    if wanted is Standby.NONE:
        return ()
    rooms = Rooms(demand, candidates)
    for stage in plan.stages:
        if rooms.is_usable(stage.node):
            rooms.take(stage)
    if wanted is Standby.AUTO:
        return _in_order(_greedy(plan, rooms, Tier.FREE))
    left_bytes = {offer.node.node_id: offer.room_bytes for offer in rooms.offers(Tier.AWAITED)}
    copies = _greedy(plan, rooms, Tier.AWAITED)
    if len(copies) < len(plan.stages):
        copies = _searched(plan, candidates, left_bytes)
    if len(copies) < len(plan.stages):
        raise InsufficientMemory(_explain(plan, left_bytes))
    return _in_order(copies)


def _greedy(plan: Plan, rooms: Rooms, up_to: Tier) -> list[PlannedStage]:
    copies = []
    for stage in _by_size(plan):
        for copy in rooms.options(stage, up_to, without=stage.node.node_id)[:1]:
            rooms.take(copy)
            copies.append(copy)
    return copies


@dataclass(slots=True)
class _Search:
    """Tries to give each stage another node; the roomiest first, so what it lacks is what `_lacking` says."""

    stages: list[PlannedStage]
    left_bytes: dict[NodeId, int]
    num_steps: int = 0
    chosen: list[NodeId] = field(default_factory=list)

    def succeeds(self) -> bool:
        if len(self.chosen) == len(self.stages):
            return True
        stage = self.stages[len(self.chosen)]
        for node_id in self._fitting(stage):
            if self.num_steps >= _MAX_STEPS:
                return False
            self.num_steps += 1
            self.left_bytes[node_id] -= held_bytes(stage)
            self.chosen.append(node_id)
            if self.succeeds():
                return True
            self.left_bytes[self.chosen.pop()] += held_bytes(stage)
        return False

    def _fitting(self, stage: PlannedStage) -> list[NodeId]:
        fitting = [
            (-left, node_id)
            for node_id, left in self.left_bytes.items()
            if node_id != stage.node.node_id and left >= held_bytes(stage)
        ]
        return [node_id for _, node_id in sorted(fitting)]


def _searched(
    plan: Plan, candidates: Sequence[Candidate], left_bytes: dict[NodeId, int]
) -> list[PlannedStage]:
    """Find copies for all stages by room alone; none where the search ends without."""
    nodes = {candidate.node.node_id: candidate.node for candidate in candidates}
    search = _Search(_by_size(plan), dict(left_bytes))
    if not search.succeeds():
        return []
    return [
        replace(stage, node=nodes[node_id])
        for stage, node_id in zip(search.stages, search.chosen, strict=True)
    ]


def _by_size(plan: Plan) -> list[PlannedStage]:
    return sorted(plan.stages, key=lambda stage: (-held_bytes(stage), stage.span.start))


def _in_order(copies: list[PlannedStage]) -> tuple[PlannedStage, ...]:
    return tuple(sorted(copies, key=lambda copy: copy.span.start))


def _explain(plan: Plan, left_bytes: dict[NodeId, int]) -> str:
    bare = [stage.span for stage in plan.stages if not left_bytes.keys() - {stage.node.node_id}]
    if bare:
        return (
            f"layers {bare[0]} of {plan.model.name} have no device for a copy: no other one has the model; "
            f"run `mesh pull {plan.model.name}` on another device, or use --standby auto"
        )
    lacking = _lacking(plan, dict(left_bytes))
    spans = " and ".join(str(span) for span in sorted(lacking))
    return (
        f"layers {spans} of {plan.model.name} have no room for a copy on another device: "
        f"{megabytes(sum(lacking.values()))} MB are missing; use --standby auto, or give more with --memory"
    )


def _lacking(plan: Plan, left_bytes: dict[NodeId, int]) -> dict[Span, int]:
    """Put each copy on the roomiest other node and return what is lacking; added there, it suffices."""
    lacking: dict[Span, int] = {}
    for stage in _by_size(plan):
        roomiest = max((n for n in left_bytes if n != stage.node.node_id), key=lambda n: left_bytes[n])
        left_bytes[roomiest] -= held_bytes(stage)
        if left_bytes[roomiest] < 0:
            lacking[stage.span] = -left_bytes[roomiest]
            left_bytes[roomiest] = 0
    return lacking
