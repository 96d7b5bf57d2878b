"""How far devices are from each other, by what they have measured."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import pytest

from mesh.logic.capacity import Candidate
from mesh.logic.ways import HERE, USUAL, Way, Ways
from mesh.types import LinkRecord
from tests.logic.houses import candidate, node_id

A, B, C, D = (node_id(name) for name in "abcd")


def device(name: str, **links: tuple[float, float | None]) -> Candidate:
    """A device that has measured the round trip and the rate to others."""
    records = tuple(LinkRecord(node_id(other), trip_s, rate) for other, (trip_s, rate) in links.items())
    return replace(candidate(name, 1), links=records)


def test_a_way_takes_half_a_round_trip_and_its_bytes_take_their_time() -> None:
    ways = Ways([device("a", b=(0.010, 1e6)), device("b")])
    assert ways.way(A, B) == ways.way(B, A) == Way(0.005, 1e6)
    assert ways.way(A, B).seconds(1000) == pytest.approx(0.006)


def test_of_two_measurements_the_shorter_counts_for_noise_only_adds() -> None:
    assert Ways([device("a", b=(0.010, 1e6)), device("b", a=(0.004, 1e6))]).way(A, B).delay_s == 0.002


def test_from_a_node_to_itself_it_takes_no_time() -> None:
    assert Ways([]).way(A, A) == HERE
    assert HERE.seconds(64) < 1e-8


def test_what_nobody_has_measured_is_the_usual_way() -> None:
    assert Ways([device("a"), device("b")]).way(A, B) == USUAL


def test_a_way_that_was_not_measured_goes_by_the_ways_of_its_ends() -> None:
    ways = Ways([device("a", b=(0.002, 1e7), c=(0.002, 1e7)), device("d", b=(0.040, 1e5), c=(0.040, 1e5))])
    assert ways.way(A, D) == Way((0.001 + 0.020) / 2, 1e5)


@pytest.mark.parametrize("trip_s", [nan, inf, -1.0, 0.0])
def test_a_round_trip_that_cannot_be_is_not_believed(trip_s: float) -> None:
    assert Ways([device("a", b=(trip_s, 1e6))]).way(A, B) == USUAL


@pytest.mark.parametrize("rate", [None, nan, inf, -1.0, 0.0])
def test_without_a_rate_the_usual_one_counts(rate: float | None) -> None:
    assert Ways([device("a", b=(0.010, rate))]).way(A, B) == Way(0.005, USUAL.rate_bytes_per_s)


def test_all_ways_at_once() -> None:
    there, back = Ways([device("a", b=(0.010, 1e6))]).seconds([A, B], 1000)
    assert there == pytest.approx((0.0, 0.006), abs=1e-6)
    assert back == pytest.approx((0.006, 0.0), abs=1e-6)
