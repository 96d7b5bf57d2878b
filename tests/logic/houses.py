"""Small houses for tests of planning: devices named by letters, and routes over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mesh.logic.capacity import Candidate, Demand
from mesh.types import (
    Address,
    DeviceClass,
    LoadedStage,
    NodeId,
    NodeRecord,
    Plan,
    PlannedStage,
    Precision,
    ProtocolVersion,
    Span,
    SpeedRecord,
    StepSpeed,
)
from tests.shapes import SMOLLM2
from tests.speeds import SPEED

SMALL = replace(SMOLLM2, name="small", num_layers=6, vocab_size=7_500)
"""A table weighs as much as one layer and a half, so the ends matter."""
DEMAND = Demand(SMALL, Precision.INT4, 1024)
LAYER = DEMAND.layer_bytes
ENDS = SMALL.ends_bytes(Precision.INT4, first=False, last=True)
"""What a stage at either end holds beside its layers, or a few bytes more."""


def node_id(name: str) -> NodeId:
    """Return the id of the device of that name; ids sort as names do."""
    return NodeId(name.encode().hex().rjust(32, "0"))


def candidate(
    name: str,
    memory_bytes: int,
    used_bytes: int = 0,
    stages: tuple[LoadedStage, ...] = (),
    *,
    spare_bytes: int = 0,
    doubts: int = 0,
    incarnation: int = 1,
    rate: float | None = None,
) -> Candidate:
    """Return a device of that name; its announced figures as given.

    `rate`: bytes of weights that it reads a second.
    """
    node = NodeRecord(
        node_id(name),
        name,
        DeviceClass.TV,
        Address("10.0.0.1", 7070),
        "home",
        ProtocolVersion(1, 0),
        incarnation,
    )
    speed = None if rate is None else speed_of(rate)
    return Candidate(node, memory_bytes, spare_bytes, used_bytes, stages, doubts, speed)


def speed_of(rate: float) -> SpeedRecord:
    """Return the record of a device that reads so many bytes of weights a second."""
    return replace(SPEED, steps=(StepSpeed(1, SPEED.layer_bytes / rate, 0.005),))


def loaded(*spans: tuple[int, int], demand: Demand = DEMAND) -> tuple[LoadedStage, ...]:
    """Return spans as a device announces them once they are loaded."""
    return tuple(
        LoadedStage(demand.key(Span(*span)), demand.spec.weights_bytes(Span(*span), demand.precision))
        for span in spans
    )


def route(parts: Sequence[tuple[str, int, int]], demand: Demand = DEMAND) -> Plan:
    """Return the plan in which each named device holds that span, in order."""
    stages = tuple(demand.stage(candidate(name, 0).node, Span(start, end)) for name, start, end in parts)
    return Plan(demand.spec.ref, demand.precision, demand.context, stages)


def recomputed_layers(lived: Sequence[PlannedStage], mended: Plan) -> int:
    """Layers of stages that lived but are not in the mended route; 0 unless all was planned anew."""
    kept = {(stage.node.node_id, stage.node.incarnation, stage.span) for stage in mended.stages}
    return sum(
        stage.span.num_layers
        for stage in lived
        if (stage.node.node_id, stage.node.incarnation, stage.span) not in kept
    )
