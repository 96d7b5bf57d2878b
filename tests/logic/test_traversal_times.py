"""What a traversal takes, learnt from what was seen."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mesh.logic.traversal_times import TraversalTimes


def learnt(seen: Sequence[tuple[int, int]], alone_s: float, row_s: float, guess_s: float) -> TraversalTimes:
    """See traversals with so many drafts and guesses, ten of each."""
    times = TraversalTimes()
    for num_drafts, num_wanted in seen:
        for _ in range(10):
            times.saw(alone_s + num_drafts * row_s + num_wanted * guess_s, num_drafts, num_wanted)
    return times


@pytest.mark.parametrize(("row_s", "guess_s"), [(0.001, 0.004), (0.004, 0.001), (0.0, 0.02), (0.0, 0.0)])
def test_each_part_is_found_where_it_was_varied(row_s: float, guess_s: float) -> None:
    times = learnt([(0, 0), (1, 2), (3, 3), (5, 6), (2, 7)], 0.02, row_s, guess_s)
    assert times.alone_s == pytest.approx(0.02, rel=0.1)
    for num_drafts, num_wanted in ((0, 4), (4, 0), (4, 4)):
        expected = 0.02 + num_drafts * row_s + num_wanted * guess_s
        assert times.of(num_drafts, num_wanted) == pytest.approx(expected, rel=0.15)


def test_what_was_never_varied_is_taken_for_what_is_usual() -> None:
    times = learnt([(0, 0)], 0.02, 0.0, 0.0)
    assert times.of(1, 0) == pytest.approx(0.022)
    assert times.of(0, 1) == pytest.approx(0.021)


def test_a_time_alone_is_remembered_while_others_are_seen() -> None:
    times = learnt([(0, 0), *[(3, 0)] * 30], 0.02, 0.0004, 0.0)
    assert times.of(3, 0) / times.alone_s == pytest.approx(1.06, abs=0.02)


def test_times_follow_stages_that_become_slower() -> None:
    times = learnt([(0, 0), (3, 0)], 0.02, 0.001, 0.0)
    for _ in range(60):
        times.saw(0.05, 0, 0)
        times.saw(0.06, 3, 0)
    assert times.alone_s == pytest.approx(0.05, rel=0.05)


def test_a_single_late_token_says_little() -> None:
    times = learnt([(0, 0), (3, 0)], 0.02, 0.001, 0.0)
    times.saw(5.0, 3, 0)
    assert times.of(3, 0) < 0.04


def test_nothing_is_negative_whatever_is_seen() -> None:
    times = TraversalTimes()
    for num_drafts, seconds in ((0, 0.05), (7, 0.01), (3, 0.02), (7, 0.001)):
        times.saw(seconds, num_drafts, 0)
        assert times.alone_s > 0
        assert times.of(7, 24) >= times.alone_s


def test_what_took_no_time_says_nothing() -> None:
    times = TraversalTimes()
    times.saw(0.0, 0, 0)
    assert not times.is_known
