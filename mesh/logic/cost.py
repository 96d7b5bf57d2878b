"""What a model costs some nodes, as numbers for `mesh.logic.chains`, and what an answer takes on a plan.

Owns the reckoning from what is known of devices and of the ways between them. Pure. Must not know how the
best chain is found, nor which plans are compared.

For the search, seconds are rounded to a few steps for each doubling: devices that differ by less than a tenth
count as equal, so that noise moves no layers, and a search need not be repeated for it. What is predicted of
a plan is reckoned with the figures as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, fsum, log2

from mesh.decision import Prediction
from mesh.logic.capacity import Candidate, Demand
from mesh.logic.chains import Seat
from mesh.logic.energy import spent_j
from mesh.logic.speeds import Pace, paces
from mesh.logic.ways import Ways
from mesh.types import NodeId, PlannedStage

_GRAIN = 8  # steps for each doubling of seconds
_WAY_GRAIN = 4
_LOAD_BYTES_PER_S = 300e6  # from a disk of today
_SHARED_STEPS = 200  # of the answers that a loaded stage serves: so many carry its loading together
_HOP_S = 0.001  # for the next stage to be woken and to begin, beside the way there
_TOKEN_BYTES = 64  # a token's message, with what is around it
_CHUNK_ROWS = 256  # of a prompt, that go through the stages together


@dataclass(frozen=True, slots=True)
class Work:
    """What an answer asks of a route, beside its memory."""

    num_prompt: int
    """Positions of the prompt."""
    num_tokens: int
    """Of the answer, as far as can be said before; at least 1."""
    num_known: int = 0
    """Of the prompt, that the stages have already."""


class Costs:
    """What one model costs some nodes for one who asks."""

    def __init__(
        self,
        demand: Demand,
        candidates: Sequence[Candidate],
        their_paces: Sequence[Pace],
        origin: NodeId | None,
    ) -> None:
        """`origin`: the node where tokens come from and go to; None where that is not known."""
        self._demand = demand
        self._candidates = candidates
        self._paces = {c.node.node_id: p for c, p in zip(candidates, their_paces, strict=True)}
        self._ways = Ways(candidates)
        self._origin = origin
        self._row_bytes = demand.spec.row_bytes(demand.precision)
        self._loaded = {(c.node.node_id, stage.key) for c in candidates for stage in c.stages}

    def seats(self, num_sessions: int = 1) -> tuple[Seat, ...]:
        """What each node brings to a chain, with room for the caches of so many sessions."""
        return tuple(self._seat(candidate, num_sessions) for candidate in self._candidates)

    def ways(self) -> tuple[tuple[float, ...], ...]:
        """Seconds that a row takes from each node to each other."""
        nodes = [candidate.node.node_id for candidate in self._candidates]
        exact = self._ways.seconds(nodes, self._row_bytes)
        return tuple(
            tuple(0.0 if a == b else _rounded(s + _HOP_S, _WAY_GRAIN) for b, s in enumerate(row))
            for a, row in enumerate(exact)
        )

    def predict(self, stages: Sequence[PlannedStage], work: Work) -> Prediction:
        """What an answer will take by a route of these nodes."""
        num_rows, num_tokens = max(1, work.num_prompt - work.num_known), max(1, work.num_tokens)
        shares_s = self.shares_s(stages)
        busy_s = {node_id: (num_tokens - 1) * seconds for node_id, seconds in shares_s.items()}
        for stage in stages:
            busy_s[stage.node.node_id] += self._rows_s(stage, num_rows)
        energy_j, battery_j = spent_j(self._candidates, busy_s)
        return Prediction(
            load_s=max(self._load_s(stage) for stage in stages),
            prefill_s=self._prefill_s(stages, num_rows),
            token_s=fsum(shares_s.values()) + self.ways_s(stages),
            num_tokens=num_tokens,
            energy_j=energy_j,
            battery_j=battery_j,
        )

    def shares_s(self, stages: Sequence[PlannedStage]) -> Mapping[NodeId, float]:
        """What of a token's time is computing, by node."""
        seconds: dict[NodeId, float] = {}
        for stage in stages:
            node_id = stage.node.node_id
            seconds[node_id] = seconds.get(node_id, 0.0) + self.stage_s(stage)
        return seconds

    def stage_s(self, stage: PlannedStage) -> float:
        """What a token takes in one stage."""
        pace = self._paces[stage.node.node_id]
        head_s = pace.head_s if self._demand.spec.is_last(stage.span) else 0.0
        return stage.span.num_layers * pace.layer_s + head_s

    def ways_s(self, stages: Sequence[PlannedStage]) -> float:
        """What of a token's time is on the way."""
        return self._on_ways_s(stages, self._row_bytes)

    def hop_s(self, one: NodeId, other: NodeId) -> float:
        """What a token's row takes from one stage to the next."""
        return self._between_s(one, other, self._row_bytes)

    def end_s(self, node_id: NodeId) -> float:
        """What a token takes between who asks and a node at an end of the chain."""
        return 0.0 if self._origin is None else self._ways.way(self._origin, node_id).seconds(_TOKEN_BYTES)

    def _prefill_s(self, stages: Sequence[PlannedStage], num_rows: int) -> float:
        """Chunks flow through the stages: the first through all, and behind it the slowest sets the pace."""
        num_chunks = ceil(num_rows / _CHUNK_ROWS)
        rows = num_rows / num_chunks
        each_s = [self._rows_s(stage, rows) for stage in stages]
        through_s = fsum(each_s) + self._on_ways_s(stages, round(rows * self._row_bytes))
        return through_s + (num_chunks - 1) * max(each_s) + self._paces[stages[-1].node.node_id].head_s

    def _rows_s(self, stage: PlannedStage, rows: float) -> float:
        """A few rows cost what one alone does, and many what they cost each."""
        pace = self._paces[stage.node.node_id]
        return stage.span.num_layers * max(pace.layer_s, rows * pace.row_s)

    def _on_ways_s(self, stages: Sequence[PlannedStage], num_bytes: int) -> float:
        nodes = [stage.node.node_id for stage in stages]
        between_s = fsum(self._between_s(a, b, num_bytes) for a, b in pairwise(nodes))
        return between_s + fsum(self.end_s(node_id) for node_id in (nodes[0], nodes[-1]))

    def _between_s(self, one: NodeId, other: NodeId, num_bytes: int) -> float:
        return _HOP_S + self._ways.way(one, other).seconds(num_bytes)

    def _load_s(self, stage: PlannedStage) -> float:
        is_there = (stage.node.node_id, self._demand.key(stage.span)) in self._loaded
        return 0.0 if is_there else stage.weights_bytes / _LOAD_BYTES_PER_S

    def _seat(self, candidate: Candidate, num_sessions: int) -> Seat:
        demand, pace = self._demand, self._paces[candidate.node.node_id]
        most = demand.capacities(candidate.plannable_bytes, demand.spec.whole, num_sessions)
        load_s = demand.spec.layer_bytes(demand.precision) / _LOAD_BYTES_PER_S
        count = demand.spec.num_layers  # more room than for all is of no use, however much is announced
        end_s = _rounded(self.end_s(candidate.node.node_id), _WAY_GRAIN)
        return Seat(
            layer_s=_rounded(pace.layer_s, _GRAIN),
            last_s=_rounded(pace.head_s, _GRAIN),
            inner=min(count, most.inner),
            first=min(count, most.first),
            last=min(count, most.last),
            alone=min(count, most.alone),
            enter_s=end_s,
            leave_s=end_s,
            begin_layer_s=load_s / _SHARED_STEPS,
            warm=tuple(self._warm(candidate)),
        )

    def _warm(self, candidate: Candidate) -> Iterator[tuple[int, int]]:
        spec, precision = self._demand.spec, self._demand.precision
        for key in (stage.key for stage in candidate.stages):
            if (key.digest, key.precision) == (spec.digest, precision):
                yield key.span.start, key.span.end


def costs(demand: Demand, candidates: Sequence[Candidate], origin: NodeId | None = None) -> Costs | None:
    """What a model costs these nodes; None where nothing is known of how fast any of them is."""
    their_paces = paces(demand, candidates)
    return None if their_paces is None else Costs(demand, candidates, their_paces, origin)


def _rounded(seconds: float, grain: int) -> float:
    return 2.0 ** (round(log2(seconds) * grain) / grain) if seconds > 0 else 0.0
