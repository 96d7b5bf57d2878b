"""Quantities are read with their units, and a wrong one is told how it is written."""

from __future__ import annotations

import pytest

from simulator.units import Duration, Energy, Factor, Quantity, Rate, Share, Size, Temperature


@pytest.mark.parametrize(
    ("kind", "value", "amount"),
    [
        (Duration, "5ms", 0.005),
        (Duration, "9ms", 0.009),
        (Duration, " 2 s ", 2.0),
        (Duration, "1.5min", 90.0),
        (Duration, "0s", 0.0),
        (Duration, "250us", 0.00025),
        (Rate, "400 Mbit/s", 400e6),
        (Rate, "1 Gbit/s", 1e9),
        (Size, "300MB", 300_000_000),
        (Size, "2 GB", 2_000_000_000),
        (Size, "1.5 GiB", 1.5 * 2**30),
        (Share, "5 %", 0.05),
        (Share, 0.05, 0.05),
        (Share, 1, 1.0),
        (Share, "35%", 0.35),
        (Factor, 50, 50.0),
        (Factor, "50x", 50.0),
        (Factor, "2.5 times", 2.5),
        (Temperature, "35 °C", 35.0),
        (Temperature, "-20 C", -20.0),
        (Temperature, "95 °F", 35.0),
        (Energy, "2 Wh", 7200.0),
    ],
)
def test_quantities_are_read_in_the_unit_that_the_program_counts_in(
    kind: type[Quantity], value: object, amount: float
) -> None:
    read = kind.read(value)
    assert read == amount
    assert type(read) is kind


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (Duration, 5, "'5' has no unit; write for instance 5s or 300ms"),
        (Duration, "5", "'5' has no unit; write for instance 5s or 300ms"),
        (Duration, "5 sec", "'5 sec' has the unit 'sec'; a duration has one of us, ms, s, min, h"),
        (Duration, "-5s", "'-5s' cannot be a duration; it must be 0 or more"),
        (Duration, "soon", "'soon' is not a duration; write for instance 5s or 300ms"),
        (Duration, "", "'' is not a duration; write for instance 5s or 300ms"),
        (Duration, True, "'True' is not a duration; write for instance 5s or 300ms"),
        (Duration, ["5s"], "'['5s']' is not a duration; write for instance 5s or 300ms"),
        (Duration, "1e3s", "'1e3s' has the unit 'e3s'; a duration has one of us, ms, s, min, h"),
        (Rate, "400 MB/s", "the unit 'MB/s'; a rate has one of bit/s, kbit/s, Mbit/s, Gbit/s"),
        (Size, 300, "'300' has no unit; write for instance 300MB or 1.9GiB"),
        (Size, "300 mb", "the unit 'mb'; a size has one of B, kB, MB, GB, TB, KiB, MiB, GiB, TiB"),
        (Share, "150 %", "'150 %' cannot be a share; it must be from 0 to 1, or from 0 % to 100 %"),
        (Share, 1.5, "'1.5' cannot be a share"),
        (Share, float("nan"), "'nan' cannot be a share"),
        (Factor, 0.5, "'0.5' cannot be a factor; it must be 1 or more"),
        (Factor, float("inf"), "'inf' cannot be a factor"),
        (Temperature, 35, "'35' has no unit; write for instance '35 °C'"),
        (Temperature, "400 C", "'400 C' cannot be a temperature; it must be from -60 °C to 100 °C"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_with_what_is_right(
    kind: type[Quantity], value: object, text: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        kind.read(value)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_long_text_is_quoted_in_part_and_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"x{20}\.\.\.'") as caught:
        Duration.read("soon\n" + "x" * 500)
    assert len(str(caught.value)) < 150
    assert "\n" not in str(caught.value)
