"""A device hands over when it should, and does not change its mind at every percent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesh.logic.readiness import DEFAULT_LIMITS, Readiness, ReadinessLimits, rest_reason
from mesh.types import Condition


def reasons(*conditions: Condition) -> list[str | None]:
    readiness = Readiness()
    return [readiness.update(condition) for condition in conditions]


def batteries(*charges: float) -> list[str | None]:
    return reasons(*(Condition(battery=charge) for charge in charges))


def test_a_device_on_mains_is_fit() -> None:
    assert reasons(Condition()) == [None]


def test_a_battery_below_15_percent_is_told_with_its_charge() -> None:
    assert batteries(0.16, 0.15, 0.12) == [None, None, "its battery is at 12 %"]


def test_a_low_battery_is_told_until_it_is_above_20_percent() -> None:
    low = [f"its battery is at {percent} %" for percent in (14, 17, 20)]
    assert batteries(0.14, 0.17, 0.20, 0.21, 0.17) == [*low, None, None]


def test_a_low_battery_is_fit_as_soon_as_it_charges() -> None:
    charging = Condition(battery=0.05, is_charging=True)
    assert reasons(Condition(battery=0.05), charging) == ["its battery is at 5 %", None]


def test_a_charger_ends_the_low_battery_for_good_above_the_limit() -> None:
    low, charging = Condition(battery=0.14), Condition(battery=0.16, is_charging=True)
    assert reasons(low, charging, Condition(battery=0.16)) == ["its battery is at 14 %", None, None]


def test_a_battery_that_is_no_longer_known_is_no_reason() -> None:
    assert reasons(Condition(battery=0.1), Condition()) == ["its battery is at 10 %", None]


@pytest.mark.parametrize(("charge", "percent"), [(0.149, 14), (0.14, 14), (0.07, 7), (0.0, 0)])
def test_the_charge_is_rounded_down(charge: float, percent: int) -> None:
    assert batteries(charge) == [f"its battery is at {percent} %"]


def test_a_hot_device_hands_over_until_it_is_cool() -> None:
    assert reasons(Condition(is_hot=True), Condition()) == ["it is too hot", None]


def test_a_departing_device_hands_over_until_it_stays() -> None:
    leaving = "it is about to leave the house"
    assert reasons(Condition(is_departing=True), Condition()) == [leaving, None]


def test_a_device_on_a_metered_link_hands_over_until_it_is_on_another() -> None:
    assert reasons(Condition(is_metered=True), Condition()) == ["its link is metered", None]


def test_a_device_that_its_owner_lets_rest_says_until_when() -> None:
    assert rest_reason(Condition(resting_until="07:00")) == "its owner lets it rest until 07:00"
    assert rest_reason(Condition(battery=0.01, is_metered=True)) is None


def test_the_most_urgent_reason_is_told_and_the_others_are_remembered() -> None:
    everything = Condition(battery=0.1, is_hot=True, is_departing=True, is_metered=True)
    less = [replace(everything, is_departing=False), Condition(battery=0.18, is_metered=True)]
    told = reasons(everything, *less, Condition(battery=0.21, is_metered=True))
    assert told[:2] == ["it is about to leave the house", "it is too hot"]
    assert told[2:] == ["its battery is at 18 %", "its link is metered"]


def test_the_limits_can_be_chosen() -> None:
    readiness = Readiness(ReadinessLimits(battery_low=0.5, battery_enough=0.6))
    assert readiness.update(Condition(battery=0.4)) == "its battery is at 40 %"
    assert readiness.update(Condition(battery=0.61)) is None


def test_an_owner_chooses_the_floor_and_the_gap_stays() -> None:
    assert ReadinessLimits.above(0.15) == DEFAULT_LIMITS
    readiness = Readiness(ReadinessLimits.above(0.30))
    told = [readiness.update(Condition(battery=charge)) for charge in (0.30, 0.29, 0.35, 0.36, 0.30)]
    assert told == [None, "its battery is at 29 %", "its battery is at 35 %", None, None]


@pytest.mark.parametrize("floor", range(1, 101))
def test_at_any_floor_whole_percents_decide_exactly(floor: int) -> None:
    readiness = Readiness(ReadinessLimits.above(floor / 100))
    charges = (floor, floor - 1, floor + 5, floor + 6)
    is_low = [readiness.update(Condition(battery=charge / 100)) is not None for charge in charges]
    assert is_low == [False, True, True, False]


def test_a_floor_of_zero_heeds_no_battery() -> None:
    readiness = Readiness(ReadinessLimits.above(0.0))
    assert readiness.update(Condition(battery=0.0)) is None
