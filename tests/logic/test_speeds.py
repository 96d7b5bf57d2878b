"""What is believed of how fast a device is."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import pytest

from mesh.logic.speeds import FASTEST, SLOWEST, Pace, doubtful, pace, paces
from mesh.types import LoadedStage, Precision, Span, SpeedRecord, StepSpeed
from tests.logic.houses import DEMAND, LAYER, candidate, speed_of
from tests.speeds import SPEED

RATE = 1e9
LAYER_S = DEMAND.spec.layer_bytes(Precision.INT4) / RATE
DEVICE = candidate("a", 9 * LAYER, rate=RATE)


def one(**changes: object) -> Pace:
    found = pace(DEMAND, replace(DEVICE, **changes))  # type: ignore[arg-type]  # any of its fields
    assert found is not None
    return found


def stage(span: tuple[int, int], step_s: float) -> LoadedStage:
    return LoadedStage(DEMAND.key(Span(*span)), 1, step_s)


def test_seconds_go_by_the_bytes_of_the_weights() -> None:
    assert one().layer_s == pytest.approx(LAYER_S)
    assert one().head_s == pytest.approx(DEMAND.spec.table_bytes(Precision.INT4) / RATE)


def test_what_its_stages_took_lately_counts_more_than_what_it_measured_once() -> None:
    slowed = one(stages=(stage((1, 4), 3 * 2 * LAYER_S),))
    assert slowed.layer_s == pytest.approx(2 * LAYER_S)
    assert slowed.row_s == pytest.approx(2 * one().row_s)


def test_a_stage_of_the_end_reads_the_head_too() -> None:
    head_s = DEMAND.spec.table_bytes(Precision.INT4) / RATE
    assert one(stages=(stage((4, 6), 2 * LAYER_S + head_s),)).layer_s == pytest.approx(LAYER_S)


@pytest.mark.parametrize("step_s", [0.0, -1.0, nan, inf])
def test_a_stage_that_tells_no_time_tells_nothing(step_s: float) -> None:
    assert one(stages=(stage((1, 4), step_s),)) == one()


def test_a_stage_cannot_tell_of_more_than_an_eighth_or_eight_times() -> None:
    assert one(stages=(stage((1, 4), 1e3),)).layer_s == pytest.approx(8 * LAYER_S)
    assert one(stages=(stage((1, 4), 1e-9),)).layer_s == pytest.approx(LAYER_S / 8)


def test_other_sessions_make_a_step_longer_as_was_measured() -> None:
    steps = (StepSpeed(1, SPEED.layer_bytes / RATE, 1e-9), StepSpeed(5, 3 * SPEED.layer_bytes / RATE, 3e-9))
    crowded = {"speed": replace(SPEED, steps=steps)}
    assert one(**crowded, num_sessions=4).layer_s == pytest.approx(3 * LAYER_S)
    assert one(**crowded, num_sessions=2).layer_s == pytest.approx(2 * LAYER_S)
    assert one(**crowded, num_sessions=8).layer_s == pytest.approx(5 * LAYER_S), "beyond what was measured"
    assert one(**crowded, num_sessions=8).row_s == one(**crowded).row_s


def test_what_was_seen_of_it_multiplies_all() -> None:
    assert one(correction=3.0) == one().times(3.0)


def test_one_of_which_nothing_is_known_counts_as_the_slowest() -> None:
    quick, unknown = candidate("b", LAYER, rate=4 * RATE), candidate("c", LAYER)
    assert pace(DEMAND, unknown) is None
    assert paces(DEMAND, [quick, unknown, DEVICE]) == [pace(DEMAND, quick), one(), one()]
    assert paces(DEMAND, [unknown]) is None


NONSENSE = [
    replace(SPEED, steps=(StepSpeed(1, nan, 1.0),)),
    replace(SPEED, steps=(StepSpeed(1, -1.0, 1.0),)),
    replace(SPEED, prefill_layer_row_s=inf),
    replace(SPEED, layer_bytes=0),
    replace(SPEED, steps=(StepSpeed(1, 0.1, 0.1), StepSpeed(1, 0.1, 0.1))),
    replace(SPEED, steps=(StepSpeed(1, 0.1, 0.1), StepSpeed(2, 1e308, 0.1))),
    replace(SPEED, prefill_layer_row_s=1e308),
]


@pytest.mark.parametrize("speed", NONSENSE)
def test_nonsense_is_marked_and_counts_as_not_measured(speed: SpeedRecord) -> None:
    liar = replace(DEVICE, speed=speed)
    assert pace(DEMAND, liar) is None
    assert doubtful(liar) == "its figures are no speeds, so it counts as not measured"


def test_a_claim_beyond_belief_is_cut_to_what_is_believed_and_marked() -> None:
    boaster = replace(DEVICE, speed=speed_of(1e18))
    believed = pace(DEMAND, boaster)
    assert believed is not None
    assert believed.layer_s == pytest.approx(DEMAND.spec.layer_bytes(Precision.INT4) / FASTEST)
    assert doubtful(boaster) == "it claims to read 1e+09 GB/s of weights; counted as 1e+04"
    assert "counted as 0.01" in str(doubtful(replace(DEVICE, speed=speed_of(SLOWEST / 10))))
    assert doubtful(DEVICE) is None
    assert doubtful(candidate("b", LAYER)) is None


def test_a_row_of_a_prompt_never_counts_as_dearer_than_one_alone() -> None:
    assert one(speed=replace(SPEED, prefill_layer_row_s=1e9)).row_s == one(speed=SPEED).layer_s


def test_many_sessions_never_count_as_dearer_than_one_after_the_other() -> None:
    steps = (StepSpeed(1, 0.001, 0.001), StepSpeed(2, 1e6, 1e6))
    absurd = one(speed=replace(SPEED, steps=steps), num_sessions=3)
    assert absurd.layer_s == pytest.approx(4 * one(speed=replace(SPEED, steps=steps)).layer_s)
