"""What answers teach of devices."""

from __future__ import annotations

from math import inf, nan

import pytest

from mesh.logic.correction import Corrections
from tests.logic.houses import node_id

A, B = node_id("a"), node_id("b")


def after(corrections: Corrections, true_s: dict[str, float], *, ways_s: float = 0.0) -> float:
    """Make an answer by devices that say 0.01 s each; return what was expected over what it took."""
    said = {node_id(name): 0.01 * corrections.factor(node_id(name)) for name in true_s}
    measured_s = sum(true_s.values()) + ways_s
    expected_s = sum(said.values()) + ways_s
    corrections.observed(said, measured_s, ways_s)
    return expected_s / measured_s


@pytest.mark.parametrize("true_s", [0.006, 0.01, 0.013, 0.03])
def test_after_three_answers_what_is_expected_is_within_a_tenth(true_s: float) -> None:
    corrections = Corrections()
    for _ in range(3):
        after(corrections, {"a": true_s, "b": 0.01})
    assert after(corrections, {"a": true_s, "b": 0.01}) == pytest.approx(1, abs=0.1)


def test_by_other_routes_the_blame_ends_where_it_belongs() -> None:
    corrections = Corrections()
    for _ in range(12):
        after(corrections, {"a": 0.03, "b": 0.01})
        after(corrections, {"b": 0.01})
    assert corrections.factor(A) == pytest.approx(3, rel=0.1)
    assert corrections.factor(B) == pytest.approx(1, rel=0.1)


def test_answers_that_swing_are_averaged_rather_than_followed() -> None:
    corrections = Corrections()
    factors = []
    for turn in range(40):
        corrections.observed({A: 0.01 * corrections.factor(A)}, 0.02 * (1.3 if turn % 2 else 1 / 1.3))
        factors.append(corrections.factor(A))
    assert factors[-1] == pytest.approx(2, rel=0.08)
    assert max(factors[10:]) / min(factors[10:]) < 1.12


def test_a_device_that_becomes_slower_for_good_is_known_after_some_answers() -> None:
    corrections = Corrections()
    for _ in range(20):
        after(corrections, {"a": 0.01})
    for _ in range(8):
        after(corrections, {"a": 0.02})
    assert after(corrections, {"a": 0.02}) == pytest.approx(1, abs=0.1)


def test_one_answer_moves_a_device_by_a_factor_of_two_at_most() -> None:
    corrections = Corrections()
    corrections.observed({A: 0.01}, 100.0)
    assert 1 < corrections.factor(A) <= 2
    corrections = Corrections()
    corrections.observed({A: 0.01}, 1e-9)
    assert 0.5 <= corrections.factor(A) < 1


def test_however_often_it_happens_there_is_a_bound() -> None:
    corrections = Corrections()
    for _ in range(50):
        corrections.observed({A: 0.01 * corrections.factor(A)}, 1e6)
    assert corrections.factor(A) == 8
    for _ in range(50):
        corrections.observed({A: 0.01 * corrections.factor(A)}, 1e-9)
    assert corrections.factor(A) == 1 / 8


@pytest.mark.parametrize("measured_s", [0.0, -1.0, nan, inf, -inf])
def test_what_is_no_time_teaches_nothing(measured_s: float) -> None:
    corrections = Corrections()
    corrections.observed({A: 0.01}, measured_s)
    corrections.observed({A: measured_s}, 0.01)
    assert corrections.factor(A) == 1


def test_a_device_is_not_blamed_for_long_ways_that_were_expected() -> None:
    corrections = Corrections()
    corrections.observed({A: 0.01}, 0.11, ways_s=0.1)
    assert corrections.factor(A) == pytest.approx(1)


def test_a_device_that_has_gone_starts_anew() -> None:
    corrections = Corrections()
    corrections.observed({A: 0.01}, 1.0)
    corrections.forget(A)
    assert corrections.factor(A) == 1
