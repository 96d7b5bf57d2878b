"""Mended routes: a table for each rule, brute force where it is cheap, promises on random houses."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.errors import CapacityLost, InsufficientMemory
from mesh.logic.capacity import Candidate, Demand, held_bytes
from mesh.logic.partition import missing_bytes, plan
from mesh.logic.recovery import mend, survivors
from mesh.types import LoadedStage, NodeId, Plan, PlannedStage, Precision, Span
from tests.logic.houses import (
    DEMAND,
    ENDS,
    LAYER,
    SMALL,
    candidate,
    loaded,
    node_id,
    recomputed_layers,
    route,
)

WEIGHTS = DEMAND.spec.layer_bytes(DEMAND.precision)
CACHE = LAYER - WEIGHTS


def names(found: Plan) -> list[tuple[str, int, int]]:
    return [(stage.node.name, stage.span.start, stage.span.end) for stage in found.stages]


def check(found: Plan, demand: Demand, devices: Sequence[Candidate]) -> None:
    """What every mended route promises."""
    memory = {device.node.node_id: device.memory_bytes for device in devices}
    spans = [stage.span for stage in found.stages]
    assert (spans[0].start, spans[-1].end) == (0, demand.spec.num_layers)
    assert all(before.end == after.start for before, after in pairwise(spans))
    for stage in (*found.stages, *found.standbys):
        assert stage == demand.stage(stage.node, stage.span)
        memory[stage.node.node_id] -= held_bytes(stage)
    assert min(memory.values()) >= 0


THREE = route([("a", 0, 2), ("b", 2, 4), ("c", 4, 6)])
"""a and c hold the ends, b the two layers between."""
A, C = candidate("a", 2 * LAYER + ENDS), candidate("c", 2 * LAYER + ENDS)
"""As they are after b went: full."""


def mend_b(*others: Candidate, gone: Collection[NodeId] = (node_id("b"),)) -> Plan:
    return mend(DEMAND, THREE, [A, C, *others], gone)


def test_a_whole_route_is_left_as_it_is() -> None:
    devices = [A, candidate("b", 2 * LAYER), C]
    assert mend(DEMAND, THREE, devices, ()) == THREE


def test_survivors_stay_and_one_node_takes_the_lost_span() -> None:
    found = mend_b(candidate("d", 2 * LAYER))
    assert names(found) == [("a", 0, 2), ("d", 2, 4), ("c", 4, 6)]
    assert (found.stages[0], found.stages[2]) == (THREE.stages[0], THREE.stages[2])


def test_a_survivor_may_take_a_further_stage() -> None:
    roomy = candidate("c", 4 * LAYER + ENDS)
    found = mend(DEMAND, THREE, [A, roomy], [node_id("b")])
    assert names(found) == [("a", 0, 2), ("c", 2, 4), ("c", 4, 6)]


def test_a_node_that_leaves_is_left_out_of_the_candidates() -> None:
    assert names(mend_b(candidate("d", 2 * LAYER), gone=()))[1] == ("d", 2, 4)


def test_a_node_that_restarted_has_lost_its_stages_but_may_have_them_again() -> None:
    again = candidate("b", 2 * LAYER, incarnation=2)
    found = mend(DEMAND, THREE, [A, again, C], ())
    assert found.stages[1] == DEMAND.stage(again.node, Span(2, 4))
    assert len(survivors(THREE, [A, again, C], ())) == 2


UNEVEN = route([("a", 0, 1), ("b", 1, 4), ("c", 4, 6)])
"""Planned anew over the same devices, it would be cut evenly."""


def test_a_node_in_doubt_may_be_chosen_and_its_own_caches_count_as_free() -> None:
    doubted = candidate("b", 3 * LAYER, used_bytes=3 * LAYER, stages=loaded((1, 4)))
    assert mend(DEMAND, UNEVEN, [A, doubted, C], [node_id("b")]) == UNEVEN


def test_a_node_in_doubt_has_lost_its_stages() -> None:
    doubted = candidate("b", 2 * LAYER, 2 * LAYER, loaded((2, 4)), doubts=1)
    assert names(mend_b(doubted, candidate("d", 2 * LAYER)))[1] == ("d", 2, 4)


BIG = 10 * LAYER
PREFERENCES = [
    (
        "fewer doubts than warm",
        candidate("d", BIG, stages=loaded((2, 4)), doubts=1),
        candidate("e", 2 * LAYER),
    ),
    ("warm before free", candidate("d", BIG), candidate("e", 2 * LAYER, 2 * WEIGHTS, loaded((2, 4)))),
    ("free before cleared", candidate("d", BIG, BIG, loaded((0, 6))), candidate("e", 2 * LAYER)),
    ("more room in one tier", candidate("d", 2 * LAYER), candidate("e", 2 * LAYER + 1)),
    ("a wrong span is not warm", candidate("d", BIG, LAYER, loaded((2, 3))), candidate("e", BIG)),
    ("another's caches stay", candidate("d", 3 * LAYER, 2 * LAYER), candidate("e", 2 * LAYER)),
]


@pytest.mark.parametrize(("rule", "worse", "better"), PREFERENCES, ids=[rule for rule, _, _ in PREFERENCES])
def test_the_second_of_two_candidates_is_preferred(rule: str, worse: Candidate, better: Candidate) -> None:
    assert names(mend_b(worse, better))[1] == ("e", 2, 4), rule
    assert names(mend_b(worse))[1][0] == "d", f"{rule}: the worse one alone would do"


def test_spare_memory_is_for_replacements() -> None:
    assert names(mend_b(candidate("d", 2 * LAYER, spare_bytes=2 * LAYER)))[1] == ("d", 2, 4)


def test_of_equals_the_lower_id_is_taken() -> None:
    assert names(mend_b(candidate("e", BIG), candidate("d", BIG)))[1] == ("d", 2, 4)


def test_idle_stages_make_room_and_caches_of_others_do_not() -> None:
    idle = candidate("d", 2 * LAYER, 2 * WEIGHTS, (LoadedStage(DEMAND.key(Span(0, 2)), 2 * WEIGHTS),))
    assert names(mend_b(idle))[1] == ("d", 2, 4)
    busy = candidate("e", 3 * LAYER, LAYER + 1)
    assert names(mend_b(replace(idle, memory_bytes=2 * LAYER), busy))[1] == ("d", 2, 4)


def test_what_a_survivor_holds_is_not_free_though_it_has_not_announced_it_yet() -> None:
    """a fits b's layers too, but only once what is loaded there beside its stage has made room."""
    behind = candidate("a", 4 * LAYER + ENDS, WEIGHTS, loaded((1, 2)))
    found = mend(DEMAND, THREE, [behind, C, candidate("d", 2 * LAYER)], ())
    assert names(found)[1] == ("d", 2, 4)


