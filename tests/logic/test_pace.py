"""How long something takes as a rule: followed, but not at once."""

from __future__ import annotations

import pytest

from mesh.logic.pace import Pace, RunningMean, Told


def test_nothing_is_known_before_something_was_measured() -> None:
    assert RunningMean().seconds == 0
    assert Pace().usual_s(1) == Pace().usual_s(512) == 0


def test_the_first_measurement_is_the_rule_until_there_are_others() -> None:
    mean = RunningMean()
    mean.add(0.4)
    assert mean.seconds == 0.4


def test_a_rule_follows_what_changes_for_good() -> None:
    mean = RunningMean()
    for seconds in [0.1] * 20 + [0.2] * 30:
        mean.add(seconds)
    assert mean.seconds == pytest.approx(0.2, rel=0.01)


def test_one_measurement_however_long_moves_the_rule_by_a_fifth_of_itself_at_most() -> None:
    mean = RunningMean()
    mean.add(0.1)
    mean.add(1000.0)
    assert mean.seconds == pytest.approx(0.12)


def test_a_device_that_becomes_fifty_times_as_slow_is_found_out_of_rule_for_some_frames() -> None:
    mean = RunningMean()
    mean.add(0.1)
    for _ in range(5):
        mean.add(5.0)
    assert 8 * mean.seconds < 5.0


def test_single_rows_and_rows_of_prompts_have_rules_of_their_own() -> None:
    pace = Pace()
    pace.measured(1, 0.2)
    pace.measured(100, 10.0)
    assert pace.usual_s(1) == 0.2
    assert pace.usual_s(50) == pytest.approx(5.0)


def test_a_frame_of_few_rows_takes_no_less_than_one_of_a_single_row() -> None:
    """Weights are read once for all of its rows."""
    pace = Pace()
    pace.measured(1, 2.0)
    pace.measured(512, 10.0)
    assert pace.usual_s(2) >= 2.0


def test_a_prompt_says_nothing_of_single_rows() -> None:
    pace = Pace()
    pace.measured(20, 3.0)
    assert pace.usual_s(1) == 0
    assert pace.usual_s(20) == pytest.approx(3.0)


def test_a_batch_of_many_sessions_has_a_rule_of_its_own() -> None:
    pace = Pace()
    pace.measured(1, 0.02)
    pace.measured(8, 0.04, num_sessions=8)
    pace.measured(8, 0.024, num_sessions=1)
    assert pace.usual_s(8, 8) == pytest.approx(0.04)
    assert pace.usual_s(8, 1) == pytest.approx(0.024)
    assert pace.usual_s(1) == 0.02


def test_a_batch_whose_like_was_never_measured_is_given_the_time_of_the_nearest_row_by_row() -> None:
    """Eight tokens at once may take as long as one after the other, and are not called slow for it."""
    pace = Pace()
    pace.measured(1, 0.02)
    assert pace.usual_s(8, 8) == pytest.approx(0.16)
    pace.measured(64, 0.08)
    assert pace.usual_s(100, 3) == pytest.approx(0.125)


def test_the_rows_of_a_prompt_are_known_by_batches_of_many_alone() -> None:
    pace = Pace()
    pace.measured(1, 0.02)
    pace.measured(8, 0.03, num_sessions=8)
    assert (pace.row_s, pace.rows_within(0.1)) == (0.0, None)
    pace.measured(64, 0.064)
    assert pace.row_s == pytest.approx(0.001)
    assert pace.rows_within(0.1) == pytest.approx(100, abs=1)


def test_a_step_of_one_row_of_one_session_is_known_alone() -> None:
    pace = Pace()
    pace.measured(8, 0.03, num_sessions=8)
    assert pace.step_s == 0.0
    pace.measured(1, 0.02)
    assert pace.step_s == 0.02


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        ([0.0, 0.0], [0.0, 0.0]),
        ([0.010, 0.0105, 0.0095], [0.010, 0.010, 0.010]),
        ([0.010, 0.0105, 0.0110, 0.0115], [0.010, 0.010, 0.010, 0.0115]),
        ([0.010, 0.005, 0.0], [0.010, 0.005, 0.0]),
    ],
)
def test_what_is_told_changes_when_more_than_noise_has(seconds: list[float], told: list[float]) -> None:
    telling = Told()
    assert [telling.of(one) for one in seconds] == told
