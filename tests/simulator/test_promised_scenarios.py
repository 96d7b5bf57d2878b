"""What the scenarios of failover claim comes true, for a few seeds; sweeps look at thousands."""

from __future__ import annotations

import pytest

from simulator.claims import Invariant
from simulator.result import RunResult
from simulator.run import run_script
from simulator.scenario import expand, load
from tests.simulator.digests import first_minutes

pytestmark = pytest.mark.slow


def run_of(name: str, seed: int | None = None) -> RunResult:
    scenario = load(name)
    return run_script(expand(scenario, scenario.seed if seed is None else seed))


@pytest.mark.parametrize(
    "name", ["battery_low", "car_leaves_garage", "gray_failure", "router_reboot", "tv_off_mid_answer"]
)
def test_the_answer_outlives_what_befalls_it(name: str) -> None:
    result = run_of(name)
    assert result.complaints == ()
    assert result.figures.num_recoveries >= 1


@pytest.mark.parametrize("name", ["battery_low", "car_leaves_garage"])
def test_who_leaves_with_notice_costs_no_more_than_one_replay(name: str) -> None:
    stall_s = run_of(name).figures.stall_max_s
    assert stall_s is not None
    assert stall_s < 1.0


@pytest.mark.parametrize("seed", range(8))
def test_chaos_breaks_no_invariant_and_hits_answers_in_the_middle(seed: int) -> None:
    result = run_of("chaos", seed)
    assert result.complaints == ()


def test_nobody_is_taken_for_dead_in_the_first_half_hour_of_a_bad_night() -> None:
    script = expand(load("wifi_degrades_all_night"), 1)
    assert Invariant.NO_FALSE_DEATH in script.always
    result = run_script(first_minutes(script, 1800.0))
    assert result.complaints == ()
    assert result.figures.num_answered > 5
