"""How a route goes on when some of its nodes are gone.

Owns the choice of who takes over the spans that were lost, so that whoever lived keeps what it holds and
computes nothing again. Pure. Must not know how nodes are lost, nor how stages are loaded. A route with
a node that is to leave is mended in the same way: that node is then no candidate.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from mesh.errors import CapacityLost
from mesh.logic.capacity import Candidate, Demand, held_bytes, listed, megabytes
from mesh.logic.partition import deal, missing_bytes
from mesh.logic.rooms import Rooms, Tier
from mesh.types import NodeId, Plan, PlannedStage, Span


def mend(
    demand: Demand,
    route: Plan,
    candidates: Sequence[Candidate],
    gone: Collection[NodeId],
    *,
    may_wait: bool = True,
) -> Plan:
    """Return the route with its lost stages on other nodes, and the rest of it as it was.

    `demand` is what the route was planned for; `candidates` are the nodes that may be used now, each once
    and in any order. A stage lives while its node is a candidate in the same life and not in `gone`. A
    node in `gone` that is a candidate has lost its stages, but may be chosen again.

    A lost span goes to one node where one can take it: fewer doubts first, then the better tier
    (`mesh.logic.rooms`), then more room, then the id. Else it is dealt to as few nodes as can hold it. A
    node may so come to hold several stages. Where that fails too, the whole model is planned anew over
    the whole memory of all candidates, with `may_wait` also over what other sessions still use. The
    result's standbys are those of the route that can still stand in. Raises CapacityLost where nothing
    fits.
    """
    lived = survivors(route, candidates, gone)
    rooms = _rooms_beside(demand, route, candidates, lived)
    stages = _refilled(demand, route, lived, rooms)
    if stages is None:
        rooms = _rooms_beside(demand, route, candidates, ())
        stages = _anew(demand, rooms, (Tier.CLEARED, Tier.AWAITED) if may_wait else (Tier.CLEARED,))
    if stages is None:
        raise CapacityLost(_explain(demand, route, candidates, lived))
    return replace(route, stages=stages, standbys=_still_standing(route, stages, rooms, gone))


def survivors(
    route: Plan, candidates: Sequence[Candidate], gone: Collection[NodeId]
) -> tuple[PlannedStage, ...]:
    """Return the stages of a route that live: on a candidate in the same life, which is not in `gone`."""
    lives = {(c.node.node_id, c.node.incarnation) for c in candidates if c.node.node_id not in gone}
    return tuple(s for s in route.stages if (s.node.node_id, s.node.incarnation) in lives)


def _rooms_beside(
    demand: Demand, route: Plan, candidates: Sequence[Candidate], lived: Sequence[PlannedStage]
) -> Rooms:
    rooms = Rooms(demand, candidates, running=route.stages)
    for stage in lived:
        rooms.keep(stage)
    return rooms


def _refilled(
    demand: Demand, route: Plan, lived: Sequence[PlannedStage], rooms: Rooms
) -> tuple[PlannedStage, ...] | None:
    """Fill the gaps and book what fills them; None where that cannot be done.

    Spans at the ends go first: their tables need a whole table's room on one node, whereas layers, all
    of one size, can always be dealt as long as the nodes have room for as many of them together.
    """
    stages = list(lived)

    def order(stage: PlannedStage) -> tuple[bool, int, int]:
        is_inner = not demand.spec.is_first(stage.span) and not demand.spec.is_last(stage.span)
        return is_inner, -held_bytes(stage), stage.span.start

    for lost in sorted((stage for stage in route.stages if stage not in lived), key=order):
        found = rooms.options(lost, Tier.CLEARED)[:1] or _dealt(demand, lost.span, rooms)
        if not found:
            return None
        for stage in found:
            rooms.take(stage)
        stages.extend(found)
    return tuple(sorted(stages, key=lambda stage: stage.span.start))


def _dealt(demand: Demand, span: Span, rooms: Rooms) -> tuple[PlannedStage, ...] | None:
    """Deal a span to the nodes of the fewest doubts that hold it; as few as can, into free memory if so."""
    for max_doubts in rooms.doubt_levels:
        into_free = deal(demand, span, rooms.offers(Tier.FREE, max_doubts))
        cleared = deal(demand, span, rooms.offers(Tier.CLEARED, max_doubts))
        possible = [stages for stages in (into_free, cleared) if stages is not None]
        if possible:
            return min(possible, key=len)
    return None


def _anew(demand: Demand, rooms: Rooms, tiers: Sequence[Tier]) -> tuple[PlannedStage, ...] | None:
    """Deal the whole model and book it, into memory of the first of some tiers that suffices."""
    for tier in tiers:
        for max_doubts in rooms.doubt_levels:
            stages = deal(demand, demand.spec.whole, rooms.offers(tier, max_doubts))
            if stages is not None:
                for stage in stages:
                    rooms.take(stage)
                return stages
    return None


def _still_standing(
    route: Plan, stages: Sequence[PlannedStage], rooms: Rooms, gone: Collection[NodeId]
) -> tuple[PlannedStage, ...]:
    """Keep the standbys of spans that are still stages, on other nodes that live and have room for them."""
    holders = {stage.span: stage.node.node_id for stage in stages}
    standing = []
    for standby in route.standbys:
        node_id = standby.node.node_id
        is_needed = standby.span in holders and holders[standby.span] != node_id
        if not is_needed or node_id in gone or not rooms.is_usable(standby.node):
            continue
        if rooms.tier(node_id, standby) in (Tier.WARM, Tier.FREE, Tier.CLEARED):
            rooms.take(standby)
            standing.append(standby)
    return tuple(standing)


def _explain(
    demand: Demand, route: Plan, candidates: Sequence[Candidate], lived: Sequence[PlannedStage]
) -> str:
    lost = [stage for stage in route.stages if stage not in lived]
    where = " and ".join(f"{stage.span} on {stage.node.name}" for stage in lost)
    need = f"{demand.spec.name} lost layers {where}, which need {megabytes(sum(map(held_bytes, lost)))} MB"
    advice = "this answer goes on if a device comes back or gives more with --memory"
    if not candidates:
        return f"{need}, and no other device has the model; {advice}"
    given = _given(_rooms_beside(demand, route, candidates, lived))
    missing = missing_bytes(demand, [replace(candidate, spare_bytes=0) for candidate in candidates])
    return f"{need}; the others could give (MB): {given}; {megabytes(missing)} MB are missing: {advice}"


def _given(rooms: Rooms) -> str:
    offers = sorted(rooms.offers(Tier.CLEARED), key=lambda offer: -offer.room_bytes)
    given = [(offer.node.name, megabytes(offer.room_bytes, down=True)) for offer in offers]
    return listed([f"{name} {room_mb}" for name, room_mb in given if room_mb]) or "nothing"