def test_room_is_consumed_by_each_choice() -> None:
    lost = route([("a", 0, 2), ("b", 2, 3), ("c", 3, 4), ("f", 4, 6)])
    devices = [A, candidate("f", 2 * LAYER + ENDS), candidate("d", LAYER + 1), candidate("e", LAYER)]
    assert names(mend(DEMAND, lost, devices, ()))[1:3] == [("d", 2, 3), ("e", 3, 4)]


def test_a_span_that_no_node_can_take_is_dealt_to_as_few_as_can() -> None:
    found = mend_b(candidate("d", LAYER), candidate("e", LAYER), candidate("f", LAYER))
    assert names(found) == [("a", 0, 2), ("d", 2, 3), ("e", 3, 4), ("c", 4, 6)]


def test_dealing_prefers_fewer_doubts_to_fewer_nodes() -> None:
    lost = route([("a", 0, 2), ("b", 2, 5), ("c", 5, 6)])
    others = [candidate("d", 2 * LAYER, doubts=1)] + [candidate(name, LAYER) for name in "efg"]
    found = mend(DEMAND, lost, [A, candidate("c", LAYER + ENDS), *others], [node_id("b")])
    assert sorted(name for name, _, _ in names(found)[1:-1]) == ["e", "f", "g"]


def test_dealing_prefers_memory_that_is_free_now() -> None:
    full = candidate("d", LAYER, LAYER, loaded((0, 1)))
    found = mend_b(full, candidate("e", LAYER), candidate("f", LAYER))
    assert [name for name, _, _ in names(found)] == ["a", "e", "f", "c"]


