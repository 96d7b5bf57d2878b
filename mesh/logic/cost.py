"""How long nodes take for a model's layers, and how far apart they are, as numbers for `mesh.logic.chains`.

Owns the reckoning from what devices announce. Pure. Must not know how the best chain is found.

A step of one row is bound by memory: each weight is read once, so seconds go by bytes, and what was measured
on one model says what another one takes. A device that has not measured itself counts as the slowest of those
that have: it may be used for its memory, and is not preferred on trust.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log2

from mesh.logic.capacity import Candidate, Demand
from mesh.logic.chains import Seat
from mesh.types import SpeedRecord

SLOWEST, FASTEST = 1e7, 1e13
"""Bytes of weights a second that are believed: a small board on a bad day, ten of today's largest cards."""

_GRAIN = 8  # steps for each doubling: devices that differ by less than a tenth count as equal
_WAY_S = 0.001  # there, where nothing was measured: a quiet Wi-Fi
_WAY_BYTES_PER_S = 12.5e6
_LOAD_BYTES_PER_S = 300e6  # from a disk of today
_SHARED_STEPS = 200  # of the answers that a loaded stage serves: so many carry its loading together


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of a step of one row at one node."""

    layer_s: float
    head_s: float


def weights_rate(speed: SpeedRecord | None) -> float | None:
    """Bytes of weights a second that a device reads while it decodes, within what is believed.

    None where it was not measured, or cannot be: a figure that is no number or not above zero.
    """
    if speed is None or not speed.steps:
        return None
    layer_s = speed.steps[0].layer_s
    if not (isfinite(layer_s) and layer_s > 0 and speed.layer_bytes > 0):
        return None
    return min(FASTEST, max(SLOWEST, speed.layer_bytes / layer_s))


def paces(demand: Demand, candidates: Sequence[Candidate]) -> list[Pace] | None:
    """What a step takes at each; None where nobody was measured, or all count as equal."""
    rates = [_in_grains(weights_rate(candidate.speed)) for candidate in candidates]
    known = [rate for rate in rates if rate is not None]
    if not known or min(known) == max(known):
        return None
    layer_bytes = demand.spec.layer_bytes(demand.precision)
    head_bytes = demand.spec.table_bytes(demand.precision)
    slowest = min(known)
    return [Pace(layer_bytes / (rate or slowest), head_bytes / (rate or slowest)) for rate in rates]


def seats(demand: Demand, candidates: Sequence[Candidate], their_paces: Sequence[Pace]) -> tuple[Seat, ...]:
    """What each node brings to a chain."""
    return tuple(_seat(demand, *one) for one in zip(candidates, their_paces, strict=True))


def ways(demand: Demand, candidates: Sequence[Candidate]) -> tuple[tuple[float, ...], ...]:
    """Seconds that a row takes from each node to each other."""
    way_s = _WAY_S + demand.spec.row_bytes(demand.precision) / _WAY_BYTES_PER_S
    places = range(len(candidates))
    return tuple(tuple(0.0 if one == other else way_s for other in places) for one in places)


def _seat(demand: Demand, candidate: Candidate, pace: Pace) -> Seat:
    most = demand.capacities(candidate.plannable_bytes, demand.spec.whole)
    load_s = demand.spec.layer_bytes(demand.precision) / _LOAD_BYTES_PER_S
    return Seat(
        layer_s=pace.layer_s,
        last_s=pace.head_s,
        inner=most.inner,
        first=most.first,
        last=most.last,
        alone=most.alone,
        begin_layer_s=load_s / _SHARED_STEPS,
        warm=tuple(
            (stage.key.span.start, stage.key.span.end)
            for stage in candidate.stages
            if (stage.key.digest, stage.key.precision) == (demand.spec.digest, demand.precision)
        ),
    )


def _in_grains(rate: float | None) -> float | None:
    return None if rate is None else 2.0 ** (round(log2(rate) * _GRAIN) / _GRAIN)
