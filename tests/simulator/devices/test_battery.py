"""Batteries keep account of what is taken from them."""

from __future__ import annotations

import pytest

from simulator.devices.battery import Battery
from simulator.profiles import BatteryProfile


def test_a_watt_hour_is_3600_joules() -> None:
    battery = Battery.charged(BatteryProfile(10.0), 0.5)
    assert battery.left_j == 18_000
    assert battery.drained(3_600).level == pytest.approx(0.4)


def test_an_empty_battery_stays_empty() -> None:
    battery = Battery.charged(BatteryProfile(1.0), 1.0).drained(3_599)
    assert not battery.is_empty
    for taken_j in (1.0, 2.0):
        assert battery.drained(taken_j).is_empty
        assert battery.drained(taken_j).level == 0.0
