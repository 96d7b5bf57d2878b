"""What nodes could still take in, while the stages of one plan are given out one by one.

Owns the estimate of each node's memory from what it announced, and the order of preference among nodes.
Pure. Must not know for what the stages are wanted. A node tells which weights it holds and how much is
in use in all; which of the weights are idle only it knows. So caches of other sessions are taken to be
what is in use beside the weights and beside our own caches, and weights that are not ours to be idle.
Where that was too hopeful, the node refuses to load, and its caller counts that as a doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import IntEnum

from mesh.logic.capacity import Candidate, Demand, Offer, held_bytes
from mesh.types import NodeId, NodeRecord, PlannedStage


class Tier(IntEnum):
    """How soon a node could hold a stage with one cache; the lower the better."""

    WARM = 0
    """Its weights are loaded, and it fits once idle stages have made room."""
    FREE = 1
    """It fits into memory that holds nothing now."""
    CLEARED = 2
    """It fits once idle stages have made room."""
    AWAITED = 3
    """It fits once idle stages have made room and other sessions have ended."""


class Rooms:
    """Books of what each candidate could still hold. Their order does not matter, their ids differ."""

    def __init__(
        self, demand: Demand, candidates: Sequence[Candidate], running: Sequence[PlannedStage] = ()
    ) -> None:
        """`running` are stages of the session at hand: their caches are part of what nodes announced.

        Those on nodes that are no candidates, or were them in an earlier life, count for nothing.
        """
        ordered = sorted(candidates, key=lambda candidate: candidate.node.node_id)
        self._demand = demand
        self._candidates = {candidate.node.node_id: candidate for candidate in ordered}
        self._free_bytes = {c.node.node_id: c.free_bytes for c in ordered}
        self._left_bytes = {c.node.node_id: c.memory_bytes for c in ordered}  # beside stages given out
        self._others_bytes = {c.node.node_id: c.used_bytes - _weights_bytes(c) for c in ordered}
        for stage in running:
            if self.is_usable(stage.node):
                self._others_bytes[stage.node.node_id] -= stage.cache_bytes

    @property
    def doubt_levels(self) -> tuple[int, ...]:
        """The numbers of doubts that occur among the candidates, from the fewest."""
        return tuple(sorted({candidate.doubts for candidate in self._candidates.values()}))

    def is_usable(self, node: NodeRecord) -> bool:
        """Whether a node is a candidate and still in that life."""
        known = self._candidates.get(node.node_id)
        return known is not None and known.node.incarnation == node.incarnation

    def keep(self, stage: PlannedStage) -> None:
        """Book a stage that runs on its node already, with its cache."""
        is_announced = self._is_loaded(stage.node.node_id, stage)
        self._book(stage, fresh_bytes=0 if is_announced else held_bytes(stage))

    def take(self, stage: PlannedStage) -> None:
        """Book a stage that its node is to load, where it is not loaded, and open a cache for."""
        is_warm = self._is_loaded(stage.node.node_id, stage)
        self._book(stage, fresh_bytes=stage.cache_bytes if is_warm else held_bytes(stage))

    def tier(self, node_id: NodeId, stage: PlannedStage) -> Tier | None:
        """How soon a candidate could hold the stage beside what is booked; None where it cannot."""
        need_bytes = held_bytes(stage)
        if need_bytes > self.room_bytes(node_id, Tier.AWAITED):
            return None
        if need_bytes > self.room_bytes(node_id, Tier.CLEARED):
            return Tier.AWAITED
        if self._is_loaded(node_id, stage):
            return Tier.WARM
        return Tier.FREE if need_bytes <= self.room_bytes(node_id, Tier.FREE) else Tier.CLEARED

    def room_bytes(self, node_id: NodeId, tier: Tier) -> int:
        """Bytes that a candidate has left for further stages at that tier, at least 0.

        WARM means the same as CLEARED here.
        """
        left_bytes = self._left_bytes[node_id]
        if tier is not Tier.AWAITED:
            left_bytes -= max(0, self._others_bytes[node_id])
        if tier is Tier.FREE:
            left_bytes = min(left_bytes, self._free_bytes[node_id])
        return max(0, left_bytes)

    def options(
        self, stage: PlannedStage, up_to: Tier, without: NodeId | None = None
    ) -> tuple[PlannedStage, ...]:
        """Return the stage on each candidate that could hold it, best first.

        The order: fewer doubts, then the lower tier, then more room there, then the id.
        """
        found = []
        for node_id, candidate in self._candidates.items():
            tier = None if node_id == without else self.tier(node_id, stage)
            if tier is not None and tier <= up_to:
                order = (candidate.doubts, tier, -self.room_bytes(node_id, tier), node_id)
                found.append((order, candidate.node))
        return tuple(replace(stage, node=node) for _, node in sorted(found, key=lambda item: item[0]))

    def offers(self, tier: Tier, max_doubts: int | None = None) -> list[Offer]:
        """Return what candidates have left at that tier: all of them, or those of so many doubts at most."""
        return [
            Offer(candidate.node, self.room_bytes(node_id, tier))
            for node_id, candidate in self._candidates.items()
            if max_doubts is None or candidate.doubts <= max_doubts
        ]

    def _is_loaded(self, node_id: NodeId, stage: PlannedStage) -> bool:
        key = self._demand.key(stage.span)
        return any(loaded.key == key for loaded in self._candidates[node_id].stages)

    def _book(self, stage: PlannedStage, fresh_bytes: int) -> None:
        self._left_bytes[stage.node.node_id] -= held_bytes(stage)
        self._free_bytes[stage.node.node_id] -= fresh_bytes


def _weights_bytes(candidate: Candidate) -> int:
    return sum(stage.weights_bytes for stage in candidate.stages)
