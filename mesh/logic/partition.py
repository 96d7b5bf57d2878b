"""Which node holds which layers.

Owns the choice of nodes, their order and the cuts, for one model or a part of it. Pure. New plans take each
node's memory as empty. The rule among nodes that are equally fast, or of which nothing is known: as few nodes
as can hold the layers, because each more is a hop for every token; among those, layers in proportion to the
room that each has. Where nodes are known to differ, the chain with which a token takes the least time. What a
node must hold is counted to the byte: its layers, the cache of one session for them, the embedding on the
first and the final norm and output head on the last. What nodes cost is the business of `mesh.logic.cost`.

Two facts make the search small and exact. For a given first and last node, room grows with memory, so
the k largest nodes are the best k. And if a plan exists for given ends, giving out layers in proportion
to capacity finds one, because no share then exceeds its node's capacity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

from mesh.errors import InsufficientMemory
from mesh.logic.capacity import Candidate, Capacities, Demand, Offer, listed, megabytes
from mesh.logic.chain_balance import balanced_chain
from mesh.logic.chain_search import best_chain
from mesh.logic.chains import Chain, Delays, Part, Seat, best_ends, chain_s, in_order
from mesh.logic.cost import Costs, costs
from mesh.types import Aim, NodeId, NodeRecord, Plan, PlannedStage, Span

__all__ = ["Candidate", "Demand", "deal", "missing_bytes", "plan", "spread"]

_EQUAL = 1e-6  # so much slower is rounding
_ROOM_FOR = (4, 2)  # sessions at once, which a split leaves room for
_WORTH = 1.05  # where a token takes no longer by more than that
_MOST_NODES = 64  # among which the best chain is looked for: those with the most room


# The searches may take a good part of a second, and most requests meet the same devices as the one before.
_SEARCHES = {Aim.LATENCY: lru_cache(maxsize=64)(best_chain), Aim.THROUGHPUT: lru_cache(64)(balanced_chain)}


@dataclass(frozen=True, slots=True)
class _Holder:
    """A node, and how many layers of a span it could hold."""

    node: NodeRecord
    most: Capacities


@dataclass(frozen=True, slots=True)
class _Chain:
    """Nodes in order, and how many layers each could hold."""

    nodes: tuple[NodeRecord, ...]
    capacities: tuple[int, ...]

    @property
    def num_layers(self) -> int:
        return sum(self.capacities)


def plan(
    demand: Demand, candidates: Sequence[Candidate], origin: NodeId | None = None, aim: Aim = Aim.LATENCY
) -> Plan:
    """Place a model as well as can be, in the memory that nodes do not keep spare.

    `origin` is the node that is asked, and `aim` says what is best. The same candidates give the same plan in
    whatever order they come. Raises InsufficientMemory, whose text says how many megabytes are missing: added
    to the largest device, they would suffice.
    """
    stages = deal(demand, demand.spec.whole, _offers(candidates))
    if stages is None:
        raise InsufficientMemory(_explain(demand, _by_size(candidates)))
    some = sorted(_by_size(candidates)[:_MOST_NODES], key=lambda candidate: candidate.node.node_id)
    known = costs(demand, some, origin)
    chain = None if known is None else _best_chain(demand, known, aim)
    if chain is not None:
        nodes = [some[part.seat].node for part in chain.parts]
        spans = [Span(part.start, part.end) for part in chain.parts]
        stages = tuple(demand.stage(*one) for one in zip(nodes, spans, strict=True))
    return _to_plan(demand, stages)


def _best_chain(demand: Demand, known: Costs, aim: Aim) -> Chain | None:
    """The chain that serves the aim best; among its nodes the cuts that leave room for more sessions.

    None where all nodes are alike, or none is possible.
    """
    seats, ways, count = known.seats(), known.ways(), demand.spec.num_layers
    if _are_alike(seats, ways):
        return None
    chain = _SEARCHES[aim](seats, ways, count)
    if chain is None or len(chain.parts) == 1:
        return chain
    if any((part.start, part.end) in seats[part.seat].warm for part in chain.parts):
        return chain
    order = [part.seat for part in chain.parts]
    for num_sessions in _ROOM_FOR:
        roomy = known.seats(num_sessions)
        better = in_order(order, roomy, ways, count)
        if better is not None and better.seconds <= chain.seconds * _WORTH:
            return _evened(better, roomy, ways, count)
    return _evened(chain, seats, ways, count)


def _are_alike(seats: Sequence[Seat], ways: Delays) -> bool:
    """Whether all nodes are equally fast, and equally far from each other and from who asks."""
    between = {way for a, row in enumerate(ways) for b, way in enumerate(row) if a != b}
    return len({(seat.layer_s, seat.enter_s) for seat in seats}) <= 1 and len(between) <= 1


def _evened(chain: Chain, seats: Sequence[Seat], ways: Delays, num_layers: int) -> Chain:
    """Cut in proportion to room where that takes no longer."""
    parts = _by_room(chain, seats, num_layers)
    seconds = chain_s(parts, seats, ways, num_layers)
    return Chain(parts, seconds) if seconds <= chain.seconds * (1 + _EQUAL) else chain


def _by_room(chain: Chain, seats: Sequence[Seat], num_layers: int) -> tuple[Part, ...]:
    """Cut the layers anew, in proportion to the room of each node."""
    shares = _shares(num_layers, [seats[p.seat].most(p.start, p.end, num_layers) for p in chain.parts])
    spans = _runs(shares)
    return tuple(Part(p.seat, span.start, span.end) for p, span in zip(chain.parts, spans, strict=True))


def spread(demand: Demand, candidates: Sequence[Candidate]) -> Plan:
    """Place a model on all of the nodes, though fewer might hold it.

    Raises InsufficientMemory as `plan` does, also where some node cannot hold even one layer.
    """
    whole = demand.spec.whole
    chain = _roomiest_chain(_holders(demand, whole, _ranked(_offers(candidates))))
    if chain is None or chain.num_layers < whole.num_layers or len(candidates) > whole.num_layers:
        raise InsufficientMemory(_explain(demand, _by_size(candidates)))
    return _to_plan(demand, _cut(demand, whole, chain))


def deal(demand: Demand, span: Span, offers: Sequence[Offer]) -> tuple[PlannedStage, ...] | None:
    """Give a span to the fewest nodes that hold it, in proportion to their room; None if they cannot.

    Each node gets one run of at least one layer. The embedding, the final norm and the head are counted
    where the span touches the model's ends. The order of the offers does not matter.
    """
    holders = _holders(demand, span, _ranked(offers))
    for num_nodes in range(1, min(len(holders), span.num_layers) + 1):
        chain = _roomiest_chain(holders[:num_nodes])
        if chain is not None and chain.num_layers >= span.num_layers:
            return _cut(demand, span, chain)
    return None


def missing_bytes(demand: Demand, candidates: Sequence[Candidate]) -> int:
    """Memory that, added to the largest device, makes a plan possible; the least such figure.

    There must be at least one candidate.
    """
    largest, *others = _by_size(candidates)
    offers = _offers(others)

    def suffices(extra_bytes: int) -> bool:
        grown = Offer(largest.node, largest.plannable_bytes + extra_bytes)
        return _is_possible_together(demand, [grown, *offers])

    low, high = 0, max(0, demand.whole_bytes - largest.plannable_bytes)  # by then it holds all alone
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle + 1, high)
    return low


def _offers(candidates: Sequence[Candidate]) -> list[Offer]:
    return [Offer(candidate.node, candidate.plannable_bytes) for candidate in candidates]


def _by_size(candidates: Sequence[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda c: (-c.plannable_bytes, c.node.node_id))


def _ranked(offers: Sequence[Offer]) -> list[Offer]:
    return sorted(offers, key=lambda offer: (-offer.room_bytes, offer.node.node_id))


def _holders(demand: Demand, span: Span, offers: Sequence[Offer]) -> list[_Holder]:
    return [_Holder(offer.node, demand.capacities(offer.room_bytes, span)) for offer in offers]


def _is_possible_together(demand: Demand, ranked: Sequence[Offer]) -> bool:
    """Whether several nodes can hold it: each with room for a layer only adds room, so the most decide."""
    holders = _holders(demand, demand.spec.whole, ranked)
    num_roomy = sum(holder.most.inner >= 1 for holder in holders)
    chain = _roomiest_chain(holders[: max(1, min(num_roomy, demand.spec.num_layers))])
    return chain is not None and chain.num_layers >= demand.spec.num_layers


def _roomiest_chain(holders: Sequence[_Holder]) -> _Chain | None:
    """Choose the ends so that the most layers fit; of equals the first, so larger nodes hold the ends.

    None where some node would have no room for a layer.
    """
    if len(holders) == 1:
        only = holders[0]
        return _Chain((only.node,), (only.most.alone,)) if only.most.alone >= 1 else None
    ends = best_ends([holder.most for holder in holders])
    if ends is None or min(holder.most.inner for holder in holders) < 1:
        return None
    first, last = holders[ends[0]], holders[ends[1]]
    middle = [holder for index, holder in enumerate(holders) if index not in ends]
    return _Chain(
        nodes=(first.node, *(holder.node for holder in middle), last.node),
        capacities=(first.most.first, *(holder.most.inner for holder in middle), last.most.last),
    )


def _shares(num_layers: int, capacities: Sequence[int]) -> list[int]:
    """Divide layers in proportion to capacities by largest remainder; each gets at least one."""
    total = sum(capacities)
    shares = [max(1, num_layers * capacity // total) for capacity in capacities]

    def room(index: int) -> tuple[float, int]:
        return (num_layers * capacities[index] / total - shares[index], -index)

    while sum(shares) < num_layers:
        shares[max(range(len(shares)), key=room)] += 1
    while sum(shares) > num_layers:  # the ones given to nodes whose share is less than one layer
        shares[min((i for i, share in enumerate(shares) if share > 1), key=room)] -= 1
    return shares


def _runs(shares: Sequence[int], start: int = 0) -> list[Span]:
    """Spans of so many layers, one behind the other."""
    return [Span(one, other) for one, other in pairwise(accumulate(shares, initial=start))]


def _cut(demand: Demand, span: Span, chain: _Chain) -> tuple[PlannedStage, ...]:
    spans = _runs(_shares(span.num_layers, chain.capacities), span.start)
    return tuple(demand.stage(*one) for one in zip(chain.nodes, spans, strict=True))


def _to_plan(demand: Demand, stages: tuple[PlannedStage, ...]) -> Plan:
    return Plan(demand.spec.ref, demand.precision, demand.context, stages)


def _explain(demand: Demand, ranked: Sequence[Candidate]) -> str:
    spec = demand.spec
    weights = spec.weights_bytes(spec.whole, demand.precision)
    need = (
        f"{spec.name} needs {megabytes(demand.whole_bytes)} MB on one device "
        f"or {megabytes(demand.split_bytes)} MB in all on several"
    )
    detail = f"weights {megabytes(weights)} MB, cache for {demand.context} tokens the rest"
    if not ranked:
        return f"{need} ({detail}) and no device of the mesh has it; run `mesh pull {spec.name}` on some"
    missing = megabytes(missing_bytes(demand, ranked))
    return (
        f"{need} ({detail}); these devices offer (MB): {listed([_offer_text(c) for c in ranked])}; "
        f"{missing} MB are missing: add a device or give more with --memory"
    )


def _offer_text(candidate: Candidate) -> str:
    text = f"{candidate.node.name} {megabytes(candidate.plannable_bytes, down=True)}"
    spare = megabytes(candidate.memory_bytes - candidate.plannable_bytes, down=True)
    return f"{text} ({spare} more kept spare)" if spare else text
