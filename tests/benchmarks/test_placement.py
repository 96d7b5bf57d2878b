"""Random households: placements are valid, the mesh's is never slower, and a seed says it all."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import permutations

import pytest
from click.testing import CliRunner

from benchmarks import placement
from benchmarks.placement import Seen, seen
from benchmarks.placing import homes
from benchmarks.placing.beside import compared, lines, placed, planned
from benchmarks.placing.filling import Placement, filled, in_proportion, is_valid
from benchmarks.placing.homes import FEW, Household, has_room, household
from benchmarks.placing.requests import CHOSEN, believed, drawn, policies, regrets, request_s
from benchmarks.placing.rules import RULES
from mesh.logic.chains import Chain, Part, Seat
from mesh.types import Span

NUM_HOUSEHOLDS = 20
ROOMY = Seat(layer_s=1.0, inner=8, first=7, last=6, alone=5)


@cache
def some() -> tuple[tuple[Household, Chain], ...]:
    drawn_homes = (household(0, index) for index in range(NUM_HOUSEHOLDS))
    return tuple((home, planned(home)[0]) for home in drawn_homes)


def shares(placed_: Placement | None) -> list[tuple[int, int]] | None:
    return None if placed_ is None else [(part.seat, part.end - part.start) for part in placed_.parts]


def check(home: Household, parts: Sequence[Part]) -> None:
    """That all layers are there, and that each device has the memory, counted by what stages weigh."""
    spec, demand = home.demand.spec, home.demand
    assert [layer for part in parts for layer in range(part.start, part.end)] == list(range(spec.num_layers))
    assert len({part.seat for part in parts}) == len(parts)
    for part in parts:
        span = Span(part.start, part.end)
        weights_bytes = spec.weights_bytes(span, demand.precision)
        cache_bytes = spec.cache_bytes(span, demand.context, demand.precision)
        assert weights_bytes + cache_bytes <= home.members[part.seat].memory_bytes


@pytest.mark.slow
def test_every_placement_fits_to_the_byte() -> None:
    num_found = 0
    for home, chain in some():
        check(home, chain.parts)
        for one in placed(home, home.seats()).values():
            check(home, one.parts)
            num_found += 1
    assert num_found > 4 * NUM_HOUSEHOLDS


@pytest.mark.slow
def test_the_mesh_is_never_slower_than_a_rule() -> None:
    for home, chain in some():
        assert compared(home, chain, 0.0).losses == {}


def test_a_rule_that_is_quicker_is_told_and_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    home = household(0, 0)
    chain, _ = planned(home)
    one = compared(home, replace(chain, seconds=chain.seconds * 100), 0.0)
    assert set(one.losses) == set(one.rules_s)
    monkeypatch.setattr(placement, "seen", lambda *_: Seen((one,), (regrets(home, chain),)))
    ran = CliRunner().invoke(placement.main, ["--households", "1"])
    assert ran.exit_code == 1
    assert f"household 0:0 ({one.num_devices} devices): " in ran.output


@pytest.mark.slow
def test_the_same_seed_gives_the_same_and_another_another() -> None:
    assert seen(2, 3) == seen(2, 3)
    assert household(3, 0) == household(3, 0) != household(4, 0)


@pytest.mark.slow
def test_every_tenth_household_is_large_and_every_model_fits() -> None:
    for index in range(8, 21):
        home = household(5, index)
        assert (len(home.members) > FEW[1]) is (index % 10 == 9)
        assert has_room(home.seats(), home.num_layers)


@pytest.mark.parametrize("seed", range(5))
def test_what_has_room_is_what_some_order_has_room_for(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(20):
        seats = [_seat(rng) for _ in range(rng.randint(1, 4))]
        orders = [
            order for count in range(1, len(seats) + 1) for order in permutations(range(len(seats)), count)
        ]
        is_possible = any(filled(order, seats, 9) is not None for order in orders)
        assert has_room(seats, 9) is is_possible


def _seat(rng: random.Random) -> Seat:
    inner = rng.randint(0, 6)
    return replace(ROOMY, inner=inner, first=inner - 1, last=inner - 2, alone=inner - 3)


@pytest.mark.parametrize(
    ("weights", "num_layers", "given", "is_mended"),
    [
        ([2.0, 1.0, 1.0], 12, [(0, 6), (1, 3), (2, 3)], False),
        ([1.0, 1.0, 0.01], 8, [(0, 4), (1, 4)], False),
        ([8.0, 1.0, 1.0], 12, [(0, 7), (1, 3), (2, 2)], True),
        ([1.0, 1.0, 10.0], 21, [(0, 7), (1, 8), (2, 6)], True),
    ],
)
def test_proportions_are_mended_where_a_device_would_overflow(
    weights: list[float], num_layers: int, given: list[tuple[int, int]], *, is_mended: bool
) -> None:
    found = in_proportion([0, 1, 2], weights, [ROOMY] * 3, num_layers)
    assert shares(found) == given
    assert found is not None
    assert found.is_mended is is_mended


def test_without_room_a_rule_finds_nothing() -> None:
    assert in_proportion([0, 1], [1.0, 1.0], [ROOMY] * 2, 14) is None
    assert filled([0, 1], [ROOMY] * 2, 14) is None


def test_filling_takes_as_few_as_hold_all_and_passes_over_who_holds_nothing() -> None:
    nothing = replace(ROOMY, inner=0, first=0, last=0, alone=0)
    seats = [ROOMY, nothing, ROOMY, ROOMY]
    assert shares(filled([0, 1, 2, 3], seats, 5)) == [(0, 5)]
    assert shares(filled([0, 1, 2, 3], seats, 6)) == [(0, 5), (2, 1)]
    assert shares(filled([1, 2, 3, 0], seats, 16)) == [(2, 7), (3, 8), (0, 1)]


@pytest.mark.parametrize(
    "parts",
    [
        [Part(0, 0, 4)],
        [Part(0, 0, 4), Part(0, 4, 9)],
        [Part(0, 0, 4), Part(1, 5, 9)],
        [Part(0, 0, 2), Part(1, 2, 9)],
        [Part(0, 0, 9)],
    ],
)
def test_gaps_repeats_and_too_much_are_not_valid(parts: list[Part]) -> None:
    assert is_valid([Part(0, 0, 4), Part(1, 4, 9)], [ROOMY] * 2, 9)
    assert not is_valid(parts, [ROOMY] * 2, 9)


def test_a_request_goes_where_it_is_predicted_to_be_quickest() -> None:
    home = household(0, 2)
    chain, _ = planned(home)
    request = drawn(home, random.Random(1))
    chosen = policies(home, chain, request)
    least_s = min(request_s(home, request, parts) for parts in chosen.values())
    assert request_s(home, request, chosen[CHOSEN]) == least_s
    assert request.prompt + request.answer <= home.demand.context


def test_nothing_betters_the_best_in_hindsight_and_errors_spare_memory() -> None:
    home = household(0, 1)
    assert min(regrets(home, planned(home)[0]).values()) >= 1
    known = believed(home, random.Random(1))
    assert [one.memory_bytes for one in known.members] == [one.memory_bytes for one in home.members]
    assert known.members != home.members


def test_a_step_in_seats_is_the_roofline_s() -> None:
    home = household(0, 0)
    seat, count = home.seats(100)[0], home.num_layers
    whole_s = home.stage_s(0, home.demand.spec.whole, 100)
    assert seat.stage_s(0, count, count) == pytest.approx(whole_s, rel=0.01)


def test_every_rule_has_its_line() -> None:
    home = household(0, 0)
    one = compared(home, planned(home)[0], 0.0)
    assert [line.rule for line in lines([one])][:-1] == list(RULES)
    assert all(line.num_compared <= 1 for line in lines([one]))
    assert homes.MANY[0] == FEW[1] + 1
