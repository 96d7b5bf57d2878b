"""What an answer is expected to take on a plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesh.decision import Prediction
from mesh.logic.capacity import Candidate
from mesh.logic.cost import Work, costs
from mesh.types import LinkRecord, Precision, StepSpeed
from tests.logic.houses import DEMAND, candidate, loaded, node_id, route, speed_of
from tests.speeds import SPEED

WHOLE = DEMAND.whole_bytes
RATE = 1e9
ROW_BYTES = DEMAND.spec.row_bytes(Precision.INT4)
LAYER_S = DEMAND.spec.layer_bytes(Precision.INT4) / RATE
HEAD_S = DEMAND.spec.table_bytes(Precision.INT4) / RATE
TRIP_S, BYTES_PER_S = 0.004, 1e7


def home(*names: str, **changes: object) -> list[Candidate]:
    """Equal devices, as far from each other."""
    return [
        replace(
            candidate(name, WHOLE, rate=RATE),
            links=tuple(LinkRecord(node_id(other), TRIP_S, BYTES_PER_S) for other in names if other != name),
            **changes,  # type: ignore[arg-type]  # any of its fields
        )
        for name in names
    ]


def predicted(
    devices: list[Candidate], parts: list[tuple[str, int, int]], work: Work, origin: str = "a"
) -> Prediction:
    figures = costs(DEMAND, devices, node_id(origin))
    assert figures is not None
    return figures.predict(route(parts).stages, work)


def test_a_token_on_the_device_that_was_asked_takes_its_layers_and_its_head() -> None:
    found = predicted(home("a", "b"), [("a", 0, 6)], Work(1, 10))
    assert found.token_s == pytest.approx(6 * LAYER_S + HEAD_S, rel=1e-4)
    assert found.num_tokens == 10
    assert found.last_token_s == pytest.approx(found.first_token_s + 9 * found.token_s)


def test_each_way_is_counted_to_the_first_between_the_stages_and_back() -> None:
    hop_s = TRIP_S / 2 + ROW_BYTES / BYTES_PER_S + 0.001  # and the next stage has to be woken
    token_s = TRIP_S / 2 + 64 / BYTES_PER_S
    split = predicted(home("a", "b"), [("a", 0, 3), ("b", 3, 6)], Work(1, 10))
    assert split.token_s == pytest.approx(6 * LAYER_S + HEAD_S + hop_s + token_s, rel=1e-4)
    elsewhere = predicted(home("a", "b"), [("b", 0, 6)], Work(1, 10))
    assert elsewhere.token_s == pytest.approx(6 * LAYER_S + HEAD_S + 2 * token_s, rel=1e-4)


def test_of_a_long_prompt_all_chunks_but_one_wait_for_the_slowest_stage_only() -> None:
    slow = replace(home("b", "a")[0], speed=speed_of(RATE / 4))
    devices = [home("a", "b")[0], slow]
    parts = [("a", 0, 4), ("b", 4, 6)]
    one = predicted(devices, parts, Work(256, 1)).prefill_s
    five = predicted(devices, parts, Work(5 * 256, 1)).prefill_s
    row_s = SPEED.prefill_layer_row_s * DEMAND.spec.layer_bytes(Precision.INT4) / SPEED.layer_bytes
    slowest_s = max(4 * 256 * min(row_s, LAYER_S), 2 * 256 * row_s)
    assert five - one == pytest.approx(4 * slowest_s, rel=0.01)


def test_what_the_stages_have_of_a_prompt_is_not_computed_again() -> None:
    work = Work(1000, 1)
    assert predicted(home("a"), [("a", 0, 6)], replace(work, num_known=990)).prefill_s < 0.05 * (
        predicted(home("a"), [("a", 0, 6)], work).prefill_s
    )


def test_weights_that_are_not_in_memory_are_loaded_first_all_devices_at_once() -> None:
    devices, parts = home("a", "b"), [("a", 0, 2), ("b", 2, 6)]
    cold = predicted(devices, parts, Work(1, 1))
    stages = route(parts).stages
    assert cold.load_s == pytest.approx(max(stage.weights_bytes for stage in stages) / 300e6)
    warm = [replace(devices[0], stages=loaded((0, 2))), replace(devices[1], stages=loaded((2, 6)))]
    assert predicted(warm, parts, Work(1, 1)).load_s == 0
    assert predicted(warm, parts, Work(1, 1)).first_token_s == cold.prefill_s


def test_who_is_busy_takes_longer() -> None:
    steps = (StepSpeed(1, SPEED.layer_bytes / RATE, 1e-9), StepSpeed(3, 2 * SPEED.layer_bytes / RATE, 2e-9))
    speed = replace(SPEED, steps=steps)
    idle = predicted(home("a", speed=speed), [("a", 0, 6)], Work(1, 1))
    busy = predicted(home("a", speed=speed, num_sessions=2), [("a", 0, 6)], Work(1, 1))
    assert busy.token_s == pytest.approx(2 * idle.token_s)


def test_without_any_figures_nothing_is_predicted() -> None:
    assert costs(DEMAND, [candidate("a", WHOLE)]) is None


def test_room_for_more_than_all_layers_counts_as_room_for_all() -> None:
    figures = costs(DEMAND, [replace(device, memory_bytes=2**63) for device in home("a", "b")], None)
    assert figures is not None
    assert {(seat.inner, seat.first, seat.last, seat.alone) for seat in figures.seats()} == {(6, 6, 6, 6)}