def test_dealing_prefers_fewer_nodes_to_memory_that_is_free_now() -> None:
    lost = route([("a", 0, 2), ("b", 2, 5), ("c", 5, 6)])
    others = [candidate("d", 2 * LAYER, 2 * WEIGHTS, loaded((0, 2)))]
    others += [candidate(name, LAYER) for name in "efg"]
    found = mend(DEMAND, lost, [A, candidate("c", LAYER + ENDS), *others], ())
    assert names(found)[1:-1] == [("d", 2, 4), ("e", 4, 5)]


def test_ends_are_placed_before_larger_inner_spans() -> None:
    """Only d has room for the head's table; the layers between can be dealt to others."""
    lost = route([("a", 0, 1), ("b", 1, 5), ("c", 5, 6)])
    found = mend(
        DEMAND, lost, [A, candidate("d", 4 * LAYER), candidate("e", LAYER), candidate("f", LAYER)], ()
    )
    assert (names(found)[0], names(found)[-1]) == (("a", 0, 1), ("d", 5, 6))


@pytest.mark.parametrize("lost_name", ["a", "c"])
def test_a_lost_end_is_dealt_with_its_table_counted(lost_name: str) -> None:
    kept = C if lost_name == "a" else A
    parts = [candidate("d", LAYER + ENDS), candidate("e", LAYER)]
    found = mend(DEMAND, THREE, [kept, candidate("b", 2 * LAYER), *parts], ())
    expected = [("d", 0, 1), ("e", 1, 2)] if lost_name == "a" else [("e", 4, 5), ("d", 5, 6)]
    assert [name for name in names(found) if name[0] in "de"] == expected


def test_what_cannot_be_filled_is_planned_anew_over_the_whole_memory() -> None:
    """The head's table finds no room beside what lives: c has room for it, once it gives up its layers."""
    lost = route([("a", 0, 2), ("b", 2, 5), ("c", 5, 6)])
    devices = [candidate("b", 3 * LAYER + ENDS, spare_bytes=LAYER), candidate("a", 3 * LAYER + ENDS)]
    found = mend(DEMAND, lost, devices, ())
    assert names(found) == [("a", 0, 3), ("b", 3, 6)]
    busy = candidate("d", DEMAND.whole_bytes, DEMAND.whole_bytes)
    assert mend(DEMAND, lost, [*devices, busy], ()) == found
    assert recomputed_layers(survivors(lost, devices, ()), found) == 5


def test_the_loss_of_all_but_one_can_be_mended() -> None:
    found = mend(DEMAND, THREE, [candidate("b", DEMAND.whole_bytes + 3 * ENDS)], ())
    assert names(found) == [("b", 0, 2), ("b", 2, 4), ("b", 4, 6)]
    assert recomputed_layers(THREE.stages[1:2], found) == 0


