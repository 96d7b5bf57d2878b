"""The first difference of two runs is found, with what came before it."""

from __future__ import annotations

from simulator.search.diff import first_difference
from simulator.trace import Event, Kind


def events(count: int) -> list[Event]:
    return [Event(float(i), Kind.TOKEN, "tv", {"index": i, "token": i}) for i in range(count)]


def changed(place: int, count: int, token: int | float | bool = 99) -> list[Event]:
    found = events(count)
    found[place] = Event(float(place), Kind.TOKEN, "tv", {"index": place, "token": token})
    return found


def test_equal_runs_have_no_difference() -> None:
    assert first_difference(events(9), events(9)) is None
    assert first_difference([], []) is None


def test_the_first_differing_event_comes_with_those_before_it_and_counts_behind() -> None:
    found = first_difference(events(9), changed(6, 12), context=2)
    assert found is not None
    assert (found.index, found.before) == (6, tuple(events(9)[4:6]))
    assert (found.left, found.right) == (events(9)[6], changed(6, 12)[6])
    assert (found.num_left, found.num_right) == (2, 5)


def test_a_run_that_ends_early_differs_where_it_ends() -> None:
    found = first_difference(events(3), events(5))
    assert found is not None
    assert (found.index, found.left, found.right) == (3, None, events(5)[3])
    assert (found.num_left, found.num_right) == (0, 1)


def test_a_difference_at_the_start_has_nothing_before_it() -> None:
    found = first_difference(changed(0, 3), events(3))
    assert found is not None
    assert (found.index, found.before) == (0, ())


def test_values_that_python_calls_equal_differ_as_they_do_in_the_digest() -> None:
    for token in (1.0, True):
        found = first_difference(events(3), changed(1, 3, token))
        assert found is not None
        assert found.index == 1
