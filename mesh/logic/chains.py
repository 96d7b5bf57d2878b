"""Chains of nodes for the layers of a model: what one is, how long it takes, and where it is best cut.

Owns the reckoning on numbers alone. Pure. What seconds and capacities mean, and where they come from, is the
business of `mesh.logic.cost`; which nodes are tried in which order that of `mesh.logic.chain_search`.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, inf
from typing import Protocol

Delays = Sequence[Sequence[float]]
"""Seconds from each node to each other."""


class Places(Protocol):
    """Most layers that a node could hold in each place of a chain."""

    @property
    def inner(self) -> int:
        """Neither the first nor the last."""

    @property
    def first(self) -> int:
        """Below 1: it cannot be there."""

    @property
    def last(self) -> int:
        """Likewise."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What one node brings to a chain: seconds of a step, and most layers in each place of it."""

    layer_s: float
    inner: int
    first: int
    last: int
    alone: int
    first_s: float = 0.0
    """Beside its layers where it is the first; likewise the last. Alone it has both."""
    last_s: float = 0.0
    enter_s: float = 0.0
    """From who asks to this node."""
    leave_s: float = 0.0
    """And from it to who asks."""
    begin_s: float = 0.0
    """For any stage that is not warm: loading it, shared out over the steps that it will serve."""
    begin_layer_s: float = 0.0
    """And for each layer of it."""
    warm: tuple[tuple[int, int], ...] = ()
    """Spans [start, end) that it has loaded."""

    def stage_s(self, start: int, end: int, num_layers: int) -> float:
        """Seconds of a stage of a model of so many layers, with its share of loading."""
        seconds = self.layer_s * (end - start)
        seconds += (self.first_s if start == 0 else 0.0) + (self.last_s if end == num_layers else 0.0)
        if (start, end) not in self.warm:
            seconds += self.begin_s + self.begin_layer_s * (end - start)
        return seconds

    def most(self, start: int, end: int, num_layers: int) -> int:
        """Layers that it could hold in the place of such a stage."""
        if start == 0:
            return self.alone if end == num_layers else self.first
        return self.last if end == num_layers else self.inner


@dataclass(frozen=True, slots=True)
class Part:
    """One stage of a chain."""

    seat: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Chain:
    """Stages in order, and the seconds of one step through all of them and back."""

    parts: tuple[Part, ...]
    seconds: float


def best_ends(nodes: Sequence[Places]) -> tuple[int, int] | None:
    """Indices of the two nodes at which the ends cost the fewest layers; None where two are not to be had.

    Of equals the first. The cost at one end does not depend on the other node, so for each first only the
    two best lasts matter. Whole chains for each choice took a minute for 36 devices that are too small.
    """
    able_last = [index for index, node in enumerate(nodes) if node.last >= 1]
    best_lasts = sorted(able_last, key=lambda i: nodes[i].inner - nodes[i].last)[:2]
    pairs = [
        (index, next(last for last in best_lasts if last != index))
        for index, node in enumerate(nodes)
        if node.first >= 1 and any(last != index for last in best_lasts)
    ]

    def cost(ends: tuple[int, int]) -> int:
        first, last = nodes[ends[0]], nodes[ends[1]]
        return first.inner - first.first + last.inner - last.last

    return min(pairs, key=cost, default=None)


def chain_s(parts: Sequence[Part], seats: Sequence[Seat], ways: Delays, num_layers: int) -> float:
    """Seconds of one step through a chain and back to who asks."""
    inside = fsum(seats[part.seat].stage_s(part.start, part.end, num_layers) for part in parts)
    between = fsum(ways[one.seat][other.seat] for one, other in itertools.pairwise(parts))
    return seats[parts[0].seat].enter_s + inside + between + seats[parts[-1].seat].leave_s


@dataclass(slots=True)
class Row:
    """The least seconds until each cut of a run of cuts, by chains that end with a certain node."""

    at: int
    """The first cut."""
    seconds: list[float]

    @property
    def end(self) -> int:
        """Behind the last cut."""
        return self.at + len(self.seconds)

    def later(self, way_s: float) -> Row:
        """The same after a way."""
        return Row(self.at, [seconds + way_s for seconds in self.seconds])

    def until(self, cut: int) -> float:
        """The least seconds until a cut; infinite where no chain is cut there."""
        return self.seconds[cut - self.at] if self.at <= cut < self.end else inf

    def best_start(self, seat: Seat, end: int, num_layers: int) -> int | None:
        """Where a node's stage that ends at a cut starts best behind this; None where it cannot."""
        starts = range(max(self.at, end - seat.most(self.at, end, num_layers)), min(self.end, end))
        best = min(starts, key=lambda s: self.until(s) + seat.stage_s(s, end, num_layers), default=None)
        return None if best is None or self.until(best) == inf else best

    def trimmed(self) -> Row | None:
        """Without what is infinite at both ends; None where all is."""
        seconds, low, high = self.seconds, 0, len(self.seconds)
        while high > low and seconds[high - 1] == inf:
            high -= 1
        while low < high and seconds[low] == inf:
            low += 1
        if low == high:
            return None
        return self if high - low == len(seconds) else Row(self.at + low, seconds[low:high])


def first_row(seat: Seat, num_layers: int) -> Row:
    """The seconds until each cut with a node's stage as the first, and others behind it."""
    cuts = range(1, min(seat.first, num_layers - 1) + 1)
    return Row(1, [seat.enter_s + seat.stage_s(0, cut, num_layers) for cut in cuts])


def extended(before: Row, seat: Seat, num_layers: int) -> Row:
    """The least seconds until each cut with an inner stage of a node behind what came before."""
    most, step_s, begin_s = seat.inner, seat.layer_s + seat.begin_layer_s, seat.begin_s
    first = before.at + 1
    if most < 1:
        return Row(first, [])
    row, window = list[float](), deque[tuple[float, int]]()  # what came before, less the steps until there
    for cut in range(first, min(before.end + most, num_layers)):
        seconds = before.until(cut - 1)
        if seconds < inf:
            level = seconds - step_s * (cut - 1)
            while window and window[-1][0] >= level:
                window.pop()
            window.append((level, cut - 1))
        if window and window[0][1] < cut - most:
            window.popleft()
        row.append(window[0][0] + step_s * cut + begin_s if window else inf)
    for start, end in seat.warm:
        if 0 < start < end < num_layers and end - start <= most and before.until(start) < inf:
            row[end - first] = min(row[end - first], before.until(start) + seat.layer_s * (end - start))
    return Row(first, row)


def in_order(order: Sequence[int], seats: Sequence[Seat], ways: Delays, num_layers: int) -> Chain | None:
    """Cut the layers in the best way for nodes in a certain order, each with one layer at least."""
    first, *others = order
    if not others:
        if seats[first].alone < num_layers:
            return None
        only = (Part(first, 0, num_layers),)
        return Chain(only, chain_s(only, seats, ways, num_layers))
    rows = [first_row(seats[first], num_layers)]
    for one, other in zip(order, others[:-1], strict=False):
        rows.append(extended(rows[-1].later(ways[one][other]), seats[other], num_layers))
    end, parts = num_layers, list[Part]()
    for row, index in zip(reversed(rows), reversed(others), strict=True):
        start = row.best_start(seats[index], end, num_layers)
        if start is None:
            return None
        parts.append(Part(index, start, end))
        end = start
    parts = [Part(first, 0, end), *reversed(parts)]
    return Chain(tuple(parts), chain_s(parts, seats, ways, num_layers))
