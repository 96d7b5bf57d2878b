"""Stages that are loaded serve every gateway, as far as there is room beside what is in use."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesh.logic.capacity import Candidate
from mesh.logic.cost import costs
from mesh.logic.deployments import deployment, lacks_memory
from mesh.types import Plan, Precision
from tests.logic.houses import DEMAND, ENDS, LAYER, candidate, loaded, node_id, route

WHOLE = DEMAND.whole_bytes
CACHE = DEMAND.spec.layer_cache_bytes(DEMAND.context, DEMAND.precision)  # of one layer


def holder(name: str, *spans: tuple[int, int], rate: float = 1e8, free_bytes: int = WHOLE) -> Candidate:
    """A device that has loaded spans and has so much memory beside them."""
    stages = loaded(*spans)
    used_bytes = sum(stage.weights_bytes for stage in stages)
    return candidate(name, used_bytes + free_bytes, used_bytes, stages, rate=rate)


def found(*devices: Candidate, origin: str = "a") -> list[tuple[str, int, int]] | None:
    figures = costs(DEMAND, devices, node_id(origin))
    assert figures is not None
    made = deployment(DEMAND, devices, figures)
    return None if made is None else parts(made)


def parts(plan: Plan) -> list[tuple[str, int, int]]:
    return [(stage.node.name, stage.span.start, stage.span.end) for stage in plan.stages]


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        pytest.param([holder("a"), holder("b")], None, id="nothing is loaded"),
        pytest.param([holder("a", (0, 3)), holder("b", (2, 6))], None, id="they overlap"),
        pytest.param([holder("a", (0, 3)), holder("b", (4, 6))], None, id="there is a gap"),
        pytest.param([holder("a", (0, 3)), holder("b", (3, 5))], None, id="the end is missing"),
        pytest.param([holder("b", (0, 6))], [("b", 0, 6)], id="whole on one"),
        pytest.param(
            [holder("a", (3, 6)), holder("b", (0, 3))], [("b", 0, 3), ("a", 3, 6)], id="in order of layers"
        ),
        pytest.param(
            [holder("a", (0, 3)), holder("b", (3, 6), rate=2e7), holder("c", (3, 6))],
            [("a", 0, 3), ("c", 3, 6)],
            id="of two ends the quicker",
        ),
        pytest.param(
            [holder("a", (0, 2), (0, 3)), holder("b", (2, 6), rate=2e7), holder("c", (3, 6))],
            [("a", 0, 3), ("c", 3, 6)],
            id="of two cuts the quicker",
        ),
        pytest.param(
            [holder("a", (0, 3)), holder("c", (3, 6), free_bytes=3 * CACHE)],
            [("a", 0, 3), ("c", 3, 6)],
            id="room for one more cache",
        ),
        pytest.param(
            [holder("a", (0, 3)), holder("c", (3, 6), free_bytes=3 * CACHE - 1)], None, id="no room for it"
        ),
    ],
)
def test_loaded_stages_that_fit_together_make_a_route(
    devices: list[Candidate], expected: list[tuple[str, int, int]] | None
) -> None:
    assert found(*devices) == expected
    assert found(*reversed(devices)) == expected


def test_stages_of_another_precision_or_in_memory_that_plans_leave_free_make_none() -> None:
    other = replace(DEMAND, precision=Precision.F32)
    strange = replace(holder("a"), stages=loaded((0, 6), demand=other))
    assert found(strange) is None
    device = holder("a", (0, 6))
    assert found(replace(device, spare_bytes=device.memory_bytes - WHOLE)) == [("a", 0, 6)]
    assert found(replace(device, spare_bytes=device.memory_bytes - WHOLE + 1)) is None


def test_a_node_that_would_have_to_hold_two_caches_needs_room_for_both() -> None:
    ends = (0, 2), (4, 6)
    assert found(holder("a", *ends, free_bytes=4 * CACHE), holder("b", (2, 4))) is not None
    assert found(holder("a", *ends, free_bytes=4 * CACHE - 1), holder("b", (2, 4))) is None


def lacking(plan: Plan, *devices: Candidate) -> str | None:
    found = lacks_memory(plan, devices)
    return None if found is None else found.node.name


def test_what_is_idle_makes_room_and_what_is_in_use_does_not() -> None:
    plan = route([("a", 0, 6)])
    idle = loaded((0, 3), (3, 6))
    used_bytes = sum(stage.weights_bytes for stage in idle)
    full = candidate("a", WHOLE, used_bytes, idle)
    assert lacking(plan, full) is None
    assert lacking(plan, replace(full, stages=(replace(idle[0], is_in_use=True), idle[1]))) == "a"
    assert lacking(plan, replace(full, memory_bytes=WHOLE - 1)) == "a"


def test_a_loaded_stage_needs_room_for_a_cache_only_and_caches_in_use_leave_none() -> None:
    plan = route([("a", 0, 3), ("b", 3, 6)])
    a, b = holder("a", (0, 3), free_bytes=3 * CACHE), holder("b", (3, 6), free_bytes=3 * CACHE)
    assert lacking(plan, a, b) is None
    assert lacking(plan, a, replace(b, used_bytes=b.used_bytes + 1)) == "b"
    assert lacking(plan, a, candidate("b", 3 * LAYER + ENDS)) is None
