"""What calibration compares, with numbers."""

from __future__ import annotations

import pytest

from simulator.real.calibrate import SCENARIOS, table, to_json
from simulator.real.comparing import FIRST_TTFT, TPOT, TTFT, Round, compare, measures_of
from simulator.real.host_costs import HostCosts
from simulator.result import RequestRecord
from simulator.scenario import expand, load

COSTS = HostCosts(0.0, 0.0, 0.0)


def record(number: int, ttft_s: float, tpot_s: float, error: str | None = None) -> RequestRecord:
    times_s = tuple(10.0 + ttft_s + tpot_s * index for index in range(5))
    return RequestRecord(number, "a", 10.0, times_s, 20.0, error, 1)


def one_round(predicted: float, measured: float) -> Round:
    sides = [tuple(record(number, 10 * s, s) for number in (1, 2, 3)) for s in (predicted, measured)]
    return Round("home", COSTS, sides[0], sides[1], 0.0)


def test_the_first_request_counts_for_itself() -> None:
    found = measures_of([record(1, 9.0, 0.5), record(2, 1.0, 0.1), record(3, 2.0, 0.2), record(4, 3.0, 0.3)])
    assert found[FIRST_TTFT] == pytest.approx(9.0)
    assert found[TTFT] == pytest.approx(2.0)
    assert found[TPOT] == pytest.approx(0.2)


def test_what_failed_is_not_measured() -> None:
    assert measures_of([record(1, 9.0, 0.5, error="stage_lost")]) == {}


def test_errors_are_signed_and_taken_of_the_medians_over_the_rounds() -> None:
    rounds = [one_round(0.9, 1.0), one_round(0.9, 1.2), one_round(5.0, 1.0)]
    error = {comparison.metric: comparison for comparison in compare(rounds)}[TPOT]
    assert error.predicted_s == pytest.approx(0.9)
    assert error.measured_s == pytest.approx(1.0)
    assert error.error == pytest.approx(-0.1)


def test_a_prediction_beyond_its_limit_is_marked() -> None:
    comparisons = compare([one_round(1.2, 1.0)])
    marked = [line for line in table(comparisons).splitlines() if "too far" in line]
    assert [line.split()[1:4] for line in marked] == [["time", "per", "token"], ["cold", "time", "per"]]
    assert all("+20.0%" in line for line in marked)


def test_the_raw_runs_are_kept() -> None:
    rounds = [one_round(1.2, 1.0)]
    kept = to_json(compare(rounds), rounds)["rounds"]
    assert isinstance(kept, list)
    assert kept[0]["measured"][0]["token_times_s"] == rounds[0].measured[0].token_times_s


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_scenarios_ask_the_real_model_on_three_devices_one_request_after_the_other(name: str) -> None:
    script = expand(load(name), 0)
    assert len(script.devices) == 3
    assert {request.model for request in script.requests} == {"smollm2:135m"}
    assert {request.device for request in script.requests} == {script.devices[0].name}
    gaps_s = [b.at_s - a.at_s for a, b in zip(script.requests, script.requests[1:], strict=False)]
    assert min(gaps_s) >= 7
