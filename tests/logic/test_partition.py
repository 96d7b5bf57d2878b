"""Plans are exact: held against brute force on small cases, against their promises on real-looking ones."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations, pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.errors import InsufficientMemory
from mesh.logic.capacity import Offer
from mesh.logic.partition import Candidate, Demand, deal, missing_bytes, plan
from mesh.types import (
    Address,
    DeviceClass,
    NodeId,
    NodeRecord,
    Plan,
    Precision,
    ProtocolVersion,
    Span,
)
from tests.shapes import SMOLLM2

DEMAND = Demand(SMOLLM2, Precision.INT4, 1024)
SMALL = replace(SMOLLM2, num_layers=6, vocab_size=7_500)
"""Small enough for brute force; a table weighs as much as one layer and a half, so the ends matter."""
LAYER = DEMAND.layer_bytes
TABLE = SMOLLM2.table_bytes(Precision.INT4)


def candidates(memories: Sequence[int]) -> list[Candidate]:
    return [
        Candidate(
            NodeRecord(
                NodeId(f"{index:032x}"),
                f"device{index}",
                DeviceClass.TV,
                Address("10.0.0.1", 7070),
                "home",
                ProtocolVersion(1, 0),
                1,
            ),
            memory_bytes,
        )
        for index, memory_bytes in enumerate(memories)
    ]


def fits(demand: Demand, span: Span, memory_bytes: int) -> bool:
    spec = demand.spec
    cache_bytes = spec.cache_bytes(span, demand.context, demand.precision)
    return spec.weights_bytes(span, demand.precision) + cache_bytes <= memory_bytes


def all_cuts(num_layers: int, num_spans: int) -> Iterator[list[Span]]:
    for inner in combinations(range(1, num_layers), num_spans - 1):
        yield [Span(start, end) for start, end in pairwise([0, *inner, num_layers])]


def fewest_by_brute_force(demand: Demand, memories: Sequence[int]) -> int | None:
    for count in range(1, min(len(memories), demand.spec.num_layers) + 1):
        for order in permutations(memories, count):
            for spans in all_cuts(demand.spec.num_layers, count):
                if all(fits(demand, span, memory) for span, memory in zip(spans, order, strict=True)):
                    return count
    return None


def outcome(demand: Demand, memories: Sequence[int]) -> int | None:
    try:
        return len(plan(demand, candidates(memories)).stages)
    except InsufficientMemory:
        return None


def check(demand: Demand, found: Plan, memories: Sequence[int]) -> None:
    """What every plan promises."""
    spans = [stage.span for stage in found.stages]
    assert spans[0].start == 0
    assert spans[-1].end == demand.spec.num_layers
    assert all(before.end == after.start for before, after in pairwise(spans))
    assert len({stage.node.node_id for stage in found.stages}) == len(spans)
    for stage in found.stages:
        memory_bytes = memories[int(stage.node.node_id, 16)]
        assert stage.weights_bytes == demand.spec.weights_bytes(stage.span, demand.precision)
        assert stage.cache_bytes == demand.spec.cache_bytes(stage.span, demand.context, demand.precision)
        assert stage.weights_bytes + stage.cache_bytes <= memory_bytes


def by_largest_remainder(num_layers: int, capacities: list[int]) -> list[int]:
    ideals = [Fraction(num_layers * capacity, sum(capacities)) for capacity in capacities]
    shares = [int(ideal) for ideal in ideals]
    by_remainder = sorted(range(len(ideals)), key=lambda i: (shares[i] - ideals[i], i))
    for index in by_remainder[: num_layers - sum(shares)]:
        shares[index] += 1
    return shares


def near_edges(num_layers: int) -> st.SearchStrategy[int]:
    """Memories at and around the sizes at which one more layer, or one more table, fits."""
    return st.builds(
        lambda layers, tables, extra: max(0, layers * LAYER + tables * TABLE + extra),
        st.integers(0, num_layers + 1),
        st.integers(0, 2),
        st.sampled_from([-1, 0, 1, 1151, 1152, 1153]),  # around the final norm's bytes
    )


SOME_DEMANDS = st.builds(
    lambda tied, precision, context: Demand(replace(SMALL, tied_embeddings=tied), precision, context),
    st.booleans(),
    st.sampled_from(Precision),
    st.sampled_from([1, 1024]),
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(SOME_DEMANDS, st.lists(st.floats(0, 7), max_size=4))
def test_the_fewest_nodes_are_taken_and_refused_only_what_cannot_be(
    demand: Demand, sizes_in_layers: list[float]
) -> None:
    memories = [int(size * demand.layer_bytes) for size in sizes_in_layers]
    assert outcome(demand, memories) == fewest_by_brute_force(demand, memories)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(near_edges(30), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_spans_cover_the_model_within_each_memory_whatever_the_order(
    memories: list[int], rng: random.Random
) -> None:
    devices = candidates(memories)
    try:
        found = plan(DEMAND, devices)
    except InsufficientMemory:
        return
    check(DEMAND, found, memories)
    rng.shuffle(devices)
    assert plan(DEMAND, devices) == found


def _room(memory_bytes: int, *, is_first: bool, is_last: bool) -> int:
    most = DEMAND.capacities(memory_bytes, SMOLLM2.whole)
    if is_first:
        return most.alone if is_last else most.first
    return most.last if is_last else most.inner


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(near_edges(30), min_size=1, max_size=8))
def test_layers_are_in_proportion_to_room(memories: list[int]) -> None:
    try:
        found = plan(DEMAND, candidates(memories))
    except InsufficientMemory:
        return
    stages = found.stages
    capacities = [
        _room(memories[int(s.node.node_id, 16)], is_first=s is stages[0], is_last=s is stages[-1])
        for s in stages
    ]
    shares = [stage.span.num_layers for stage in stages]
    for share, capacity in zip(shares, capacities, strict=True):
        assert abs(share - SMOLLM2.num_layers * capacity / sum(capacities)) <= 1
    if all(SMOLLM2.num_layers * capacity >= sum(capacities) for capacity in capacities):
        assert shares == by_largest_remainder(SMOLLM2.num_layers, capacities)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(near_edges(12), min_size=1, max_size=8), st.booleans())
def test_the_missing_bytes_are_just_enough(memories: list[int], is_tied: bool) -> None:
    demand = replace(DEMAND, spec=replace(SMOLLM2, tied_embeddings=is_tied))
    missing = missing_bytes(demand, candidates(memories))
    largest = max(range(len(memories)), key=lambda i: memories[i])

    def with_more(extra_bytes: int) -> int | None:
        return outcome(demand, [m + extra_bytes * (i == largest) for i, m in enumerate(memories)])

    assert with_more(missing) is not None
    assert missing == 0 or with_more(missing - 1) is None


def test_three_devices_share_a_model_that_fits_on_none() -> None:
    memories = [70_000_000, 60_000_000, 50_000_000]
    found = plan(DEMAND, candidates(memories))
    check(DEMAND, found, memories)
    assert len(found.stages) == 3
    assert found.model == SMOLLM2.ref
    assert found.context == 1024


def test_one_node_that_holds_all_is_preferred_to_many() -> None:
    found = plan(DEMAND, candidates([DEMAND.whole_bytes - 1, DEMAND.whole_bytes, 10 * LAYER]))
    assert [(stage.node.name, stage.span) for stage in found.stages] == [("device1", Span(0, 30))]


def test_equal_nodes_are_taken_by_their_id() -> None:
    found = plan(DEMAND, candidates([80_000_000] * 4))
    assert [stage.node.name for stage in found.stages] == ["device0", "device1"]


def test_no_more_nodes_are_used_than_there_are_layers() -> None:
    small = replace(DEMAND, spec=replace(SMOLLM2, num_layers=2))
    assert outcome(small, [LAYER] * 50) is None
    assert outcome(small, [LAYER + TABLE + 2304] * 50) == 2


def test_a_node_without_room_for_a_layer_is_left_out() -> None:
    memories = [80_000_000, 75_000_000, LAYER - 1]
    found = plan(DEMAND, candidates(memories))
    assert [stage.node.name for stage in found.stages] == ["device0", "device1"]


def test_the_refusal_names_the_figures() -> None:
    memories = [50_000_000, 20_999_999]
    devices = candidates(memories)
    with pytest.raises(InsufficientMemory) as refusal:
        plan(DEMAND, devices)
    text = str(refusal.value)
    missing_mb = -(-missing_bytes(DEMAND, devices) // 1_000_000)
    whole_mb = -(-DEMAND.whole_bytes // 1_000_000)
    weights_mb = -(-SMOLLM2.weights_bytes(SMOLLM2.whole, Precision.INT4) // 1_000_000)
    assert f"smollm2:135m needs {whole_mb} MB on one device" in text
    assert f"weights {weights_mb} MB, cache for 1024 tokens" in text
    assert "device0 50, device1 20" in text
    assert f"{missing_mb} MB are missing" in text
    assert outcome(DEMAND, [memories[0] + missing_mb * 1_000_000, memories[1]]) is not None


def test_the_ends_go_to_the_nodes_where_they_cost_the_fewest_layers() -> None:
    """A table costs two layers, or one where nine tenths of a layer are left over."""
    demand = replace(DEMAND, spec=replace(SMALL, num_layers=12))
    found = plan(demand, candidates([LAYER * tenths // 10 for tenths in (41, 40, 39, 39)]))
    assert [stage.node.name for stage in found.stages] == ["device2", "device0", "device1", "device3"]


def test_a_plan_leaves_spare_memory_alone() -> None:
    lent = candidates([150_000_000, 90_000_000, 80_000_000])
    spared = [replace(lent[0], spare_bytes=130_000_000), *lent[1:]]
    assert plan(DEMAND, spared) == plan(DEMAND, [replace(lent[0], memory_bytes=20_000_000), *lent[1:]])
    assert [stage.node.name for stage in plan(DEMAND, spared).stages] == ["device1", "device2"]


def test_the_refusal_tells_of_memory_kept_spare() -> None:
    kept = [replace(device, spare_bytes=80_000_000) for device in candidates([100_000_000, 70_000_000])]
    assert missing_bytes(DEMAND, kept) == missing_bytes(DEMAND, candidates([20_000_000, 0]))
    with pytest.raises(InsufficientMemory, match=r"device0 20 \(80 more kept spare\), device1 0 \(70 more"):
        plan(DEMAND, kept)


def test_a_part_of_a_model_is_dealt_with_only_the_ends_that_it_touches() -> None:
    demand = replace(DEMAND, spec=SMALL)
    sizes = [2 * LAYER, LAYER + SMALL.table_bytes(Precision.INT4)]
    offers = [Offer(device.node, device.memory_bytes) for device in candidates(sizes)]

    def dealt(span: Span) -> list[tuple[str, int]]:
        return [(stage.node.name, stage.span.num_layers) for stage in deal(demand, span, offers) or ()]

    assert dealt(Span(2, 5)) == [("device1", 2), ("device0", 1)]
    assert dealt(Span(0, 3)) == [("device1", 1), ("device0", 2)]
    assert dealt(Span(3, 6)) == []  # the final norm is too much


def test_without_candidates_the_refusal_says_how_to_get_one() -> None:
    with pytest.raises(InsufficientMemory, match="no device of the mesh has it; run `mesh pull smollm2"):
        plan(DEMAND, [])


def test_a_house_full_of_small_devices_is_refused_at_once() -> None:
    """Once this took a minute, in which the gateway's heartbeats stood still."""
    with pytest.raises(InsufficientMemory, match="missing"):
        plan(DEMAND, candidates([LAYER + index for index in range(60)]))
