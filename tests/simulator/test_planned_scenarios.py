"""What the scenarios of planning claim: who works, who does not, and what that gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from mesh.logic.capacity import Demand
from mesh.types import Precision
from simulator.profiles import device_profile, model_spec
from simulator.result import RunResult
from simulator.run import run_script
from simulator.scenario import expand, load
from simulator.script import DeviceScript, Script
from simulator.trace import Kind

pytestmark = pytest.mark.slow

Route = tuple[tuple[str, int, int], ...]


def script_of(name: str) -> Script:
    scenario = load(name)
    return expand(scenario, scenario.seed)


def routes(result: RunResult) -> list[Route]:
    """Of each session in order, which devices held which layers; a hand-over adds to its route."""
    held: dict[str, dict[tuple[str, int, int], None]] = {}
    for event in result.events:
        if event.kind is Kind.COMPUTED:
            span = int(str(event.details["span_start"])), int(str(event.details["span_end"]))
            held.setdefault(str(event.details["session"]), {})[event.device, *span] = None
    return [tuple(route) for route in held.values()]


def workers(result: RunResult) -> set[str]:
    return {event.device for event in result.events if event.kind is Kind.COMPUTED}


def num_changes(found: Sequence[Route]) -> int:
    return sum(one != other for one, other in pairwise(found))


def per_token_s(result: RunResult) -> float:
    assert result.figures.tpot_p50_s is not None
    return result.figures.tpot_p50_s


def test_a_small_model_is_not_split_and_would_be_slower_if_it_were() -> None:
    script = script_of("small_model_no_split")
    whole = run_script(script)
    assert whole.complaints == ()
    assert {len(route) for route in routes(whole)} == {1}
    split = run_script(replace(script, devices=tuple(map(halved, script.devices))))
    assert min(len(route) for route in routes(split)) >= 2
    assert per_token_s(split) > 1.3 * per_token_s(whole)


def halved(device: DeviceScript) -> DeviceScript:
    """The same device with less memory than the model needs."""
    demand = Demand(model_spec("smollm2:135m"), Precision.INT4, 1024)
    return replace(device, memory_bytes=round(0.6 * demand.whole_bytes))


def offloaded_s(device: str, memory_bytes: int, model: str) -> float:
    """A token on one device alone that reads from its disk, each time, what its memory does not hold."""
    profile, spec = device_profile(device), model_spec(model)
    whole_bytes = spec.weights_bytes(spec.whole, Precision.INT4)
    kept_bytes = min(whole_bytes, memory_bytes)
    moving_s = kept_bytes / (profile.bandwidth_bytes_per_s * profile.decode_efficiency)
    return moving_s + (whole_bytes - kept_bytes) / profile.load_bytes_per_s + profile.frame_overhead_s


def test_a_model_that_fits_nowhere_is_split_and_beats_the_best_device_with_offload() -> None:
    script = script_of("too_big_model")
    result = run_script(script)
    assert result.complaints == ()
    assert all(len(route) >= 2 for route in routes(result))
    best_s = min(offloaded_s(d.profile, d.memory_bytes, "mimo:7b-rl") for d in script.devices)
    assert per_token_s(result) < 0.5 * best_s


def test_in_the_evening_the_pc_answers_what_the_phone_is_asked() -> None:
    result = run_script(script_of("evening_home"))
    assert result.complaints == ()
    assert workers(result) == {"pc"}


def test_when_the_phone_is_hot_the_layers_move_and_do_not_flap() -> None:
    result = run_script(script_of("thermal_throttle"))
    assert result.complaints == ()
    found = routes(result)
    assert workers(result) == {"phone", "tablet"}
    assert {name for name, _, _ in found[0]} == {"phone"}
    assert 1 <= num_changes(found) <= 2


def test_a_fridge_that_joins_is_admitted_and_given_nothing() -> None:
    result = run_script(script_of("fridge_joins"))
    assert result.complaints == ()
    assert "fridge" not in workers(result)
    assert any(record.device == "fridge" and record.is_answered for record in result.requests)


def test_a_phone_with_a_low_battery_is_given_nothing_until_it_charges() -> None:
    script = script_of("battery_low")
    result = run_script(script)
    assert result.complaints == ()
    low_s = next(e.at_s for e in result.events if e.kind is Kind.COMPUTED and e.device != "phone")
    rested = [e for e in result.events if e.kind is Kind.COMPUTED and e.device == "phone"]
    assert any(event.at_s < 60 for event in rested)
    assert not any(62 < event.at_s < 130 for event in rested)
    assert low_s < 130


def test_while_the_wifi_degrades_the_words_stay_the_same() -> None:
    result = run_script(script_of("wifi_degrades"))
    assert result.complaints == ()
    assert result.figures.num_answered >= 4


def test_the_demand_of_the_big_model_is_above_what_any_device_lends() -> None:
    script, spec = script_of("too_big_model"), model_spec("mimo:7b-rl")
    demand = Demand(spec, Precision.INT4, 1024)
    assert all(device.memory_bytes < demand.whole_bytes for device in script.devices)
