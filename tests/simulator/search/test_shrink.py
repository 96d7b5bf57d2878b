"""Shrinking ends at the smallest script that still fails in the same way, and says so honestly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from mesh.errors import BadSetting
from simulator.result import Complaint, RunResult
from simulator.script import FaultKind, Script
from simulator.search.ddmin import ddmin
from simulator.search.shrink import Stage, shrink
from simulator.search.without import ending_earlier, with_devices
from tests.simulator.search.fakes import ended, run, run_never_kept, run_with_bug, script_of

NAME = "no token twice"


@pytest.mark.parametrize("culprits", [{0}, {9}, {3, 4}, {0, 5, 9}, set(range(10)), set()])
def test_ddmin_leaves_exactly_what_is_needed(culprits: set[int]) -> None:
    assert set(ddmin(range(10), culprits.issubset)) == culprits


def test_ddmin_leaves_nothing_that_can_go_alone() -> None:
    def fails(items: Sequence[int]) -> bool:  # two ways to fail
        return {2, 7} <= set(items) or {1, 5, 8} <= set(items)

    kept = ddmin(range(10), fails)
    assert fails(kept)
    assert not any(fails([item for item in kept if item != left_out]) for left_out in kept)


def test_the_smallest_script_has_only_what_the_bug_needs() -> None:
    shrunk = shrink(script_of(1), NAME, run_with_bug)
    script = shrunk.result.script
    assert {device.name for device in script.devices} == {"tv", "laptop"}
    assert [(fault.kind, fault.devices) for fault in script.faults] == [(FaultKind.CRASH, ("laptop",))]
    assert [request.device for request in script.requests] == ["tv"]
    assert shrunk.is_minimal
    assert shrunk.complaint.name == NAME


def test_times_and_lengths_are_halved_as_far_as_the_failure_lets_them() -> None:
    script = shrink(script_of(1), NAME, run_with_bug).result.script
    assert script.faults[0].for_s == 0.5  # shorter, and the bug does not show
    assert script.requests[0].max_tokens == 4
    assert script.requests[0].prompt == "h"
    assert 2.5 <= script.duration_s < 2.51  # the complaint comes at 2.5 s


def test_the_result_is_the_run_of_the_smallest_script() -> None:
    shrunk = shrink(script_of(1), NAME, run_with_bug)
    assert shrunk.result == run_with_bug(shrunk.result.script)


def test_shrinking_is_the_same_every_time() -> None:
    first, second = (shrink(script_of(4), NAME, run_with_bug) for _ in range(2))
    assert first == second


def test_no_script_is_run_twice_where_it_did_no_harm() -> None:
    tried: list[Script] = []

    def counting(script: Script) -> RunResult:
        tried.append(script)
        return run_with_bug(script)

    shrunk = shrink(script_of(1), NAME, counting)
    assert shrunk.num_runs == len(tried) == len(set(tried))


def test_a_limit_on_runs_is_kept_and_said() -> None:
    shrunk = shrink(script_of(1), NAME, run_with_bug, max_runs=5)
    assert (shrunk.num_runs, shrunk.is_minimal) == (5, False)
    assert shrunk.result == run_with_bug(shrunk.result.script)


def test_another_complaint_is_not_taken_for_ours() -> None:
    def other_without_faults(script: Script) -> RunResult:
        complaints = [] if script.faults else [Complaint("another", 1.0, "x")]
        return ended(script, complaints) if complaints else run_with_bug(script)

    assert shrink(script_of(1), NAME, other_without_faults).result.script.faults


def test_a_failure_of_another_cause_is_not_taken_for_ours() -> None:
    def other_cause_without_faults(script: Script) -> RunResult:
        if script.faults:
            return run_with_bug(script)
        return ended(script, [Complaint(NAME, 1.0, "x", cause="another")])

    assert shrink(script_of(1), NAME, other_cause_without_faults).result.script.faults


def test_a_script_that_cannot_run_is_not_taken_for_a_failure() -> None:
    def needs_four(script: Script) -> RunResult:
        if len(script.devices) < 4:
            raise ValueError("too few")
        return run_with_bug(script)

    assert len(shrink(script_of(1), NAME, needs_four).result.script.devices) == 4


def test_a_run_that_holds_cannot_be_shrunk() -> None:
    with pytest.raises(BadSetting, match="does not fail of 'no token twice' now"):
        shrink(script_of(1), NAME, run)


def test_a_promise_keeps_its_time_after_the_healing() -> None:
    script = shrink(script_of(1), "answers come", run_never_kept).result.script
    assert (script.healed_s, script.duration_s) == (0.0, 8.0)
    assert [script.devices, script.requests, script.faults] == [(), (), ()]
    assert all(s.duration_s - s.healed_s == 8.0 for s in ending_earlier(script_of(1), 20.0, is_promise=True))


def test_with_devices_go_what_hangs_on_them() -> None:
    whole = script_of(1)
    kept = with_devices(whole, [device for device in whole.devices if device.name in ("tv", "laptop", "hub")])
    assert [lan.name for lan in kept.lans] == ["home"]
    assert kept.paths == ()
    assert {request.device for request in kept.requests} == {"tv", "laptop"}
    assert kept.faults[0].devices == ("tv",)  # the fridge was the other
    assert not any(fault.kind is FaultKind.ROUTER_OFF for fault in kept.faults)  # of the garage


def test_a_fault_without_its_other_side_goes_and_does_not_befall_everybody() -> None:
    whole = script_of(1)
    kept = with_devices(whole, [device for device in whole.devices if device.name in ("tv", "hub")])
    assert not any(fault.kind is FaultKind.PARTITION for fault in kept.faults)
    everybody = replace(whole, faults=(replace(whole.faults[0], devices=(), toward=()),))
    assert with_devices(everybody, whole.devices[:1]).faults == everybody.faults


def test_progress_tells_how_small_it_is() -> None:
    stages: list[Stage] = []
    shrunk = shrink(script_of(1), NAME, run_with_bug, progress=stages.append)
    assert [stage.num_runs for stage in stages] == list(range(2, shrunk.num_runs + 1))
    assert stages[-1] == Stage(shrunk.num_runs, 2, 1, 1)
