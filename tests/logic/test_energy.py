"""What an answer takes of devices' strength, and that batteries are spared where that costs little."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesh.logic.capacity import Candidate
from mesh.logic.cost import Work, costs
from mesh.logic.energy import ACTIVE_W, on_battery, spent_j
from mesh.logic.routing import Asked, ways
from mesh.types import Condition, DeviceClass
from tests.logic.houses import DEMAND, candidate, loaded, node_id, route

WHOLE = DEMAND.whole_bytes
TV_W = ACTIVE_W[DeviceClass.TV]  # what devices of these houses are


def running_on(device: Candidate, battery: float | None, *, is_charging: bool = False) -> Candidate:
    return replace(device, condition=Condition(battery, is_charging=is_charging))


def test_each_class_of_devices_draws_something() -> None:
    assert set(ACTIVE_W) == set(DeviceClass)
    assert min(ACTIVE_W.values()) > 0


def test_only_a_battery_that_is_not_charged_is_emptied() -> None:
    device = candidate("a", WHOLE)
    assert not on_battery(device)
    assert not on_battery(running_on(device, None))
    assert not on_battery(running_on(device, 0.5, is_charging=True))
    assert on_battery(running_on(device, 0.5))


def test_joules_are_watts_times_seconds() -> None:
    devices = [candidate("a", WHOLE), running_on(candidate("b", WHOLE), 0.5)]
    spent = spent_j(devices, {node_id("a"): 2.0, node_id("b"): 3.0})
    assert spent == pytest.approx((5 * TV_W, 3 * TV_W))


def test_an_answer_takes_what_its_tokens_and_its_prompt_take() -> None:
    device = running_on(candidate("a", WHOLE, rate=1e8), 0.5)
    figures = costs(DEMAND, [device], node_id("a"))
    assert figures is not None
    stages = route([("a", 0, 6)]).stages
    one, many = (figures.predict(stages, Work(1, count)) for count in (1, 101))
    assert many.energy_j - one.energy_j == pytest.approx(100 * many.token_s * TV_W, rel=1e-4)
    assert many.battery_j == many.energy_j
    assert one.energy_j > 0


@pytest.mark.parametrize(("rate", "first"), [(1.05e8, "b"), (1.3e8, "a"), (0.97e8, "b")])
def test_of_two_that_are_about_as_good_the_one_on_mains_answers(rate: float, first: str) -> None:
    devices = [
        replace(running_on(candidate("a", WHOLE, rate=rate), 0.5), stages=loaded((0, 6))),
        replace(candidate("b", WHOLE, rate=1e8), stages=loaded((0, 6))),
    ]
    assert ways(DEMAND, devices, Asked(Work(20, 100)))[0].option.name == first
