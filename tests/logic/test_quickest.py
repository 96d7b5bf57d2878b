"""Plans among devices that are known to differ in speed."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from math import inf, nan

import pytest

from mesh.logic.capacity import Candidate
from mesh.logic.partition import plan
from mesh.logic.speeds import FASTEST, SLOWEST, weights_rate
from mesh.types import StepSpeed
from tests.logic.houses import DEMAND, ENDS, LAYER, candidate, loaded, speed_of
from tests.speeds import SPEED

WHOLE = DEMAND.whole_bytes
SLOW, QUICK = 1e9, 8e9


def placed(*candidates: Candidate) -> list[tuple[str, int, int]]:
    return [(s.node.name, s.span.start, s.span.end) for s in plan(DEMAND, candidates).stages]


def half(name: str, rate: float | None) -> Candidate:
    """A device that holds three layers of six, at any place."""
    return candidate(name, 3 * LAYER + ENDS, rate=rate)


def test_a_request_goes_whole_to_the_quickest_that_holds_it_though_another_has_more_room() -> None:
    assert placed(candidate("a", 3 * WHOLE, rate=SLOW), candidate("b", WHOLE, rate=QUICK)) == [("b", 0, 6)]


def test_a_device_that_only_slows_takes_no_part() -> None:
    assert placed(candidate("a", WHOLE, rate=QUICK), candidate("b", WHOLE, rate=SLOW)) == [("a", 0, 6)]


def test_two_quick_ones_are_better_than_a_slow_one_that_holds_all() -> None:
    devices = candidate("a", WHOLE, rate=2e8), half("b", QUICK), half("c", QUICK)
    assert {name for name, _, _ in placed(*devices)} == {"b", "c"}


def test_a_split_that_gains_less_than_the_ways_cost_is_not_made() -> None:
    devices = candidate("a", WHOLE, rate=QUICK), half("b", 1.3 * QUICK), half("c", 1.3 * QUICK)
    assert placed(*devices) == [("a", 0, 6)]


def test_the_quicker_takes_what_it_can_hold_and_the_slower_the_rest() -> None:
    devices = candidate("a", 4 * LAYER + ENDS, rate=QUICK), candidate("b", 4 * LAYER + ENDS, rate=SLOW)
    assert {(name, end - start) for name, start, end in placed(*devices)} == {("a", 4), ("b", 2)}


def test_devices_that_differ_by_little_share_in_proportion_to_their_room() -> None:
    devices = (
        candidate("a", 5 * LAYER + ENDS, rate=QUICK),
        candidate("b", 5 * LAYER + ENDS, rate=1.02 * QUICK),
    )
    assert placed(*devices) == placed(*(replace(device, speed=None) for device in devices))
    assert [end - start for _, start, end in placed(*devices)] == [3, 3]


def test_one_that_was_not_measured_counts_as_the_slowest() -> None:
    quick, slow = candidate("b", WHOLE, rate=QUICK), candidate("c", 2 * WHOLE, rate=SLOW)
    assert placed(candidate("a", 9 * WHOLE), quick, slow) == [("b", 0, 6)]
    assert [name for name, _, _ in placed(candidate("a", 9 * WHOLE), slow)] == ["a"]


def test_what_is_loaded_stays_where_it_is_unless_a_move_is_worth_its_loading() -> None:
    here = replace(candidate("a", WHOLE, rate=QUICK), stages=loaded((0, 6)))
    assert placed(here, candidate("b", WHOLE, rate=1.12 * QUICK)) == [("a", 0, 6)]
    assert placed(here, candidate("b", WHOLE, rate=8 * QUICK)) == [("b", 0, 6)]


def test_the_order_in_which_devices_are_heard_of_does_not_matter() -> None:
    devices = [half("a", 3e9), half("b", QUICK), half("c", SLOW), half("d", None)]
    assert len({tuple(placed(*some)) for some in permutations(devices)}) == 1


def test_memory_stays_a_hard_limit() -> None:
    devices = [
        candidate(name, 2 * LAYER + ENDS, rate=rate)
        for name, rate in zip("abcd", (1e9, 2e9, 4e9, 8e9), strict=True)
    ]
    for stage in plan(DEMAND, devices).stages:
        assert stage.weights_bytes + stage.cache_bytes <= 2 * LAYER + ENDS


@pytest.mark.parametrize("layer_s", [nan, inf, -inf, 0.0, -1.0])
def test_a_figure_that_means_nothing_is_none(layer_s: float) -> None:
    assert weights_rate(replace(SPEED, steps=(StepSpeed(1, layer_s, 0.0),))) is None
    assert weights_rate(None) is None


def test_what_nobody_can_be_is_not_believed() -> None:
    assert weights_rate(speed_of(1e18)) == FASTEST
    assert weights_rate(speed_of(1.0)) == SLOWEST
    assert weights_rate(speed_of(5e9)) == pytest.approx(5e9)


def test_a_split_leaves_room_for_more_sessions_where_that_costs_nothing_to_speak_of() -> None:
    cache = DEMAND.spec.layer_cache_bytes(DEMAND.context, DEMAND.precision)
    room = 3 * (LAYER + 3 * cache) + ENDS
    devices = candidate("a", room, rate=QUICK), candidate("b", room, rate=0.9 * QUICK)
    assert sorted(end - start for _, start, end in placed(*devices)) == [3, 3]
    slow = candidate("a", room, rate=QUICK), candidate("b", room, rate=SLOW / 4)
    assert sorted(end - start for _, start, end in placed(*slow)) == [1, 5], "a slow one holds what it must"
