"""A good chain of many nodes: a simple one that small changes make better, until none does any more.

Owns the changes. Pure. The best chain of all it may miss by some percent; up to ten nodes
`mesh.logic.chain_search` finds that.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations, cycle, pairwise
from math import fsum, inf

from mesh.logic.chains import Chain, Delays, Seat, in_order

_TINY_S = 1e-12  # less than that is rounding

_MUCH = 1000  # nodes, times nodes of an order: beyond it only one order is climbed from
_SHAKEN = 3000  # times nodes, times nodes of the order: a tenth of a second, or so
_EXCHANGED = 0.6

_Kind = Callable[[list[int], float], Iterator[tuple[float, list[int]]]]
"""Changes of an order that takes so long: what each comes to, and the order that it makes."""


def near(seats: Sequence[Seat], ways: Delays, num_layers: int, *, is_shaken: bool = True) -> Chain | None:
    """Return a chain that small changes do not better; None where none has room. For any number of seats.

    Where it need not be so good it is not shaken, which is most of the work.
    """
    climb = Climb(seats, ways, num_layers)
    starts = climb.starts()
    if starts and len(seats) * len(starts[0]) > _MUCH:
        starts = [min(starts, key=climb.seconds)]
    orders = [order for start in starts if (order := climb.climbed(start)) is not None]
    if orders and is_shaken:
        orders.append(climb.shaken(min(orders, key=climb.seconds)))
    chains = [chain for order in orders if (chain := in_order(order, seats, ways, num_layers)) is not None]
    return min(chains, key=lambda chain: chain.seconds, default=None)


class Climb:
    """Chains as orders of nodes, bettered by small changes.

    Seconds of an order are reckoned as if cuts had no influence beyond each node's number of layers: the
    quickest take what they can hold. That is so but for stages that are warm.
    """

    def __init__(self, seats: Sequence[Seat], ways: Delays, num_layers: int) -> None:
        self._seats = seats
        self._ways = ways
        self._num_layers = num_layers
        self._paces = [seat.layer_s + seat.begin_layer_s for seat in seats]

    def starts(self) -> list[list[int]]:
        """Orders to begin with: the quickest, roomiest, nearest or cheapest nodes that hold all together."""
        kinds: tuple[Callable[[int], tuple[float, float]], ...]
        kinds = (self._by_pace, self._by_room, self._by_nearness, self._by_cost)
        found = [self._enough(sorted(range(len(self._seats)), key=kind)) for kind in kinds]
        return [order for index, order in enumerate(found) if order and order not in found[:index]]

    def promising(self, order: Sequence[int], count: int) -> list[int]:
        """So many nodes: those of an order, and those that would change it to the least seconds."""
        now = list(order)
        others = [index for index in range(len(self._seats)) if index not in now]
        others.sort(key=lambda index: min(self._with(index, now, 0.0))[0])
        return now + others[: max(0, count - len(now))]

    def _by_pace(self, index: int) -> tuple[float, float]:
        return self._paces[index], -self._seats[index].inner

    def _by_room(self, index: int) -> tuple[float, float]:
        return -self._seats[index].inner, self._paces[index]

    def _by_nearness(self, index: int) -> tuple[float, float]:
        seat = self._seats[index]
        return seat.enter_s + seat.leave_s, self._paces[index]

    def _by_cost(self, index: int) -> tuple[float, float]:
        """What a layer costs with its share of the way there."""
        seat = self._seats[index]
        return (seat.begin_s + min(self._ways[index])) / max(seat.inner, 1) + self._paces[index], index

    def _enough(self, ranked: Sequence[int]) -> list[int]:
        """The first so many that hold all layers; none where all together do not."""
        for count in range(1, len(ranked) + 1):
            order = self._with_ends(list(ranked[:count]))
            if self.seconds(order) < inf:
                return order
        return []

    def _with_ends(self, some: list[int]) -> list[int]:
        """The same nodes, the roomiest for each end at the ends."""
        if len(some) < 2:
            return some
        last = max(some, key=lambda i: self._seats[i].last - self._seats[i].inner)
        rest = [i for i in some if i != last]
        first = max(rest, key=lambda i: self._seats[i].first - self._seats[i].inner)
        return [first, *(i for i in rest if i != first), last]

    def seconds(self, order: Sequence[int]) -> float:
        """Seconds of an order with the best numbers of layers; infinite where it has no room."""
        seats, count, ways = self._seats, self._num_layers, self._ways
        first, last = seats[order[0]], seats[order[-1]]
        total = first.enter_s + first.first_s + last.last_s + last.leave_s
        if len(order) == 1:
            seconds = total + first.begin_s + self._paces[order[0]] * count
            return seconds if first.alone >= count else inf
        rooms = [seats[index].inner for index in order]
        rooms[0], rooms[-1] = first.first, last.last
        if min(rooms) < 1 or sum(rooms) < count or len(order) > count:
            return inf
        for one, other in pairwise(order):
            total += ways[one][other]
        left = count - len(order)
        shares = sorted((self._paces[index], room) for index, room in zip(order, rooms, strict=True))
        for pace_s, room in shares:
            more = min(left, room - 1)
            total += pace_s * (more + 1)
            left -= more
        return total + fsum(seats[index].begin_s for index in order)

    def climbed(self, order: list[int]) -> list[int] | None:
        """Take the best change of each kind in turn, until none of any kind betters the order."""
        best_s, num_in_vain = self.seconds(order), 0
        kinds: list[_Kind] = [
            self._at_ends,
            self._turned,
            self._moved,
            *(partial(self._with, seat) for seat in range(len(self._seats))),
        ]
        for kind in cycle(kinds):
            if best_s == inf or num_in_vain == len(kinds):
                return None if best_s == inf else order
            changed_s, changed = min(kind(order, best_s), default=(inf, order))
            num_in_vain += 1
            if changed_s < best_s - _TINY_S:
                order, num_in_vain = changed, 0
                best_s = self.seconds(order)
        return None

    def shaken(self, order: list[int]) -> list[int]:
        """Disturb an order and climb again, many times where that is quick; return the best that was met."""
        rng = random.Random(len(self._seats))  # the same seats shall have the same chain
        best_s = self.seconds(order)
        for _ in range(_SHAKEN // (len(self._seats) * len(order))):
            other = self.climbed(self._disturbed(order, rng))
            if other is not None and (other_s := self.seconds(other)) < best_s - _TINY_S:
                order, best_s = other, other_s
        return order

    def _disturbed(self, order: list[int], rng: random.Random) -> list[int]:
        """Exchange some nodes for others, or their places; where that leaves no room, the order as it is."""
        some, others = order.copy(), [index for index in range(len(self._seats)) if index not in order]
        for _ in range(rng.randint(1, 3)):
            at, to = rng.randrange(len(some)), rng.randrange(len(some))
            if others and rng.random() < _EXCHANGED:
                which = rng.randrange(len(others))
                some[at], others[which] = others[which], some[at]
            else:
                some[at], some[to] = some[to], some[at]
        return some if self.seconds(some) < inf else order

    def _with(self, seat: int, order: list[int], now_s: float) -> Iterator[tuple[float, list[int]]]:
        """Have a node take part, in another's place or between two; or no more, where it does."""
        inner = range(1, len(order) - 1)
        if seat in order:
            some = [index for index in order if index != seat]
            if some:
                yield self.seconds(some), some
            return
        if len(order) > 1:
            yield from self._between(seat, order)
        ends = ([seat, *order], [*order, seat], [seat, *order[1:]], [*order[:-1], seat])
        for some in (*ends, *([*order[:at], seat, *order[at + 1 :]] for at in inner)):
            yield self.seconds(some), some

    def _between(self, seat: int, order: list[int]) -> Iterator[tuple[float, list[int]]]:
        """Put a node between two others; only the ways differ."""
        with_it_s = self.seconds([order[0], seat, *order[1:]]) - self._detour_s(order[0], seat, order[1])
        for at, (one, other) in enumerate(pairwise(order), 1):
            yield with_it_s + self._detour_s(one, seat, other), [*order[:at], seat, *order[at:]]

    def _detour_s(self, one: int, over: int, other: int) -> float:
        return self._ways[one][over] + self._ways[over][other] - self._ways[one][other]

    def _turned(self, order: list[int], now_s: float) -> Iterator[tuple[float, list[int]]]:
        """Take a part of the order the other way round; the ends stay, so only the ways differ."""
        least_s = now_s - self._way_s(order)
        for one, other in combinations(range(1, len(order) - 1), 2):
            some = order[:one] + order[one : other + 1][::-1] + order[other + 1 :]
            yield least_s + self._way_s(some), some

    def _moved(self, order: list[int], now_s: float) -> Iterator[tuple[float, list[int]]]:
        """Put a node elsewhere between the ends; only the ways differ."""
        least_s = now_s - self._way_s(order)
        inner = range(1, len(order) - 1)
        for at in inner:
            rest = order[:at] + order[at + 1 :]
            for to in inner:
                if to != at:
                    some = [*rest[:to], order[at], *rest[to:]]
                    yield least_s + self._way_s(some), some

    def _at_ends(self, order: list[int], now_s: float) -> Iterator[tuple[float, list[int]]]:
        """Give an end to another node of the order."""
        for at in range(1, len(order) - 1):
            for end in (0, len(order) - 1):
                some = order.copy()
                some[at], some[end] = some[end], some[at]
                yield self.seconds(some), some
        yield self.seconds(order[::-1]), order[::-1]

    def _way_s(self, order: Sequence[int]) -> float:
        return fsum(self._ways[one][other] for one, other in pairwise(order))
