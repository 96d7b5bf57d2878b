"""The best chain, against trying all out and against an integer program."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from math import inf, isclose

import pytest

from mesh.logic.chain_climb import near
from mesh.logic.chain_search import MOST_EXACT, best_chain, fastest
from mesh.logic.chains import Chain, Part, Seat, chain_s, in_order
from tests.logic.chain_instances import Instance, drawn, solved, tried_out

CLOSE = 1e-9


def seconds_of(chain: Chain | None) -> float:
    return chain.seconds if chain else inf


def check(chain: Chain | None, instance: Instance) -> None:
    """That a chain holds all layers, each once, and each node no more than it can."""
    if chain is None:
        return
    seats, ways, num_layers = instance
    parts = chain.parts
    assert [part.start for part in parts] == [0, *(part.end for part in parts[:-1])]
    assert parts[-1].end == num_layers
    assert len({part.seat for part in parts}) == len(parts)
    for part in parts:
        most = seats[part.seat].most(part.start, part.end, num_layers)
        assert 1 <= part.end - part.start <= most
    assert isclose(chain.seconds, chain_s(parts, seats, ways, num_layers), rel_tol=CLOSE)


@pytest.mark.parametrize("seed", range(20))
def test_up_to_five_nodes_it_is_the_best_of_all_that_there_are(seed: int) -> None:
    rng = random.Random(f"all of {seed}")
    num_possible = 0
    for _ in range(25):
        instance = drawn(rng, rng.randint(1, 5), rng.randint(1, 10))
        chain = best_chain(*instance)
        check(chain, instance)
        assert isclose(seconds_of(chain), tried_out(*instance), rel_tol=CLOSE)
        num_possible += chain is not None
    assert num_possible > 5


@pytest.mark.parametrize("seed", range(10))
def test_of_eight_nodes_it_is_the_best_by_an_integer_program(seed: int) -> None:
    rng = random.Random(f"solved {seed}")
    num_possible = 0
    for most in (6, 9, 12, 18, 24):
        instance = drawn(rng, 8, 24, most=most)
        chain = best_chain(*instance)
        check(chain, instance)
        assert isclose(seconds_of(chain), solved(*instance), rel_tol=1e-6)
        num_possible += chain is not None
    assert num_possible >= 3


@pytest.mark.parametrize("seed", range(12))
def test_of_more_nodes_it_is_hardly_worse_than_the_best(seed: int) -> None:
    rng = random.Random(f"many {seed}")
    for most in (4, 8, 24):
        instance = drawn(rng, MOST_EXACT + 2, 24, most=most)
        chain, best = best_chain(*instance), fastest(*instance)
        check(chain, instance)
        assert seconds_of(chain) <= 1.02 * seconds_of(best)


def test_of_sixty_four_nodes_it_finds_one_wherever_there_is_room() -> None:
    rng = random.Random(1)
    for most in (3, 8, 64):
        instance = drawn(rng, 64, 64, most=most)
        chain = best_chain(*instance)
        assert chain is not None
        check(chain, instance)


@pytest.mark.parametrize("seed", range(8))
def test_the_best_does_not_depend_on_the_order_in_which_nodes_are_named(seed: int) -> None:
    rng = random.Random(f"order {seed}")
    seats, ways, num_layers = drawn(rng, 6, 12)
    order = rng.sample(range(6), 6)
    turned = best_chain([seats[i] for i in order], [[ways[i][j] for j in order] for i in order], num_layers)
    assert isclose(seconds_of(turned), seconds_of(best_chain(seats, ways, num_layers)), rel_tol=CLOSE)


def more_memory(rng: random.Random, instance: Instance) -> Instance:
    seats, ways, num_layers = instance
    at, more = rng.randrange(len(seats)), rng.randint(1, 4)
    one = seats[at]
    grown = replace(
        one, inner=one.inner + more, first=one.first + more, last=one.last + more, alone=one.alone + more
    )
    return [*seats[:at], grown, *seats[at + 1 :]], ways, num_layers


def a_faster_link(rng: random.Random, instance: Instance) -> Instance:
    seats, ways, num_layers = instance
    one, other = rng.randrange(len(seats)), rng.randrange(len(seats))
    shorter = [
        [s / 2 if (i, j) == (one, other) else s for j, s in enumerate(row)] for i, row in enumerate(ways)
    ]
    return seats, shorter, num_layers


def one_more_device(rng: random.Random, instance: Instance) -> Instance:
    seats, ways, num_layers = instance
    (more,), _, _ = drawn(rng, 1, num_layers)
    longer = [[*row, rng.uniform(0, 4)] for row in ways]
    return [*seats, more], [*longer, [*(rng.uniform(0, 4) for _ in seats), 0.0]], num_layers


@pytest.mark.parametrize("change", [more_memory, a_faster_link, one_more_device])
@pytest.mark.parametrize("seed", range(10))
def test_what_helps_never_makes_the_best_worse(
    change: Callable[[random.Random, Instance], Instance], seed: int
) -> None:
    rng = random.Random(seed)
    for _ in range(5):
        instance = drawn(rng, rng.randint(1, 6), 12)
        before, after = best_chain(*instance), best_chain(*change(rng, instance))
        assert seconds_of(after) <= seconds_of(before) * (1 + CLOSE)


EQUAL = Seat(layer_s=1.0, inner=4, first=4, last=4, alone=4)
NEAR = [[0.0, 0.1, 0.1], [0.1, 0.0, 0.1], [0.1, 0.1, 0.0]]


@pytest.mark.parametrize(
    ("seats", "num_layers", "parts"),
    [
        ([EQUAL], 4, [Part(0, 0, 4)]),
        ([EQUAL, replace(EQUAL, layer_s=0.5)], 4, [Part(1, 0, 4)]),
        # A node that is much quicker takes what it can hold, and one that only slows takes no part.
        ([EQUAL, replace(EQUAL, layer_s=0.1, alone=3), EQUAL], 4, [Part(0, 0, 4)]),
        ([EQUAL, replace(EQUAL, warm=((0, 3),), begin_s=0.0)], 4, [Part(0, 0, 4)]),
        ([replace(EQUAL, begin_s=1.0), replace(EQUAL, begin_s=1.0, warm=((0, 4),))], 4, [Part(1, 0, 4)]),
    ],
)
def test_cases_that_a_person_can_follow(seats: list[Seat], num_layers: int, parts: list[Part]) -> None:
    chain = best_chain(seats, NEAR, num_layers)
    assert chain is not None
    if list(chain.parts) != parts:
        assert chain.seconds < chain_s(parts, seats, NEAR, num_layers)


def test_without_room_there_is_none() -> None:
    assert best_chain([EQUAL, EQUAL], NEAR, 9) is None
    assert best_chain([], [], 4) is None
    assert near([EQUAL, EQUAL], NEAR, 9) is None
    assert in_order([0, 1], [EQUAL, replace(EQUAL, last=0)], NEAR, 5) is None
