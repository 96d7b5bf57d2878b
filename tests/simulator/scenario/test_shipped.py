"""The scenarios that are shipped can be read, tell their story, and make scripts that fit together."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from mesh.logic.partition import Demand
from mesh.types import Precision
from simulator.profiles import model_spec
from simulator.scenario import expand, load, parse, shipped
from simulator.script import Script

NAMES = [name for name, _ in shipped()]
HOUSEHOLDS = {
    "apartment_block",
    "battery_low",
    "car_leaves_garage",
    "chaos",
    "evening_home",
    "fridge_joins",
    "gray_failure",
    "partition_and_heal",
    "party_churn",
    "rolling_upgrade",
    "router_reboot",
    "small_model_no_split",
    "thermal_throttle",
    "too_big_model",
    "tv_off_mid_answer",
    "wifi_degrades",
    "wifi_degrades_all_night",
}


def cases(*names: str) -> list[ParameterSet]:
    """The big one is slow."""
    return [pytest.param(n, marks=[pytest.mark.slow] if n == "apartment_block" else []) for n in names]


def assert_fits_together(script: Script) -> None:
    devices = {device.name: device for device in script.devices}
    lans = {lan.name for lan in script.lans}
    assert len(devices) == len(script.devices)
    assert all(device.lan in lans and device.starts_s < script.healed_s for device in script.devices)
    assert [request.number for request in script.requests] == list(range(1, len(script.requests) + 1))
    for request in script.requests:
        assert request.model in devices[request.device].models
        assert 0 <= request.at_s < script.duration_s
    for fault in script.faults:
        assert all(name in devices for name in (*fault.devices, *fault.toward))
        assert fault.lan is None or fault.lan in lans
        assert fault.at_s < script.healed_s
        assert fault.for_s is None or fault.at_s + fault.for_s <= script.healed_s + 1e-9
    for promise in script.eventually:
        assert script.healed_s + promise.within_s <= script.duration_s
    assert [fault.at_s for fault in script.faults] == sorted(fault.at_s for fault in script.faults)


def test_the_households_are_shipped() -> None:
    assert set(NAMES) >= HOUSEHOLDS


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_scenario_makes_scripts_that_fit_together(name: str) -> None:
    scenario = load(name)
    for seed in range(2 if scenario.households else 20):
        assert_fits_together(expand(scenario, seed))


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_scenario_opens_with_its_story(name: str) -> None:
    text = resources.files("simulator").joinpath("scenarios", f"{name}.toml").read_text("utf-8")
    story = text.split("\n\n")[0]
    assert all(line.startswith("#") for line in story.splitlines())
    assert len(story) > 150
    assert all(len(line) <= 110 for line in text.splitlines())


@pytest.mark.parametrize("name", cases(*sorted(HOUSEHOLDS)))
def test_a_household_ends_with_progress_and_is_described(name: str) -> None:
    script = expand(load(name), 1)
    assert "answered" in {promise.name for promise in script.eventually}
    assert any(request.asks_again and request.at_s > script.healed_s for request in script.requests)
    docs = (Path(__file__).parents[3] / "docs" / "scenarios.md").read_text("utf-8")
    assert f"| `{name}` | {load(name).summary} |" in docs


def test_the_first_example_of_the_docs_can_be_read() -> None:
    docs = (Path(__file__).parents[3] / "docs" / "scenarios.md").read_text("utf-8")
    example = docs.split("```toml\n")[1].split("```")[0]
    assert expand(parse(example, "first", "first.toml"), 1).healed_s == 34


@pytest.mark.slow
def test_the_block_has_five_thousand_devices_in_six_hundred_meshes() -> None:
    script = expand(load("apartment_block"), 1)
    assert len(script.devices) == 5_000
    assert len({device.mesh for device in script.devices}) == 600
    assert len({lan.radio for lan in script.lans}) == 1
    assert script.duration_s == 60
    assert not script.keeps_messages


def whole_bytes(model: str) -> int:
    return Demand(model_spec(model), Precision.INT4, 1024).whole_bytes


@pytest.mark.parametrize(
    "name",
    [
        "too_big_model",
        "tv_off_mid_answer",
        "fridge_joins",
        "party_churn",
        "chaos",
        "car_leaves_garage",
        "battery_low",
    ],
)
def test_what_is_to_be_split_fits_on_no_device(name: str) -> None:
    scenario = load(name)
    most_bytes = max(device.memory_bytes for device in expand(scenario, 1).devices)
    assert most_bytes < whole_bytes(scenario.models[0])


@pytest.mark.parametrize(
    "name", ["evening_home", "small_model_no_split", "thermal_throttle", "apartment_block"]
)
def test_what_is_to_stay_whole_fits_on_a_device(name: str) -> None:
    scenario = load(name)
    most_bytes = max(device.memory_bytes for device in expand(scenario, 1).devices)
    assert most_bytes > whole_bytes(scenario.models[0])
