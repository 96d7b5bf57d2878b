"""Devices warm as Newton says, and change their state at thresholds without fluttering."""

from __future__ import annotations

import math

import pytest

from simulator.devices.thermal import Heat, Warmth, settling_c, speed_factor, warmed
from simulator.profiles import ThermalProfile

PROFILE = ThermalProfile(
    degrees_per_w=5.0,
    time_constant_s=100.0,
    warm_c=35.0,
    throttled_c=40.0,
    critical_c=50.0,
    hysteresis_c=3.0,
    warm_factor=0.9,
    throttled_factor=0.5,
    critical_factor=0.1,
)


def after(degrees_c: float, heat: Heat = Heat.NOMINAL) -> Heat:
    """State once the temperature has come to so many degrees."""
    return warmed(PROFILE, Warmth(degrees_c, heat), degrees_c, 1.0).heat


def test_a_device_settles_in_proportion_to_its_power() -> None:
    assert settling_c(PROFILE, 20.0, 4.0) == 40.0


def test_it_comes_63_percent_of_the_way_in_one_time_constant() -> None:
    assert warmed(PROFILE, Warmth(20.0), 60.0, 100.0).degrees_c == pytest.approx(60 - 40 / math.e)
    assert warmed(PROFILE, Warmth(60.0), 20.0, 100.0).degrees_c == pytest.approx(20 + 40 / math.e)


def test_the_way_there_can_be_cut_into_pieces() -> None:
    pieces = Warmth(20.0)
    for _ in range(50):
        pieces = warmed(PROFILE, pieces, 60.0, 2.0)
    whole = warmed(PROFILE, Warmth(20.0), 60.0, 100.0)
    assert pieces.degrees_c == pytest.approx(whole.degrees_c)
    assert pieces.heat is whole.heat


@pytest.mark.parametrize(
    ("degrees_c", "heat"),
    [
        (34.9, Heat.NOMINAL),
        (35.0, Heat.WARM),
        (39.9, Heat.WARM),
        (40.0, Heat.THROTTLED),
        (50.0, Heat.CRITICAL),
    ],
)
def test_each_state_begins_at_its_threshold(degrees_c: float, heat: Heat) -> None:
    assert after(degrees_c) is heat


@pytest.mark.parametrize(
    ("degrees_c", "heat"),
    [
        (47.0, Heat.CRITICAL),
        (46.9, Heat.THROTTLED),
        (37.0, Heat.THROTTLED),
        (36.9, Heat.WARM),
        (32.0, Heat.WARM),
        (31.9, Heat.NOMINAL),
    ],
)
def test_each_state_ends_some_degrees_below(degrees_c: float, heat: Heat) -> None:
    assert after(degrees_c, Heat.CRITICAL) is heat


def test_speed_falls_with_each_state() -> None:
    assert [speed_factor(PROFILE, heat) for heat in Heat] == [1.0, 0.9, 0.5, 0.1]
