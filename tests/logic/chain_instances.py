"""Random seats and ways, and two independent ways to the least seconds of a chain of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise, permutations
from math import inf

import highspy

from mesh.logic.chains import Delays, Seat

Instance = tuple[list[Seat], list[list[float]], int]


def drawn(rng: random.Random, num_seats: int, num_layers: int, *, most: int | None = None) -> Instance:
    """Unequal seats with up to `most` layers each, and ways that have nothing to do with each other."""
    seats = [_seat(rng, num_layers, most or num_layers) for _ in range(num_seats)]
    ways = [[0.0 if i == j else rng.uniform(0, 4) for j in range(num_seats)] for i in range(num_seats)]
    return seats, ways, num_layers


def _seat(rng: random.Random, num_layers: int, most: int) -> Seat:
    inner = rng.randint(0, most)
    first, last = max(0, inner - rng.randint(0, 2)), max(0, inner - rng.randint(0, 3))
    starts = [rng.randrange(num_layers) for _ in range(rng.randint(0, 2))]
    return Seat(
        layer_s=rng.uniform(0.1, 5),
        inner=inner,
        first=first,
        last=last,
        alone=max(0, min(first, last) - rng.randint(0, 1)),
        first_s=rng.uniform(0, 0.5),
        last_s=rng.uniform(0, 3),
        enter_s=rng.uniform(0, 2),
        leave_s=rng.uniform(0, 2),
        begin_s=rng.uniform(0, 1),
        begin_layer_s=rng.uniform(0, 0.3),
        warm=tuple((start, rng.randint(start + 1, num_layers)) for start in starts),
    )


def tried_out(seats: Sequence[Seat], ways: Delays, num_layers: int) -> float:
    """The least seconds of all chains, each looked at; infinite where there is none."""
    least = inf
    for count in range(1, min(len(seats), num_layers) + 1):
        for order in permutations(range(len(seats)), count):
            way_s = sum(ways[one][other] for one, other in pairwise(order))
            ends_s = seats[order[0]].enter_s + seats[order[-1]].leave_s
            inside_s = _cuts([seats[index] for index in order], 0, num_layers)
            least = min(least, ends_s + way_s + inside_s)
    return least


def _cuts(seats: Sequence[Seat], start: int, num_layers: int) -> float:
    seat, *others = seats
    if not others:
        fits = num_layers - start <= seat.most(start, num_layers, num_layers)
        return seat.stage_s(start, num_layers, num_layers) if fits else inf
    furthest = min(num_layers - len(others), start + (seat.inner if start else seat.first))
    ends = range(start + 1, furthest + 1)
    return min(
        (seat.stage_s(start, end, num_layers) + _cuts(others, end, num_layers) for end in ends), default=inf
    )


def solved(seats: Sequence[Seat], ways: Delays, num_layers: int) -> float:
    """The least seconds by an integer program over spans and the ways between them; infinite where none."""
    model = highspy.Highs()  # type: ignore[no-untyped-call]
    model.silent()
    cuts, nodes = range(1, num_layers), range(len(seats))
    spans = {
        (node, start, end): model.addBinary(obj=_span_s(seats[node], start, end, num_layers))
        for node in nodes
        for start in range(num_layers)
        for end in range(start + 1, num_layers + 1)
        if end - start <= seats[node].most(start, end, num_layers)
    }
    steps = {
        (cut, one, other): model.addVariable(lb=0, ub=1, obj=ways[one][other])
        for cut in cuts
        for one in nodes
        for other in nodes
        if one != other
    }
    for node in nodes:
        mine = [taken for (who, _, _), taken in spans.items() if who == node]
        if mine:
            model.addConstr(model.qsum(mine) <= 1)
        for cut in cuts:
            ending = [taken for (who, _, end), taken in spans.items() if who == node and end == cut]
            starting = [taken for (who, start, _), taken in spans.items() if who == node and start == cut]
            leaving = [steps[cut, node, other] for other in nodes if other != node]
            arriving = [steps[cut, other, node] for other in nodes if other != node]
            model.addConstr(model.qsum(ending) == model.qsum(leaving))
            model.addConstr(model.qsum(starting) == model.qsum(arriving))
    model.addConstr(model.qsum([taken for (_, start, _), taken in spans.items() if start == 0]) == 1)
    model.addConstr(model.qsum([taken for (_, _, end), taken in spans.items() if end == num_layers]) == 1)
    model.setOptionValue("mip_rel_gap", 1e-9)
    model.run()
    if model.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return inf
    return float(model.getInfo().objective_function_value)


def _span_s(seat: Seat, start: int, end: int, num_layers: int) -> float:
    enter_s = seat.enter_s if start == 0 else 0.0
    leave_s = seat.leave_s if end == num_layers else 0.0
    return enter_s + seat.stage_s(start, end, num_layers) + leave_s
