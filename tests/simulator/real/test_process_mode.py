"""Real agents as processes: killed, frozen and abandoned, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import psutil
import pytest

from mesh.errors import ModelNotPulled
from simulator.claims import Invariant, PromiseName
from simulator.real.control import EngineKind
from simulator.real.household import ProcessOptions
from simulator.real.process_mode import run_script
from simulator.result import Verdict
from simulator.script import (
    DeviceScript,
    Fault,
    FaultKind,
    LanScript,
    LinkScript,
    Promise,
    RequestScript,
    Script,
)
from tests.real.processes import processes_with, until

pytestmark = [pytest.mark.real, pytest.mark.slow]

MODEL = "smollm2:135m"
JUDGED = (Invariant.EXACT_TOKENS, Invariant.ONE_END)
OPTIONS = ProcessOptions(Path("/nowhere"), EngineKind.TOKENS)

ABANDONED = """
import asyncio, signal, sys
from pathlib import Path
from simulator.real.household import running_household
from tests.simulator.real.test_process_mode import OPTIONS, household

async def main():
    async with running_household(household(), OPTIONS) as home:
        home.pause("b", is_paused=True)
        print("ready", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def household(*faults: Fault, requests: tuple[RequestScript, ...] = ()) -> Script:
    """Two fast devices that hold a model only together."""
    link = LinkScript("ethernet", False, 1e9, 1e9, 0.0001)
    devices = tuple(
        DeviceScript(name, "pc_rtx_4090", "home", "home", link, 85_000_000, (MODEL,)) for name in ("a", "b")
    )
    return Script("test", 1, 30.0, 30.0, (LanScript("home", "home"),), devices, requests, faults)


def ask(number: int, at_s: float, max_tokens: int, *, asks_again: bool = False) -> RequestScript:
    return RequestScript(number, at_s, "a", MODEL, "hello", max_tokens, asks_again=asks_again)


def agents() -> list[psutil.Process]:
    return processes_with("simulator.real.agent")


def test_an_answer_waits_for_a_killed_stage_that_comes_back_and_no_token_is_lost() -> None:
    killed = Fault(1.0, FaultKind.CRASH, ("b",), for_s=1.0)
    script = replace(household(killed, requests=(ask(1, 0.1, 900),)), always=JUDGED)
    result = run_script(script, OPTIONS)
    (record,) = result.requests
    assert record.is_answered, record.error
    assert (record.num_recoveries, record.num_stages, len(record.token_times_s)) == (1, 2, 900)
    assert record.stall_s is not None
    assert record.stall_s > 1.0
    assert result.verdict is Verdict.HELD
    assert result.digest == "real"
    assert agents() == []


def test_a_pause_and_a_block_make_an_answer_wait_and_no_longer() -> None:
    faults = (
        Fault(0.5, FaultKind.PAUSE, ("b",), for_s=0.4),
        Fault(1.2, FaultKind.PARTITION, ("a",), for_s=0.4),
    )
    result = run_script(household(*faults, requests=(ask(1, 0.1, 600),)), OPTIONS)
    (record,) = result.requests
    assert record.is_answered, record.error
    times_s = record.token_times_s
    gaps_s = sorted(later - before for before, later in pairwise(times_s))
    assert gaps_s[-2] > 0.3
    assert median(gaps_s) < 0.1
    assert gaps_s[-1] < 3
    assert agents() == []


def test_an_abandoned_household_leaves_no_process_not_even_a_frozen_one() -> None:
    home = subprocess.Popen(
        [sys.executable, "-c", ABANDONED], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )
    try:
        assert home.stdout is not None
        assert home.stdout.readline() == "ready\n"
        assert len(agents()) == 2
        os.kill(home.pid, signal.SIGKILL)
        assert until(lambda: agents() == [], 10)
    finally:
        home.kill()
        home.communicate()
        for agent in agents():
            agent.kill()


def test_a_model_that_is_not_on_this_machine_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ModelNotPulled, match=r"mesh pull smollm2:135m"):
        run_script(household(), ProcessOptions(tmp_path))
    assert agents() == []


def test_a_device_that_was_switched_off_is_found_again_when_it_starts() -> None:
    faults = (Fault(0.1, FaultKind.POWER_OFF, ("b",)), Fault(1.0, FaultKind.START, ("b",)))
    result = run_script(household(*faults, requests=(ask(1, 4.5, 5, asks_again=True),)), OPTIONS)
    assert result.requests[0].is_answered, result.requests
    assert result.requests[0].num_stages == 2
    assert agents() == []


def test_promises_are_waited_for_after_the_healing_and_one_that_is_not_kept_is_told() -> None:
    promises = (
        Promise(PromiseName.CONVERGED, 10.0),
        Promise(PromiseName.NOTHING_ALLOTTED, 10.0),
        Promise(PromiseName.ANSWERED, 0.5),
    )
    killed = Fault(0.1, FaultKind.CRASH, ("b",))
    script = household(killed, requests=(ask(1, 1.2, 600, asks_again=True),))
    result = run_script(replace(script, healed_s=1.0, eventually=promises), OPTIONS)
    assert [complaint.name for complaint in result.complaints] == ["answered"]
    assert result.verdict is Verdict.UNMET
    assert result.requests[0].is_answered
    assert agents() == []
