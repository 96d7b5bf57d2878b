"""Which node holds which layers.

Owns the choice of nodes, their order and the cuts for one model. Pure. Today's rule: as few nodes as
can hold the model, because each more is a hop for every token; among those, layers in proportion to the
room that each has. What a node must hold is counted to the byte: its layers, the cache of one session
for them, the embedding on the first and the final norm and output head on the last.

Two facts make the search small and exact. For a given first and last node, room grows with memory, so
the k largest nodes are the best k. And if a plan exists for given ends, giving out layers in proportion
to capacity finds one, because no share then exceeds its node's capacity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from mesh.errors import InsufficientMemory
from mesh.spec import ModelSpec
from mesh.types import NodeRecord, Plan, PlannedStage, Precision, Span

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that has the model on its disk, and the memory that it lends to the mesh."""

    node: NodeRecord
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What is to be placed."""

    spec: ModelSpec
    precision: Precision
    context: int
    """Positions of one session."""

    @property
    def layer_bytes(self) -> int:
        """Weights and cache of one layer."""
        layer = self.spec.layer_bytes(self.precision)
        return layer + self.spec.layer_cache_bytes(self.context, self.precision)

    @property
    def whole_bytes(self) -> int:
        """Everything on one node."""
        ends = self.spec.ends_bytes(self.precision, first=True, last=True)
        return self.spec.num_layers * self.layer_bytes + ends

    @property
    def split_bytes(self) -> int:
        """Everything on several nodes together: a tied table is then held at both ends."""
        first = self.spec.ends_bytes(self.precision, first=True, last=False)
        last = self.spec.ends_bytes(self.precision, first=False, last=True)
        return self.spec.num_layers * self.layer_bytes + first + last

    def capacity(self, memory_bytes: int, *, first: bool, last: bool) -> int:
        """Layers that fit beside the ends; negative where not even those fit."""
        free_bytes = memory_bytes - self.spec.ends_bytes(self.precision, first=first, last=last)
        return free_bytes // self.layer_bytes


@dataclass(frozen=True, slots=True)
class _Chain:
    """Nodes in order, and how many layers each could hold."""

    nodes: tuple[Candidate, ...]
    capacities: tuple[int, ...]

    @property
    def num_layers(self) -> int:
        return sum(self.capacities)


def plan(demand: Demand, candidates: Sequence[Candidate]) -> Plan:
    """Place a model on the fewest nodes that hold it.

    The same candidates give the same plan in whatever order they come. Raises InsufficientMemory, whose
    text says how many megabytes are missing: added to the largest device, they would suffice.
    """
    ranked = sorted(candidates, key=lambda c: (-c.memory_bytes, c.node.node_id))
    for num_nodes in range(1, min(len(ranked), demand.spec.num_layers) + 1):
        chain = _best_chain(demand, ranked[:num_nodes])
        if chain is not None and chain.num_layers >= demand.spec.num_layers:
            return _to_plan(demand, chain)
    raise InsufficientMemory(_explain(demand, ranked))


def spread(demand: Demand, candidates: Sequence[Candidate]) -> Plan:
    """Place a model on all of the nodes, though fewer might hold it.

    Raises InsufficientMemory as `plan` does, also where some node cannot hold even one layer.
    """
    ranked = sorted(candidates, key=lambda c: (-c.memory_bytes, c.node.node_id))
    chain = _best_chain(demand, ranked)
    if chain is None or chain.num_layers < demand.spec.num_layers or len(ranked) > demand.spec.num_layers:
        raise InsufficientMemory(_explain(demand, ranked))
    return _to_plan(demand, chain)


def missing_bytes(demand: Demand, candidates: Sequence[Candidate]) -> int:
    """Memory that, added to the largest device, makes a plan possible; the least such figure."""
    ranked = sorted(candidates, key=lambda c: (-c.memory_bytes, c.node.node_id))
    largest, others = ranked[0], ranked[1:]

    def suffices(extra_bytes: int) -> bool:
        grown = Candidate(largest.node, largest.memory_bytes + extra_bytes)
        return _is_possible_together(demand, [grown, *others])

    low, high = 0, max(0, demand.whole_bytes - largest.memory_bytes)  # by then it holds all alone
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle + 1, high)
    return low


def _is_possible_together(demand: Demand, ranked: Sequence[Candidate]) -> bool:
    """Whether several nodes can hold it: each with room for a layer only adds room, so the most decide."""
    num_roomy = sum(capacity >= 1 for capacity in _capacities(demand, ranked, first=False, last=False))
    chain = _best_chain(demand, ranked[: max(1, min(num_roomy, demand.spec.num_layers))])
    return chain is not None and chain.num_layers >= demand.spec.num_layers


def _best_chain(demand: Demand, nodes: Sequence[Candidate]) -> _Chain | None:
    """Choose the ends so that the most layers fit; of equals the first, so larger nodes hold the ends.

    None where some node would have no room for a layer. Only the ends differ between two choices, so only
    they are compared: whole chains for each choice took a minute for 36 devices that are too small.
    """
    if len(nodes) == 1:
        only = _capacities(demand, nodes, first=True, last=True)
        return _Chain(tuple(nodes), tuple(only)) if only[0] >= 1 else None
    inner = _capacities(demand, nodes, first=False, last=False)
    as_first = _capacities(demand, nodes, first=True, last=False)
    as_last = _capacities(demand, nodes, first=False, last=True)
    pairs = permutations(range(len(nodes)), 2)
    ends = [(first, last) for first, last in pairs if min(as_first[first], as_last[last]) >= 1]
    if not ends or min(inner) < 1:
        return None
    first, last = max(ends, key=lambda e: as_first[e[0]] - inner[e[0]] + as_last[e[1]] - inner[e[1]])
    middle = [index for index in range(len(nodes)) if index not in (first, last)]
    return _Chain(
        nodes=tuple(nodes[index] for index in (first, *middle, last)),
        capacities=(as_first[first], *(inner[index] for index in middle), as_last[last]),
    )


def _capacities(demand: Demand, nodes: Sequence[Candidate], *, first: bool, last: bool) -> list[int]:
    return [demand.capacity(node.memory_bytes, first=first, last=last) for node in nodes]


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


def _to_plan(demand: Demand, chain: _Chain) -> Plan:
    spec, stages, start = demand.spec, [], 0
    for candidate, num_layers in zip(chain.nodes, _shares(spec.num_layers, chain.capacities), strict=True):
        span = Span(start, start + num_layers)
        weights_bytes = spec.weights_bytes(span, demand.precision)
        cache_bytes = spec.cache_bytes(span, demand.context, demand.precision)
        stages.append(PlannedStage(candidate.node, span, weights_bytes, cache_bytes))
        start = span.end
    return Plan(spec.ref, demand.precision, demand.context, tuple(stages))


def _explain(demand: Demand, ranked: Sequence[Candidate]) -> str:
    spec = demand.spec
    weights = spec.weights_bytes(spec.whole, demand.precision)
    need = (
        f"{spec.name} needs {_megabytes(demand.whole_bytes)} MB on one device "
        f"or {_megabytes(demand.split_bytes)} MB in all on several"
    )
    detail = f"weights {_megabytes(weights)} MB, cache for {demand.context} tokens the rest"
    if not ranked:
        return f"{need} ({detail}) and no device of the mesh has it; run `mesh pull {spec.name}` on some"
    missing = _megabytes(missing_bytes(demand, ranked))
    offers = ", ".join(f"{c.node.name} {_megabytes(c.memory_bytes, down=True)}" for c in ranked)
    return (
        f"{need} ({detail}); these devices offer (MB): {offers}; "
        f"{missing} MB are missing: add a device or give more with --memory"
    )


def _megabytes(num_bytes: int, *, down: bool = False) -> int:
    return num_bytes // _MB if down else -(-num_bytes // _MB)
