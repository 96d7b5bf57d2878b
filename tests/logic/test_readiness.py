"""A device hands over when it should, and does not change its mind at every percent."""

from __future__ import annotations

import pytest

from mesh.logic.readiness import Readiness, ReadinessLimits
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


def test_the_most_urgent_reason_is_told_and_the_others_are_remembered() -> None:
    everything = Condition(battery=0.1, is_hot=True, is_departing=True)
    told = reasons(everything, Condition(battery=0.18, is_hot=True), Condition(battery=0.18))
    assert told == ["it is about to leave the house", "it is too hot", "its battery is at 18 %"]


def test_the_limits_can_be_chosen() -> None:
    readiness = Readiness(ReadinessLimits(battery_low=0.5, battery_enough=0.6))
    assert readiness.update(Condition(battery=0.4)) == "its battery is at 40 %"
    assert readiness.update(Condition(battery=0.61)) is None
