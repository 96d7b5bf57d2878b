"""Quantiles, ticks and curves are right where they can be checked by hand."""

from __future__ import annotations

from statistics import median

import pytest

from simulator.report.charts import HEIGHT, WIDTH, distribution, quantile, round_ticks, spark


def test_quantiles_lie_between_values_in_proportion() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert [quantile(values, part) for part in (0.0, 0.5, 0.9, 1.0)] == pytest.approx([1.0, 3.0, 4.6, 5.0])
    assert quantile([1.0, 4.0], 0.5) == median([1.0, 4.0])
    assert quantile([7.0], 0.99) == 7.0


@pytest.mark.parametrize(
    ("least", "most", "ticks"),
    [(0.0, 10.0, [0, 2, 4, 6, 8, 10]), (0.41, 0.55, [0.45, 0.5, 0.55]), (3.0, 3.0, [3.0])],
)
def test_ticks_are_round_and_inside(least: float, most: float, ticks: list[float]) -> None:
    assert round_ticks(least, most) == pytest.approx(ticks)


def test_the_curve_climbs_from_nothing_to_all() -> None:
    curve = distribution("t", "value", [0.3, 0.1, 0.2])
    assert curve.path.startswith(f"M0 {HEIGHT}")
    assert curve.path.endswith(f"V0.0H{WIDTH}")
    assert curve.what == "3 values"


def test_thousands_of_values_make_a_short_curve_that_ends_at_all() -> None:
    curve = distribution("t", "value", [1.0003**n / 1e3 for n in range(50_000)])
    assert curve.path.count("H") < 260
    assert curve.path.endswith(f"V0.0H{WIDTH}")
    assert curve.is_log


def test_values_that_are_all_the_same_have_one_label() -> None:
    assert [mark.label for mark in distribution("t", "value", [0.5]).marks] == ["p50 p90 p99"]
    assert distribution("t", "value", [0.0, 0.0]).numbers[0] == ("least", "0 µs")


def test_a_small_curve_keeps_its_ends_and_extremes() -> None:
    curve = spark([(n / 2, float(n % 7)) for n in range(2_000)], 1_000.0, 0.0, 6.0)
    assert curve is not None
    assert (curve.least, curve.most, curve.last) == (0.0, 6.0, 1_999 % 7)
    assert curve.line.count("L") <= 240
    assert spark([], 1.0, 0.0, 1.0) is None
