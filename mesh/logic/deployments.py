"""Stages that are loaded already: the route that they make, and what has no room beside what is in use.

Owns what can be had at once. Pure. Stages are named by what they hold, not by who had them loaded, so what
one gateway has set up serves the answers of all. Gateways that each insisted on the chain that is a little
better for themselves would drive each other's stages out of memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mesh.logic.capacity import Candidate, Demand, held_bytes
from mesh.logic.cost import Costs
from mesh.logic.prefixes import route_like
from mesh.types import Plan, PlannedStage


@dataclass(frozen=True, slots=True)
class _Chain:
    """Loaded stages from the first layer on."""

    stages: tuple[PlannedStage, ...]
    seconds: float
    """Of one step, until the last of them has made it."""


def deployment(demand: Demand, candidates: Sequence[Candidate], figures: Costs) -> Plan | None:
    """Return the quickest route through loaded stages that have room for one more session; None if none."""
    by_end: dict[int, list[_Chain]] = {}
    for stage in sorted(_roomy(demand, candidates), key=lambda stage: (stage.span.start, stage.node.node_id)):
        before = [_Chain((), 0.0)] if stage.span.start == 0 else by_end.get(stage.span.start, [])
        found = [_with(chain, stage, figures) for chain in before]
        if found:
            by_end.setdefault(stage.span.end, []).append(min(found, key=lambda chain: chain.seconds))
    whole = by_end.get(demand.spec.num_layers, [])
    best = min(whole, key=lambda c: c.seconds + figures.end_s(c.stages[-1].node.node_id), default=None)
    if best is None:
        return None
    placed = Plan(demand.spec.ref, demand.precision, demand.context, best.stages)
    return route_like(placed, demand, candidates)


def lacks_memory(route: Plan, candidates: Sequence[Candidate]) -> Candidate | None:
    """Return a node of a route that cannot hold its part until other answers end; None without one."""
    for candidate in candidates:
        stages = [stage for stage in route.stages if stage.node.node_id == candidate.node.node_id]
        if stages and _missing_bytes(route, stages, candidate) > 0:
            return candidate
    return None


def _missing_bytes(route: Plan, stages: Sequence[PlannedStage], candidate: Candidate) -> int:
    keys = [route.key(stage) for stage in stages]
    loaded = [stage.key for stage in candidate.stages]
    idle = [stage for stage in candidate.stages if not stage.is_in_use and stage.key not in keys]
    need_bytes = sum(
        stage.cache_bytes if key in loaded else held_bytes(stage)
        for stage, key in zip(stages, keys, strict=True)
    )
    return need_bytes - candidate.free_bytes - sum(stage.weights_bytes for stage in idle)


def _roomy(demand: Demand, candidates: Sequence[Candidate]) -> Iterator[PlannedStage]:
    for candidate in candidates:
        for key in (stage.key for stage in candidate.stages):
            if key == demand.key(key.span):
                stage = demand.stage(candidate.node, key.span)
                if stage.cache_bytes <= candidate.free_bytes:
                    yield stage


def _with(chain: _Chain, stage: PlannedStage, figures: Costs) -> _Chain:
    stages = (*chain.stages, stage)
    node_id = stage.node.node_id
    way_s = figures.hop_s(chain.stages[-1].node.node_id, node_id) if chain.stages else figures.end_s(node_id)
    return _Chain(stages, chain.seconds + way_s + figures.stage_s(stage))
