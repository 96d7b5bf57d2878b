"""Which session a new one begins like: the longest part in common, on stages that are still there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.logic.capacity import Demand
from mesh.logic.prefixes import Histories, History, Reuse, best_reuse, common_length, route_like
from mesh.types import Plan, Precision, SessionId
from simulator.library import TINY
from tests.logic.houses import candidate, route

KB = 1_000
DEMAND = Demand(TINY, Precision.INT4, 1024)
DEVICES = [candidate(name, 3_000 * KB) for name in "abc"]
ROUTE = route([("a", 0, 6), ("b", 6, 12)], DEMAND)
SYSTEM = tuple(range(100))


def history(name: str, *tokens: int, on: Plan = ROUTE) -> History:
    return History(SessionId(name), SYSTEM + tokens, on)


def anywhere(known: Plan) -> Plan | None:
    return known


@given(st.lists(st.integers(0, 2), max_size=40), st.lists(st.integers(0, 2), max_size=40))
def test_the_common_length_is_that_of_the_items_one_by_one(one: list[int], other: list[int]) -> None:
    expected = 0
    while expected < min(len(one), len(other)) and one[expected] == other[expected]:
        expected += 1
    assert common_length(one, other) == common_length(tuple(other), tuple(one)) == expected


def test_the_longest_common_beginning_is_found() -> None:
    known = [history("a"), history("b", 7, 8, 9), history("c", 7, 8)]
    assert best_reuse(known, (*SYSTEM, 7, 8, 9, 1), anywhere) == Reuse(SessionId("b"), 103, ROUTE)


def test_of_several_that_are_as_good_the_newest_is_taken() -> None:
    known = [history("a", 1), history("b", 2), history("c", 3)]
    assert best_reuse(known, (*SYSTEM, 9), anywhere) == Reuse(SessionId("c"), 100, ROUTE)


def test_the_last_row_of_a_prompt_is_always_left_to_be_computed() -> None:
    """Its token is drawn from what comes out of it."""
    found = best_reuse([history("a", 1, 2, 3)], (*SYSTEM, 1, 2, 3), anywhere)
    assert found == Reuse(SessionId("a"), 102, ROUTE)


@pytest.mark.parametrize(("num_shared", "is_found"), [(15, False), (16, True)])
def test_a_few_positions_are_not_worth_it(num_shared: int, is_found: bool) -> None:
    prompt = (*SYSTEM[:num_shared], 999, 999)
    assert (best_reuse([history("a")], prompt, anywhere) is not None) is is_found


def test_where_the_best_has_no_route_the_next_is_taken() -> None:
    gone = replace(ROUTE, context=77)
    known = [history("a"), history("b", 7, 8, on=gone)]
    found = best_reuse(known, (*SYSTEM, 7, 8, 9), lambda known: None if known is gone else known)
    assert found == Reuse(SessionId("a"), 100, ROUTE)


def test_who_is_repeated_by_a_later_turn_is_forgotten_and_told_of() -> None:
    histories = Histories()
    first, other = history("a", 1), history("b", 2)
    assert histories.remember(first) == histories.remember(other) == []
    assert histories.remember(history("c", 1, 5, 6)) == [first]
    assert [known.session_id for known in histories] == ["b", "c"]


def test_who_is_repeated_on_other_stages_is_kept() -> None:
    histories = Histories()
    histories.remember(history("a", 1))
    other = replace(ROUTE, stages=ROUTE.stages[:1])
    assert histories.remember(history("b", 1, 2, on=other)) == []


def test_the_least_recently_used_is_forgotten_first() -> None:
    histories = Histories()
    for number in range(256):
        assert histories.remember(history(f"{number}", number)) == []
    histories.used(SessionId("0"))
    assert [old.session_id for old in histories.remember(history("new", 999))] == ["1"]


def test_the_same_stages_serve_another_context() -> None:
    found = route_like(ROUTE, replace(DEMAND, context=2048), DEVICES)
    assert found is not None
    assert found.context == 2048
    assert [(s.node, s.span) for s in found.stages] == [(s.node, s.span) for s in ROUTE.stages]
    assert all(s.cache_bytes == 2 * t.cache_bytes for s, t in zip(found.stages, ROUTE.stages, strict=True))


def test_there_is_no_route_where_a_node_is_gone_or_began_anew_or_has_no_room() -> None:
    first, second, _ = DEVICES
    assert route_like(ROUTE, DEMAND, [first, second]) == ROUTE
    assert route_like(ROUTE, DEMAND, [first]) is None
    anew = replace(second, node=replace(second.node, incarnation=second.node.incarnation + 1))
    assert route_like(ROUTE, DEMAND, [first, anew]) is None
    assert route_like(ROUTE, replace(DEMAND, context=100 * 1024), DEVICES) is None


def test_there_is_no_route_for_another_precision() -> None:
    assert route_like(ROUTE, replace(DEMAND, precision=Precision.F32), DEVICES) is None