def test_the_refusal_names_the_loss_and_the_figures() -> None:
    other = candidate("d", LAYER)
    with pytest.raises(CapacityLost) as refusal:
        mend_b(replace(other, spare_bytes=LAYER))
    need, room = -(-2 * LAYER // 1_000_000), LAYER // 1_000_000
    assert str(refusal.value) == (
        f"small lost layers [2, 4) on b, which need {need} MB; the others could give (MB): d {room}; "
        f"{-(-missing_bytes(DEMAND, [A, C, other]) // 1_000_000)} MB are missing: "
        "this answer goes on if a device comes back or gives more with --memory"
    )


def test_the_refusal_names_all_that_was_lost_where_nobody_is_left() -> None:
    with pytest.raises(CapacityLost, match=r"\[0, 2\) on a and \[2, 4\) on b and .* no other device"):
        mend(DEMAND, THREE, [], ())


WARM_B = DEMAND.stage(candidate("d", 0).node, Span(2, 4))
WARM_C = DEMAND.stage(candidate("d", 0).node, Span(4, 6))
BOTH = replace(THREE, standbys=(WARM_B, WARM_C))


def test_a_standby_that_became_a_stage_is_no_standby_and_the_others_stay() -> None:
    found = mend(DEMAND, BOTH, [A, C, candidate("d", BIG, stages=loaded((2, 4), (4, 6)))], [node_id("b")])
    assert names(found)[1] == ("d", 2, 4)
    assert found.standbys == (WARM_C,)


@pytest.mark.parametrize(
    ("why", "device", "gone"),
    [
        ("its node is no candidate", candidate("f", 2 * LAYER), ["b"]),
        ("its node is in doubt", candidate("d", BIG), ["b", "d"]),
        ("its node restarted", candidate("d", BIG, incarnation=2), ["b"]),
        ("other sessions have its memory", candidate("d", BIG, BIG), ["b"]),
        ("the new stage needs its room", candidate("d", 2 * LAYER), ["b"]),
    ],
)
def test_standbys_that_cannot_stand_in_are_dropped(why: str, device: Candidate, gone: list[str]) -> None:
    devices = [A, C, device, candidate("e", 2 * LAYER)]
    found = mend(DEMAND, BOTH, devices, [node_id(name) for name in gone])
    assert found.standbys == (), why


def test_the_standby_of_a_span_that_is_no_stage_any_more_is_dropped() -> None:
    """Nobody has room for the head beside what lives, so all is cut anew; e has no part in it."""
    sizes = {"a": 4 * LAYER + ENDS, "b": 2 * LAYER + ENDS - 1, "d": 2 * LAYER, "e": LAYER}
    devices = [candidate(name, memory_bytes) for name, memory_bytes in sizes.items()]
    before = route([("a", 0, 3), ("b", 3, 4), ("c", 4, 6)])
    before = replace(before, standbys=(DEMAND.stage(devices[3].node, Span(3, 4)),))
    found = mend(DEMAND, before, devices, ())
    assert recomputed_layers(before.stages[:2], found) > 0
    assert Span(3, 4) not in [stage.span for stage in found.stages]
    assert found.standbys == ()


SIZES = st.integers(0, 16).map(lambda halves: halves * LAYER // 2)


@st.composite
def _houses(draw: st.DrawFn) -> tuple[Demand, Plan, list[Candidate], list[NodeId]]:
    """A route over some devices, what they hold now, and which of them are gone."""
    demand = replace(DEMAND, spec=replace(SMALL, tied_embeddings=draw(st.booleans())))
    layers = demand.spec.num_layers
    cuts = sorted(draw(st.sets(st.integers(1, layers - 1), max_size=4)))
    owners = [draw(st.sampled_from("abcdef")) for _ in range(len(cuts) + 1)]
    spans = list(pairwise([0, *cuts, layers]))
    found = route([(name, *span) for name, span in zip(owners, spans, strict=True)], demand)
    devices = [_device(draw, name, found) for name in "abcdef" if draw(st.integers(0, 3))]
    gone = [device.node.node_id for device in devices if not draw(st.integers(0, 3))]
    standbys = [demand.stage(device.node, stage.span) for device in devices for stage in found.stages]
    return demand, replace(found, standbys=tuple(standbys)), devices, gone


def _device(draw: st.DrawFn, name: str, on: Plan) -> Candidate:
    own = [stage for stage in on.stages if stage.node.name == name]
    stages = tuple(LoadedStage(on.key(stage), stage.weights_bytes) for stage in own)
    held = sum(held_bytes(stage) for stage in own)
    memory_bytes = held + draw(SIZES)
    return candidate(
        name,
        memory_bytes,
        used_bytes=min(memory_bytes, held + draw(SIZES)),
        stages=stages,
        doubts=draw(st.integers(0, 2)),
        incarnation=draw(st.sampled_from([1, 1, 1, 2])),
        spare_bytes=draw(SIZES),
    )


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(_houses(), st.randoms(use_true_random=False))
def test_survivors_stay_within_each_memory_whatever_the_order(
    house: tuple[Demand, Plan, list[Candidate], list[NodeId]], rng: random.Random
) -> None:
    demand, found, devices, gone = house
    try:
        mended = mend(demand, found, devices, gone)
    except CapacityLost as lost:
        with pytest.raises(InsufficientMemory):
            plan(demand, [replace(device, spare_bytes=0) for device in devices])
        with pytest.raises(CapacityLost, match=f"^{re.escape(str(lost))}$"):
            mend(demand, found, rng.sample(devices, len(devices)), gone)
        return
    check(mended, demand, devices)
    lived = survivors(found, devices, gone)
    assert recomputed_layers(lived, mended) == 0 or not _can_be_filled(demand, found, devices, lived)
    assert not {(s.node.node_id, s.span) for s in mended.standbys} & {
        (s.node.node_id, s.span) for s in mended.stages
    }
    shuffled = rng.sample(devices, len(devices))
    assert mend(demand, found, shuffled, list(reversed(gone))) == mended


def _can_be_filled(
    demand: Demand, found: Plan, devices: Sequence[Candidate], lived: Sequence[PlannedStage]
) -> bool:
    """Whether each lost layer by itself has a place beside what lives; ends aside, that is all it takes."""
    lost = [stage for stage in found.stages if stage not in lived]
    if any(demand.spec.is_first(stage.span) or demand.spec.is_last(stage.span) for stage in lost):
        return False
    room = {device.node.node_id: _room(found, device, lived) // demand.layer_bytes for device in devices}
    return sum(room.values()) >= sum(stage.span.num_layers for stage in lost)


def _room(found: Plan, device: Candidate, lived: Sequence[PlannedStage]) -> int:
    life = (device.node.node_id, device.node.incarnation)
    own = [s for s in found.stages if (s.node.node_id, s.node.incarnation) == life]
    others = device.used_bytes - sum(s.weights_bytes for s in device.stages) - sum(s.cache_bytes for s in own)
    return max(0, device.memory_bytes - sum(held_bytes(s) for s in own if s in lived) - max(0, others))


def test_a_single_node_is_found_wherever_there_is_one() -> None:
    """Every memory of two helpers, against trying each: one is used exactly where one is enough."""
    for first, second in product(range(5), repeat=2):
        helpers = [candidate("d", first * LAYER), candidate("e", second * LAYER)]
        fitting = [helper.node.name for helper in helpers if helper.memory_bytes >= 2 * LAYER]
        if first + second < 2:
            continue
        held_by = [name for name, _, _ in names(mend_b(*helpers))[1:-1]]
        assert len(held_by) == (1 if fitting else 2)
        assert not fitting or held_by[0] in fitting


def test_caches_of_the_reference_precision_are_counted_as_such() -> None:
    demand = replace(DEMAND, precision=Precision.F32)
    found = route([("a", 0, 2), ("b", 2, 4), ("c", 4, 6)], demand)
    keepers = [candidate(s.node.name, held_bytes(s)) for s in (found.stages[0], found.stages[2])]
    tight = candidate("d", 2 * demand.layer_bytes)
    mended = mend(demand, found, [*keepers, tight], ())
    check(mended, demand, [*keepers, tight])
