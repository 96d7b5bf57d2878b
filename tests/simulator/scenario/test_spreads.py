"""Values that are left open stay within their bounds."""

from __future__ import annotations

import random

import pytest

from simulator.scenario.spreads import Counts, Durations, Factors


def test_one_value_or_two_are_read() -> None:
    assert Durations.read("5s") == Durations(5.0, 5.0)
    assert Durations.read(["500ms", "2s"]) == Durations(0.5, 2.0)
    assert Factors.read([2, "20x"]) == Factors(2.0, 20.0)
    assert Counts.read([3, 9]) == Counts(3, 9)
    assert Durations(1.0, 2.0) != Factors(1.0, 2.0)


def test_draws_stay_within_the_bounds_and_reach_both_of_a_count() -> None:
    rng = random.Random("draws")
    assert all(1.0 <= Durations(1.0, 2.0).draw(rng) <= 2.0 for _ in range(100))
    assert {Counts(2, 4).draw(rng) for _ in range(100)} == {2, 3, 4}


def test_a_fixed_value_takes_nothing_from_the_generator() -> None:
    rng = random.Random("fixed")
    before = rng.getstate()
    assert (Durations(3.0, 3.0).draw(rng), Counts(4, 4).draw(rng)) == (3.0, 4)
    assert rng.getstate() == before


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, [1], [3, 2], 10**9])
def test_counts_are_whole_numbers_from_one_in_rising_order(value: object) -> None:
    with pytest.raises(ValueError, match=r"whole number|range"):
        Counts.read(value)
