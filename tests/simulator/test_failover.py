"""Runs in which devices leave, are drained or hold too long: the new faults and what is judged of them."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from mesh.roles.driver import Driver
from mesh.types import CacheKey
from simulator.claims import Invariant
from simulator.compute import ModelledCompute
from simulator.result import RunResult, Verdict
from simulator.run import run_script
from simulator.script import DeviceScript, Fault, FaultKind
from simulator.trace import Event, Kind
from tests.simulator.scripts import ROOMY, TIGHT, a_device, a_request, a_script, three

HALF = 90_000_000
"""Two of three such devices hold the model."""


def of_kind(result: RunResult, kind: Kind) -> list[Event]:
    return [event for event in result.events if event.kind is kind]


def used_for(result: RunResult, device: str) -> list[float]:
    """When a device computed frames."""
    return [event.at_s for event in of_kind(result, Kind.COMPUTED) if event.device == device]


def four() -> tuple[DeviceScript, ...]:
    return tuple(a_device(name, HALF) for name in "abcd")


def busy_one(result: RunResult) -> str:
    """Who computes besides the device that is asked."""
    return next(event.device for event in of_kind(result, Kind.COMPUTED) if event.device != "a")


@pytest.fixture(scope="module")
def helper() -> str:
    """The device that holds a part of the model when a is asked."""
    return busy_one(run_script(a_script(*four(), requests=(a_request(),))))


@pytest.mark.parametrize("kind", [FaultKind.DEPART, FaultKind.METERED, FaultKind.DRAIN])
def test_who_is_about_to_leave_hands_over_and_takes_part_again_when_it_stays(
    kind: FaultKind, helper: str
) -> None:
    # The last asks something else: the same again would go where the second has left what it had.
    anew = a_request(3, at_s=45.0, prompt="What is new?")
    asks = (a_request(max_tokens=300), a_request(2, at_s=22.0), anew)
    fault = Fault(4.0, kind, (helper,), for_s=30.0)
    result = run_script(a_script(*four(), requests=asks, faults=(fault,), duration_s=60.0))
    assert result.complaints == ()
    assert [record.is_answered for record in result.requests] == [True] * 3
    assert [record.num_recoveries for record in result.requests] == [1, 0, 0]
    times_s = used_for(result, helper)
    assert min(times_s) < 4.0
    assert not [at_s for at_s in times_s if 6.0 < at_s < 34.0]
    assert max(times_s) > 45.0


def test_who_drains_a_device_is_told_when_it_holds_nothing(helper: str) -> None:
    fault = Fault(4.0, FaultKind.DRAIN, (helper,))
    result = run_script(a_script(*four(), requests=(a_request(max_tokens=300),), faults=(fault,)))
    [drained] = of_kind(result, Kind.DRAINED)
    assert drained.device == helper
    assert drained.details["text"] == "it holds nothing any more"
    assert 4.0 < drained.at_s < 6.0


def test_the_last_that_can_hold_a_part_is_not_drained_and_says_so() -> None:
    fault = Fault(4.0, FaultKind.DRAIN, ("b",))
    script = a_script(*three(TIGHT), requests=(a_request(max_tokens=300),), faults=(fault,))
    result = run_script(script)
    assert result.complaints == ()
    assert result.requests[0].is_answered
    [drained] = of_kind(result, Kind.DRAINED)
    assert str(drained.details["text"]).startswith("it did not come to that: ")


def test_a_device_whose_battery_runs_low_hands_over(helper: str) -> None:
    devices = tuple(replace(d, profile="xiaomi_14") if d.name == helper else d for d in four())
    fault = Fault(4.0, FaultKind.UNPLUG, (helper,), amount=0.14)
    result = run_script(a_script(*devices, requests=(a_request(max_tokens=300),), faults=(fault,)))
    assert result.complaints == ()
    [record] = result.requests
    assert (record.is_answered, record.num_recoveries) == (True, 1)
    assert max(used_for(result, helper)) < 6.0


def test_the_client_goes_on_at_another_gateway_when_its_own_crashes() -> None:
    fault = Fault(4.0, FaultKind.CRASH, ("a",), for_s=20.0)
    result = run_script(a_script(*four(), requests=(a_request(max_tokens=300),), faults=(fault,)))
    assert result.complaints == ()
    [record] = result.requests
    assert (record.is_answered, record.num_attempts, record.num_recoveries) == (True, 1, 1)


class Leaky(ModelledCompute):
    """A port that forgets to free caches."""

    async def close(self, cache: CacheKey) -> None:
        """Do nothing."""


def test_a_cache_that_is_left_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.devices.device.ModelledCompute", Leaky)
    monkeypatch.setattr(Driver, "is_of_use", False)  # else the caches would rightly stay for a while
    asks = (a_request(), a_request(2, at_s=4.0, max_tokens=2000))  # somebody else is still under way
    result = run_script(a_script(*three(ROOMY), requests=asks, duration_s=60.0))
    assert result.verdict is Verdict.BROKEN
    [complaint] = result.complaints
    assert complaint.name == Invariant.FREED_IN_TIME
    assert "still holds session" in complaint.text
    [first, second] = result.requests
    assert first.ended_s is not None
    to_free_s = 2.0 + result.script.timing.linger_s
    assert first.ended_s + to_free_s < complaint.at_s < first.ended_s + to_free_s + 1.0
    assert second.ended_s is None


def test_a_device_that_is_taken_for_dead_though_it_runs_is_told() -> None:
    def slander(result_of: Fault | None) -> RunResult:
        faults = () if result_of is None else (result_of,)
        script = a_script(*three(ROOMY), faults=faults, duration_s=40.0)
        return run_script(
            replace(script, timing=replace(script.timing, lost_after_s=0.9, suspect_after_s=0.5))
        )

    # Who waits for less than the interval between two heartbeats takes everybody for dead.
    result = slander(None)
    assert {complaint.name for complaint in result.complaints} == {Invariant.NO_FALSE_DEATH}
    assert "for lost, which runs and can be reached" in result.complaints[0].text
    assert slander(Fault(0.0, FaultKind.RESET, ("a", "b", "c"))).complaints[0].at_s > 4.0  # excused before


def test_deaths_are_heard_of_though_no_line_is_kept() -> None:
    script = replace(a_script(*three(ROOMY)), keeps_messages=False)
    script = replace(script, timing=replace(script.timing, lost_after_s=0.9, suspect_after_s=0.5))
    before = logging.getLogger("mesh").level
    result = run_script(script)
    assert result.complaints[0].name == Invariant.NO_FALSE_DEATH
    assert not of_kind(result, Kind.LOGGED)
    assert logging.getLogger("mesh").level == before


def test_a_device_that_stands_still_is_rightly_taken_for_lost() -> None:
    fault = Fault(5.0, FaultKind.PAUSE, ("b",), for_s=10.0)
    result = run_script(a_script(*three(ROOMY), faults=(fault,), duration_s=40.0))
    said = [str(event.details["text"]) for event in of_kind(result, Kind.LOGGED)]
    assert "b: lost" in said
    assert result.complaints == ()
