"""Five real agents, killed and frozen at random, up to all but one at a time, while they are asked.

The token function stands for the model, so that five agents fit on a small machine and every token can be
checked. MESH_CHAOS_EVENTS says how many losses there are, MESH_CHAOS_SEED which; `make soak` runs the long
form.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from simulator.real.control import EngineKind
from simulator.real.household import ProcessOptions
from simulator.real.process_mode import run_script
from simulator.result import RequestRecord, RunResult
from simulator.scenario import expand, parse
from simulator.script import Script
from tests.real.processes import processes_with

pytestmark = [pytest.mark.real, pytest.mark.slow]

NUM_EVENTS = int(os.environ.get("MESH_CHAOS_EVENTS", "8"))
SEED = int(os.environ.get("MESH_CHAOS_SEED", "2"))

DEADLINE_S = 15.0
ONE_MORE_S = 4.0
"""After the healing one more question is asked: agents that were started then have met by then."""

# Any two hold the model, none does alone. The links are so slow that an answer lasts for seconds and losses
# hit it in the middle.
HOUSEHOLD = """
summary = "five devices, of which up to four are killed or frozen at a time"
duration = "1h"
heal = "50min"
models = ["smollm2:135m"]
always = ["exact_tokens", "one_end"]

[[devices]]
name = "phone"
profile = "xiaomi_14"
memory = "80MB"
link_overrides = { delay = "5ms" }

[[devices]]
name = "tv"
profile = "android_tv"
memory = "75MB"
link_overrides = { delay = "5ms" }

[[devices]]
name = "car"
profile = "car_8295"
memory = "90MB"
link_overrides = { delay = "5ms" }

[[devices]]
name = "laptop"
profile = "laptop_ryzen_ai_340"
memory = "95MB"
link_overrides = { delay = "5ms" }

[[devices]]
name = "mini"
profile = "mac_mini_m4"
memory = "85MB"
link_overrides = { delay = "5ms" }

[[workload]]
from = "any"
start = "0.5s"
every = "5s"
max_tokens = [40, 90]
deadline = "15s"

[[workload]]
from = "any"
start = "3s"
every = "5s"
max_tokens = [40, 90]
temperature = 0.8
deadline = "15s"

[[random]]
kinds = ["crash", "pause"]
mean_gap = "2s"
start = "1s"
for = ["500ms", "4s"]

[[eventually]]
promise = "converged"
within = "10s"

[[eventually]]
promise = "nothing_allotted"
within = "20s"
"""


def chaos(num_events: int, seed: int) -> Script:
    """So many losses, then everything is healed and one more question asked."""
    drawn = expand(parse(HOUSEHOLD, "chaos of processes", "chaos of processes"), seed)
    faults = drawn.faults[:num_events]
    healed_s = max(fault.at_s + (fault.for_s or 0.0) for fault in faults)
    requests = [request for request in drawn.requests if request.at_s < healed_s]
    one_more = replace(requests[-1], number=len(requests) + 1, at_s=healed_s + ONE_MORE_S)
    return replace(
        drawn,
        duration_s=healed_s + 60.0,
        healed_s=healed_s,
        requests=(*requests, one_more),
        faults=faults,
        # Else who goes so often would be left out of plans, and there would be nothing to lose.
        timing=replace(drawn.timing, flap_limit=num_events),
    )


@pytest.fixture(scope="module")
def result() -> RunResult:
    return run_script(chaos(NUM_EVENTS, SEED), ProcessOptions(Path("/nowhere"), EngineKind.TOKENS))


def test_no_token_is_lost_doubled_or_changed_and_nothing_is_kept(result: RunResult) -> None:
    assert result.complaints == ()
    assert processes_with("simulator.real.agent") == []


def test_every_answer_ends_within_its_deadline(result: RunResult) -> None:
    late = [record for record in result.requests if not ended_in_time(record)]
    assert late == []


def test_answers_go_on_after_losses(result: RunResult) -> None:
    errors = [record.error for record in result.requests if record.error]
    assert result.requests[-1].is_answered
    assert result.figures.num_answered >= len(result.requests) / 3, errors
    assert result.figures.num_recoveries > 0


def ended_in_time(record: RequestRecord) -> bool:
    return record.ended_s is not None and record.ended_s - record.tried_s < DEADLINE_S + 2.0
