"""How long a device takes for a model's layers: by what it announces, what it does, and what was seen of it.

Owns what of that is believed. Pure. Must not know how devices are chosen.

A step of one row is bound by memory: each weight is read once, so seconds go by bytes, and what was measured
on one model says what another one takes. A row among many is bound by arithmetic, which goes by weights too.
What a device's stages took lately is nearer to the truth than what it measured once: it may be hot by now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from mesh.logic.capacity import Candidate, Demand
from mesh.types import LoadedStage, Span, SpeedRecord

SLOWEST, FASTEST = 1e7, 1e13
"""Bytes of weights a second that are believed: a small board on a bad day, ten of today's largest cards."""

_MOST_DRIFT = 8.0  # times as fast or slow as it measured itself: beyond it the work was disturbed


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds at one node, for one more session beside those that it has."""

    layer_s: float
    """A layer, one row."""
    head_s: float
    """The output head and the drawing of a token."""
    row_s: float
    """A layer, a row among the many of a prompt."""

    def times(self, factor: float) -> Pace:
        """The same, so many times as long."""
        return Pace(self.layer_s * factor, self.head_s * factor, self.row_s * factor)


def weights_rate(speed: SpeedRecord | None) -> float | None:
    """Bytes of weights a second that a device reads while it decodes, within what is believed.

    None where it was not measured, or cannot be: a figure that is no number or not above zero.
    """
    claimed = _claimed_rate(speed)
    return None if claimed is None else _believed(claimed)


def doubts(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """Say of each device whose figures are not all believed what is not, by name."""
    told = [(candidate.node.name, doubtful(candidate)) for candidate in candidates]
    return tuple(f"{name}: {doubt}" for name, doubt in sorted(told) if doubt is not None)


def doubtful(candidate: Candidate) -> str | None:
    """Say what of a device's figures is not believed; None where all is."""
    speed = candidate.speed
    if speed is None:
        return None
    claimed = _claimed_rate(speed)
    if claimed is None:
        return "its figures are no speeds, so it counts as not measured"
    if (counted := _believed(claimed)) != claimed:
        return f"it claims to read {claimed / 1e9:.3g} GB/s of weights; counted as {counted / 1e9:.3g}"
    return None


def pace(demand: Demand, candidate: Candidate) -> Pace | None:
    """What a device takes for a model, with what it has to do already; None where nothing is known."""
    record, announced = candidate.speed, weights_rate(candidate.speed)
    if record is None or announced is None:
        return None
    rate = _drifted(announced, _worked_rate(demand, candidate.stages))
    layer_s = demand.spec.layer_bytes(demand.precision) / rate
    crowded = _crowding(record, candidate.num_sessions)
    one = Pace(
        layer_s=layer_s * crowded,
        head_s=demand.spec.table_bytes(demand.precision) / rate * crowded,
        row_s=layer_s * min(1.0, record.prefill_layer_row_s / record.steps[0].layer_s),
    )
    return one.times(candidate.correction)


def paces(demand: Demand, candidates: Sequence[Candidate]) -> list[Pace] | None:
    """What each takes; None where nothing is known of any.

    One of which nothing is known counts as the slowest of the others: it may be used for its memory, and is
    not preferred on trust.
    """
    known = [pace(demand, candidate) for candidate in candidates]
    slowest = max((one for one in known if one is not None), key=lambda one: one.layer_s, default=None)
    if slowest is None:
        return None
    return [one or slowest for one in known]


def _claimed_rate(speed: SpeedRecord | None) -> float | None:
    if speed is None or not speed.is_sound:
        return None
    return speed.layer_bytes / speed.steps[0].layer_s


def _believed(rate: float) -> float:
    return min(FASTEST, max(SLOWEST, rate))


def _worked_rate(demand: Demand, stages: Sequence[LoadedStage]) -> float | None:
    """By what its stages took lately; the one that reads the most tells it best."""
    told = [stage for stage in stages if isfinite(stage.step_s) and stage.step_s > 0]
    of_model = [stage for stage in told if stage.key.digest == demand.spec.digest]
    if not of_model:
        return None
    best = max(of_model, key=lambda stage: stage.key.span.num_layers)
    return _believed(_read_bytes(demand, best.key.span) / best.step_s)


def _read_bytes(demand: Demand, span: Span) -> int:
    """Weights that a step of one row reads: of the embedding it is one row only."""
    head = demand.spec.table_bytes(demand.precision) if demand.spec.is_last(span) else 0
    return span.num_layers * demand.spec.layer_bytes(demand.precision) + head


def _drifted(announced: float, worked: float | None) -> float:
    if worked is None:
        return announced
    return min(announced * _MOST_DRIFT, max(announced / _MOST_DRIFT, worked))


def _crowding(record: SpeedRecord, num_others: int) -> float:
    """Times as long as alone that a step takes with so many other sessions in it."""
    if num_others <= 0:
        return 1.0
    times = _step_s(record, num_others + 1) / record.step_s(record.steps[0])
    return min(num_others + 1.0, max(1.0, times))  # one after the other it takes no longer


def _step_s(record: SpeedRecord, num_sessions: int) -> float:
    """Between two numbers that were measured, and beyond the last, by a straight line."""
    steps = record.steps
    behind = next((at for at, step in enumerate(steps) if step.num_sessions >= num_sessions), len(steps) - 1)
    if steps[behind].num_sessions == num_sessions or behind == 0:
        return record.step_s(steps[behind])
    low, high = steps[behind - 1], steps[behind]
    slope_s = (record.step_s(high) - record.step_s(low)) / (high.num_sessions - low.num_sessions)
    return record.step_s(low) + slope_s * (num_sessions - low.num_sessions)
