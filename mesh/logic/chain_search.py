"""The best chain of nodes for the layers of a model: who takes part, in which order, and where the cuts are.

Owns the search: exact, by dynamic programming over sets of nodes. Pure.

For a set of nodes and the one that comes last, the best way to have computed the layers before a cut does
not depend on what follows. A stage's seconds grow by the same amount with each layer, so the best cut before
it is the least of a sliding window. What cannot be completed any more, by room or by what is known to be
possible already, is not followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf

from mesh.logic.chain_climb import Climb, near
from mesh.logic.chains import Chain, Delays, Part, Row, Seat, chain_s, extended, first_row

MOST_EXACT = 10
"""Up to so many nodes the best chain is found; of more a good one."""


def best_chain(seats: Sequence[Seat], ways: Delays, num_layers: int) -> Chain | None:
    """Return the chain of the least seconds, of more than MOST_EXACT seats a good one; None without room."""
    known = near(seats, ways, num_layers, is_shaken=len(seats) > MOST_EXACT)
    if known is None:
        return fastest(seats, ways, num_layers) if len(seats) <= MOST_EXACT else None
    if len(known.parts) > MOST_EXACT:
        return known
    order = [part.seat for part in known.parts]
    some = sorted(Climb(seats, ways, num_layers).promising(order, MOST_EXACT))
    some_ways = [[ways[one][other] for other in some] for one in some]
    better = fastest([seats[index] for index in some], some_ways, num_layers, known.seconds)
    if better is None:
        return known
    return Chain(tuple(replace(part, seat=some[part.seat]) for part in better.parts), better.seconds)


def fastest(seats: Sequence[Seat], ways: Delays, num_layers: int, below_s: float = inf) -> Chain | None:
    """Return the chain of the least seconds; None where none has room, or takes less than `below_s`.

    Its work doubles with each seat: for some ten.
    """
    parts = _Search(seats, ways, num_layers, below_s).run()
    return Chain(parts, chain_s(parts, seats, ways, num_layers)) if parts else None


class _Search:
    """Sets of nodes, from small ones to large ones, so that short chains bound the long ones."""

    def __init__(self, seats: Sequence[Seat], ways: Delays, num_layers: int, below_s: float) -> None:
        self._seats = seats
        self._ways = ways
        self._num_layers = num_layers
        self._rooms = [max(seat.inner, seat.last, 0) for seat in seats]
        self._by_pace = sorted(range(len(seats)), key=lambda index: seats[index].layer_s)
        self._by_room = sorted(range(len(seats)), key=lambda index: -self._rooms[index])
        self._nearest_s = [
            min((row[index] for other, row in enumerate(ways) if other != index), default=0.0)
            for index in range(len(seats))
        ]
        self._rows: dict[int, dict[int, Row]] = {}
        """By set of nodes, and by the last of them."""
        self._best_s = below_s
        self._end: tuple[int, int, int] | None = None
        """Of the best chain: the nodes before the last, the last, and where its stage starts."""

    def run(self) -> tuple[Part, ...]:
        """Return the stages of the best chain that is better than the known one; none where none is."""
        num_seats = len(self._seats)
        self._begin()
        for nodes in sorted(range(1, 1 << num_seats), key=int.bit_count):
            if nodes.bit_count() >= self._num_layers:
                break
            if nodes in self._rows:
                rest_s = self._rest_s(nodes)
                for seat in range(num_seats):
                    if not nodes >> seat & 1:
                        self._extend(nodes, seat, rest_s)
        return self._traced()

    def _begin(self) -> None:
        count = self._num_layers
        for index, seat in enumerate(self._seats):
            if seat.alone >= count:
                self._offer(seat.enter_s + seat.stage_s(0, count, count) + seat.leave_s, (0, index, 0))
            self._keep(1 << index, index, first_row(seat, count))

    def _keep(self, nodes: int, last: int, row: Row) -> None:
        trimmed = row.trimmed()
        if trimmed is not None:
            self._rows.setdefault(nodes, {})[last] = trimmed

    def _rest_s(self, nodes: int) -> list[float]:
        """By cut, seconds that what is behind it takes at least, by nodes that are not in a set.

        Each node but the first of them has a way to it, and of the layers the quickest nodes take what they
        can hold.
        """
        count = self._num_layers
        free = [index for index in self._by_pace if not nodes >> index & 1]
        if not free:
            return [inf] * (count + 1)
        end_s = min(self._seats[index].last_s + self._seats[index].leave_s for index in free)
        way_s = min(self._nearest_s[index] for index in free)
        layers_s, num_nodes = [0.0], [0]
        for index in free:
            seat_s, already_s = self._seats[index].layer_s, layers_s[-1]
            layers_s += [already_s + seat_s * more for more in range(1, self._rooms[index] + 1)]
            if len(layers_s) > count:
                break
        for number, index in enumerate((i for i in self._by_room if not nodes >> i & 1), 1):
            num_nodes += [number] * self._rooms[index]
            if len(num_nodes) > count:
                break
        possible = min(len(layers_s), len(num_nodes))
        return [
            end_s + layers_s[rest] + way_s * (num_nodes[rest] - 1) if rest < possible else inf
            for rest in range(count, -1, -1)
        ]

    def _extend(self, nodes: int, index: int, rest_s: Sequence[float]) -> None:
        """Let a node follow a set of others."""
        least, bound_s = self._least(nodes, index), self._best_s
        before = Row(
            least.at,
            [
                seconds if seconds + more_s < bound_s else inf
                for seconds, more_s in zip(least.seconds, rest_s[least.at : least.end], strict=True)
            ],
        ).trimmed()
        if before is None:
            return
        seat, count = self._seats[index], self._num_layers
        start = before.best_start(seat, count, count)
        if start is not None:
            seconds = before.until(start) + seat.stage_s(start, count, count) + seat.leave_s
            self._offer(seconds, (nodes, index, start))
        self._keep(nodes | 1 << index, index, extended(before, seat, count))

    def _least(self, nodes: int, index: int) -> Row:
        """The least seconds until each cut, and from there to a node, by chains of a set."""
        rows = [row.later(self._ways[last][index]) for last, row in self._rows[nodes].items()]
        if len(rows) == 1:
            return rows[0]
        at, end = min(row.at for row in rows), max(row.end for row in rows)
        filled = [[inf] * (row.at - at) + row.seconds + [inf] * (end - row.end) for row in rows]
        return Row(at, [min(some) for some in zip(*filled, strict=True)])

    def _offer(self, seconds: float, end: tuple[int, int, int]) -> None:
        if seconds < self._best_s:
            self._best_s, self._end = seconds, end

    def _traced(self) -> tuple[Part, ...]:
        """Walk back from the end of the best chain."""
        if self._end is None:
            return ()
        (nodes, index, start), end, parts = self._end, self._num_layers, list[Part]()
        while True:
            parts.append(Part(index, start, end))
            if start == 0:
                return tuple(reversed(parts))
            nodes, index, start, end = *self._previous(nodes, index, start), start

    def _previous(self, nodes: int, follower: int, cut: int) -> tuple[int, int, int]:
        """The nodes before it, the last of them, and where its stage starts, of the best way to a cut."""
        rows, ways = self._rows[nodes], self._ways
        last = min(rows, key=lambda other: rows[other].until(cut) + ways[other][follower])
        rest = nodes & ~(1 << last)
        start = self._least(rest, last).best_start(self._seats[last], cut, self._num_layers) if rest else 0
        assert start is not None  # the row says that there is one
        return rest, last, start
