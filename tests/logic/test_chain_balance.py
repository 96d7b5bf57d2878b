"""The chain that serves many sessions at once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise, permutations

import pytest

from mesh.logic.chain_balance import balanced_chain
from mesh.logic.chain_search import best_chain
from mesh.logic.chains import Part, Seat
from tests.logic.chain_instances import drawn

COUNT = 60


def slowest_s(parts: Sequence[Part], seats: Sequence[Seat], num_layers: int) -> float:
    return max(seats[part.seat].stage_s(part.start, part.end, num_layers) for part in parts)


def least_slowest_s(seats: Sequence[Seat], num_layers: int) -> float | None:
    """Try all chains."""
    found = list[float]()
    for size in range(1, min(len(seats), num_layers) + 1):
        for order in permutations(range(len(seats)), size):
            for cuts in combinations(range(1, num_layers), size - 1):
                places = pairwise([0, *cuts, num_layers])
                parts = tuple(Part(seat, *place) for seat, place in zip(order, places, strict=True))
                if all(seats[p.seat].most(p.start, p.end, num_layers) >= p.end - p.start for p in parts):
                    found.append(slowest_s(parts, seats, num_layers))
    return min(found, default=None)


@pytest.mark.parametrize("number", range(COUNT))
def test_its_slowest_stage_is_the_least_of_all_chains(number: int) -> None:
    drawn_seats, ways, num_layers = drawn(random.Random(f"balance/{number}"), 4, 8)
    seats = [replace(seat, warm=()) for seat in drawn_seats]
    chain, least_s = balanced_chain(seats, ways, num_layers), least_slowest_s(seats, num_layers)
    assert (chain is None) == (least_s is None)
    if chain is not None and least_s is not None:
        assert slowest_s(chain.parts, seats, num_layers) <= 1.031 * least_s


def test_equal_devices_share_alike_though_one_alone_would_be_sooner() -> None:
    seats = [Seat(layer_s=0.001, inner=9, first=9, last=9, alone=9) for _ in range(3)]
    ways = [[0.0 if a == b else 0.001 for b in range(3)] for a in range(3)]
    together = balanced_chain(seats, ways, 9)
    assert together is not None
    assert [part.end - part.start for part in together.parts] == [3, 3, 3]
    alone = best_chain(seats, ways, 9)
    assert alone is not None
    assert len(alone.parts) == 1
