"""Sums over rounds."""

from __future__ import annotations

from benchmarks.beside.measures import MEASURES, Pair, Spread, ratios, record, spread, table
from benchmarks.beside.sample import Sample

TWO_ROUNDS = [Pair(Sample(60.0), Sample(40.0)), Pair(Sample(30.0), Sample(15.0))]


def test_the_ratio_is_taken_round_by_round_not_of_the_medians() -> None:
    swinging = [
        Pair(Sample(100.0), Sample(50.0)),
        Pair(Sample(10.0), Sample(5.0)),
        Pair(Sample(9), Sample(9)),
    ]
    assert ratios(swinging) == Spread(2.0, 1.0, 2.0)


def test_a_spread_of_nothing_is_nothing() -> None:
    assert spread([]) is None


def test_without_a_peer_there_is_no_ratio_and_the_mesh_still_has_its_line() -> None:
    shown = table({"decode": [Pair(Sample(50.0), None)]}).splitlines()
    assert len(shown) == 2
    assert "50.0 (50.0 to 50.0)" in shown[1]
    assert shown[1].split()[-4:] == ["-", "-", "1.25", "1.6"]


def test_the_table_shows_what_was_measured_in_the_order_of_the_measures() -> None:
    lines = table({"whole": TWO_ROUNDS, "decode": TWO_ROUNDS, "prefill": []}).splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["decode", "whole mesh on one node"]


def test_the_record_keeps_sums_and_every_round() -> None:
    kept = record({"users": TWO_ROUNDS})["users"]
    assert isinstance(kept, dict)
    assert kept["ratio"] == {"median": 1.75, "least": 1.5, "most": 2.0}
    assert [one["peer"]["tokens_per_s"] for one in kept["rounds"]] == [40.0, 15.0]


def test_names_of_measures_are_unique() -> None:
    assert len({one.name for one in MEASURES}) == len(MEASURES)
