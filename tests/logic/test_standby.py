"""Warm copies: a table for each rule, brute force for small houses, promises on random ones."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.errors import InsufficientMemory
from mesh.logic.capacity import Candidate, held_bytes
from mesh.logic.standby import standbys
from mesh.types import LoadedStage, Plan, PlannedStage, Span, Standby
from tests.logic.houses import DEMAND, ENDS, LAYER, candidate, loaded, node_id, route

WEIGHTS = DEMAND.spec.layer_bytes(DEMAND.precision)
TWO = route([("a", 0, 4), ("b", 4, 6)])
FIRST, LAST = TWO.stages
A = candidate("a", held_bytes(FIRST))
B = candidate("b", held_bytes(LAST))
"""Both are full with what the plan has them load."""
BIG = DEMAND.whole_bytes + 2 * ENDS


def places(found: Sequence[PlannedStage]) -> list[tuple[str, int, int]]:
    return [(copy.node.name, copy.span.start, copy.span.end) for copy in found]


def auto(*others: Candidate) -> list[tuple[str, int, int]]:
    return places(standbys(DEMAND, TWO, [A, B, *others], Standby.AUTO))


def every(*others: Candidate) -> list[tuple[str, int, int]]:
    return places(standbys(DEMAND, TWO, [A, B, *others], Standby.ALL))


def test_none_are_placed_where_none_are_wanted() -> None:
    assert standbys(DEMAND, TWO, [A, B, candidate("c", BIG)], Standby.NONE) == ()


def test_one_roomy_node_holds_a_copy_of_each_stage() -> None:
    assert auto(candidate("c", BIG)) == every(candidate("c", BIG)) == [("c", 0, 4), ("c", 4, 6)]


def test_the_nodes_of_a_plan_hold_copies_of_each_other_s_stages() -> None:
    devices = [candidate("a", BIG), candidate("b", BIG)]
    assert places(standbys(DEMAND, TWO, devices, Standby.ALL)) == [("b", 0, 4), ("a", 4, 6)]


def test_the_largest_stage_comes_first_where_not_all_fit() -> None:
    assert auto(candidate("c", held_bytes(FIRST))) == [("c", 0, 4)]
    plan = route([("a", 0, 2), ("b", 2, 6)])
    devices = [candidate(stage.node.name, held_bytes(stage)) for stage in plan.stages]
    devices.append(candidate("c", held_bytes(plan.stages[1])))
    assert places(standbys(DEMAND, plan, devices, Standby.AUTO)) == [("c", 2, 6)]


def test_a_smaller_stage_gets_a_copy_where_the_largest_fits_nowhere() -> None:
    assert auto(candidate("c", held_bytes(LAST))) == [("c", 4, 6)]


@pytest.mark.parametrize(
    ("why", "device"),
    [
        ("weights alone cannot stand in", candidate("c", held_bytes(LAST) - 1)),
        ("idle stages make no room for them", candidate("c", BIG, BIG, loaded((0, 6)))),
        ("memory of other sessions is not free", candidate("c", BIG, BIG)),
    ],
)
def test_copies_that_come_by_themselves_take_only_free_memory(why: str, device: Candidate) -> None:
    assert auto(device) == [], why


def test_what_the_plan_has_still_to_load_is_not_free() -> None:
    """b has room for its own stage and most of a copy; what it holds of its own already counts once."""
    short = candidate("b", held_bytes(LAST) + held_bytes(FIRST) - 1)
    assert places(standbys(DEMAND, TWO, [A, short], Standby.AUTO)) == []
    own = loaded((4, 6))
    ready = candidate("b", held_bytes(LAST) + held_bytes(FIRST), own[0].weights_bytes, own)
    assert places(standbys(DEMAND, TWO, [A, ready], Standby.AUTO)) == [("b", 0, 4)]


def test_free_memory_is_used_up_by_copies() -> None:
    idle = loaded((1, 4))
    assert auto(candidate("c", held_bytes(FIRST) + held_bytes(LAST), idle[0].weights_bytes, idle)) == [
        ("c", 0, 4)
    ]


def test_spare_memory_is_for_copies() -> None:
    assert auto(candidate("c", BIG, spare_bytes=BIG)) == [("c", 0, 4), ("c", 4, 6)]


def test_a_node_that_holds_the_very_stage_is_preferred_to_a_roomier_one() -> None:
    warm = candidate("d", BIG, loaded((0, 4))[0].weights_bytes, loaded((0, 4)))
    assert auto(candidate("c", 2 * BIG), warm) == [("d", 0, 4), ("c", 4, 6)]


def test_a_copy_that_is_loaded_costs_no_more_than_its_cache() -> None:
    stages = loaded((4, 6))
    warm = candidate("c", held_bytes(LAST), stages[0].weights_bytes, stages)
    assert auto(warm) == [("c", 4, 6)]


def test_idle_stages_make_room_where_each_stage_must_have_a_copy() -> None:
    idle = candidate("c", BIG, BIG, (LoadedStage(DEMAND.key(Span(0, 6)), BIG),))
    assert every(idle) == [("c", 0, 4), ("c", 4, 6)]


def test_sessions_of_the_moment_do_not_forbid_copies_but_a_free_node_is_preferred() -> None:
    busy, free = candidate("c", BIG, BIG), candidate("d", BIG - 1)
    assert every(busy) == [("c", 0, 4), ("c", 4, 6)]
    assert every(busy, free) == [("d", 0, 4), ("d", 4, 6)]


def test_a_first_choice_that_leaves_another_without_room_is_taken_back() -> None:
    """a's stage would rather go to the roomier c, but b's has no other place."""
    plan = route([("a", 0, 3), ("b", 3, 6)])
    first, last = plan.stages
    devices = [
        candidate("a", held_bytes(first)),
        candidate("b", held_bytes(last) + held_bytes(first)),
        candidate("c", held_bytes(last) + 1),
    ]
    found = standbys(DEMAND, plan, devices, Standby.ALL)
    assert places(found) == [("b", 0, 3), ("c", 3, 6)]


def test_the_refusal_names_the_layers_and_the_figure() -> None:
    missing = -(-held_bytes(LAST) // 1_000_000)
    with pytest.raises(InsufficientMemory) as refusal:
        every(candidate("c", held_bytes(FIRST)))
    assert str(refusal.value) == (
        "layers [4, 6) of small have no room for a copy on another device: "
        f"{missing} MB are missing; use --standby auto, or give more with --memory"
    )


def test_a_model_on_one_device_alone_has_no_place_for_a_copy() -> None:
    alone = route([("a", 0, 6)])
    with pytest.raises(InsufficientMemory, match=r"layers \[0, 6\) of small .* `mesh pull small` on another"):
        standbys(DEMAND, alone, [candidate("a", 2 * BIG)], Standby.ALL)
    assert standbys(DEMAND, alone, [candidate("a", 2 * BIG)], Standby.AUTO) == ()


SIZES = st.integers(0, 16).map(lambda halves: halves * LAYER // 2)


@st.composite
def _houses(draw: st.DrawFn) -> tuple[Plan, list[Candidate]]:
    """A plan over some devices, some of which are leaving, and what the devices hold now."""
    cuts = sorted(draw(st.sets(st.integers(1, 5), max_size=2)))
    owners = draw(st.permutations("abcd"))
    spans = list(pairwise([0, *cuts, 6]))
    plan = route([(name, *span) for name, span in zip(owners, spans, strict=False)])
    own = {stage.node.node_id: held_bytes(stage) for stage in plan.stages}
    devices = []
    for name in "abcd":
        memory_bytes = own.get(node_id(name), 0) + draw(SIZES)
        stages = loaded(*draw(st.lists(st.sampled_from(spans), unique=True, max_size=2)))
        used_bytes = min(memory_bytes, sum(stage.weights_bytes for stage in stages) + draw(SIZES))
        doubts = draw(st.integers(0, 1))
        devices.append(candidate(name, memory_bytes, used_bytes, stages, doubts=doubts))
    return plan, devices


def check(plan: Plan, copies: Sequence[PlannedStage], devices: Sequence[Candidate]) -> None:
    """What all copies promise."""
    left = {device.node.node_id: device.memory_bytes for device in devices}
    owner = {stage.span: stage.node.node_id for stage in plan.stages}
    for stage in (*plan.stages, *copies):
        left[stage.node.node_id] -= held_bytes(stage)
    assert min(left.values()) >= 0
    assert len({copy.span for copy in copies}) == len(copies)
    for copy in copies:
        assert copy == DEMAND.stage(copy.node, copy.span)
        assert copy.node.node_id != owner[copy.span]


def is_possible(plan: Plan, devices: Sequence[Candidate]) -> bool:
    """Whether some choice of a node for each stage stays within memory, by trying each."""
    for chosen in product(devices, repeat=len(plan.stages)):
        copies = [replace(s, node=c.node) for s, c in zip(plan.stages, chosen, strict=True)]
        try:
            check(plan, copies, devices)
        except AssertionError:
            continue
        return True
    return False


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(_houses(), st.randoms(use_true_random=False))
def test_each_stage_gets_its_copy_wherever_that_is_possible(
    house: tuple[Plan, list[Candidate]], rng: random.Random
) -> None:
    plan, devices = house
    try:
        found = standbys(DEMAND, plan, devices, Standby.ALL)
    except InsufficientMemory:
        assert not is_possible(plan, devices)
        return
    check(plan, found, devices)
    assert len(found) == len(plan.stages)
    assert standbys(DEMAND, plan, rng.sample(devices, len(devices)), Standby.ALL) == found


@settings(max_examples=30, deadline=None)
@given(_houses())
def test_with_the_missing_megabytes_on_each_device_there_is_room(house: tuple[Plan, list[Candidate]]) -> None:
    plan, devices = house
    try:
        standbys(DEMAND, plan, devices, Standby.ALL)
    except InsufficientMemory as refusal:
        found = re.search(r": (\d+) MB are missing", str(refusal))
        missing_bytes = int(found[1]) * 1_000_000 if found else 0
        more = [replace(device, memory_bytes=device.memory_bytes + missing_bytes) for device in devices]
        check(plan, standbys(DEMAND, plan, more, Standby.ALL), more)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(_houses(), st.randoms(use_true_random=False))
def test_copies_beside_all_else_fit_whatever_the_order(
    house: tuple[Plan, list[Candidate]], rng: random.Random
) -> None:
    plan, devices = house
    found = standbys(DEMAND, plan, devices, Standby.AUTO)
    check(plan, found, devices)
    assert standbys(DEMAND, plan, rng.sample(devices, len(devices)), Standby.AUTO) == found
