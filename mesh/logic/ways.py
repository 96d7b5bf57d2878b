"""How long a message takes from one node to another, by what nodes have measured.

Owns what is taken for ways that nobody has measured. Pure. Must not know what is sent.

A way that neither end has measured is reckoned by legs: in most homes everything meets at one access point,
so a device that is slow to reach for some is so for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median

from mesh.logic.capacity import Candidate
from mesh.types import LinkRecord, NodeId

_ROUND_TRIP_S = 0.002  # where nothing was measured: a quiet Wi-Fi
_BYTES_PER_S = 12.5e6

_LEAST_S, _MOST_S = 5e-6, 5.0  # of a way that is believed
_LEAST_RATE, _MOST_RATE = 1e3, 1e11


@dataclass(frozen=True, slots=True)
class Way:
    """From one node to another."""

    delay_s: float
    rate_bytes_per_s: float

    def seconds(self, num_bytes: int) -> float:
        """How long so many bytes take."""
        return self.delay_s + num_bytes / self.rate_bytes_per_s


USUAL = Way(_ROUND_TRIP_S / 2, _BYTES_PER_S)
"""Taken where nothing is known."""

HERE = Way(0.0, _MOST_RATE)
"""From a node to itself."""


class Ways:
    """The ways among some nodes."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._known = _known(candidates)
        self._legs = _legs(self._known)

    def way(self, one: NodeId, other: NodeId) -> Way:
        """Return the way between two nodes; it is taken to be the same in both directions."""
        if one == other:
            return HERE
        measured = self._known.get(_pair(one, other))
        if measured is not None:
            return measured
        if one not in self._legs or other not in self._legs:
            return USUAL
        ends = self._legs[one], self._legs[other]
        return Way((ends[0].delay_s + ends[1].delay_s) / 2, min(leg.rate_bytes_per_s for leg in ends))

    def seconds(self, nodes: Sequence[NodeId], num_bytes: int) -> tuple[tuple[float, ...], ...]:
        """How long so many bytes take from each of some nodes to each other."""
        return tuple(tuple(self.way(one, other).seconds(num_bytes) for other in nodes) for one in nodes)


_Pair = tuple[NodeId, NodeId]


def _known(candidates: Sequence[Candidate]) -> Mapping[_Pair, Way]:
    """What was measured, by the two ends; of two measurements of a way the shorter: noise only adds."""
    known: dict[_Pair, Way] = {}
    for candidate in candidates:
        for record in candidate.links:
            way = _believed(record)
            if way is not None:
                pair = _pair(candidate.node.node_id, record.node_id)
                known[pair] = min(known.get(pair, way), way, key=lambda one: one.delay_s)
    return known


def _believed(record: LinkRecord) -> Way | None:
    if not (isfinite(record.round_trip_s) and record.round_trip_s > 0):
        return None
    rate = record.rate_bytes_per_s
    if rate is None or not (isfinite(rate) and rate > 0):
        rate = _BYTES_PER_S
    delay_s = min(_MOST_S, max(_LEAST_S, record.round_trip_s / 2))
    return Way(delay_s, min(_MOST_RATE, max(_LEAST_RATE, rate)))


def _legs(known: Mapping[_Pair, Way]) -> Mapping[NodeId, Way]:
    """By node, the middle one of its ways."""
    by_node: dict[NodeId, list[Way]] = {}
    for pair, way in known.items():
        for node_id in pair:
            by_node.setdefault(node_id, []).append(way)
    return {
        node_id: Way(median(w.delay_s for w in ways), median(w.rate_bytes_per_s for w in ways))
        for node_id, ways in by_node.items()
    }


def _pair(one: NodeId, other: NodeId) -> _Pair:
    return (one, other) if one <= other else (other, one)
