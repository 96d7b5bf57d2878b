"""Orders of devices, and layers given out along an order, for the simple rules.

Owns the arithmetic that rules share. Pure. A device's room depends on its place: the first also holds the
embedding, the last the output head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from benchmarks.placing.homes import Household
from mesh.logic.chains import Part, Seat


@dataclass(frozen=True, slots=True)
class Placement:
    """Stages in order."""

    parts: tuple[Part, ...]
    is_mended: bool = False
    """Whether the rule itself gave some device more than it can hold."""


def by_room(home: Household) -> list[int]:
    """The roomiest device first."""
    return sorted(range(len(home.members)), key=lambda index: -home.members[index].memory_bytes)


def by_flops(home: Household) -> list[int]:
    """The device that computes most first."""
    return sorted(range(len(home.members)), key=lambda index: -home.members[index].profile.prefill_flops)


def by_pace(seats: Sequence[Seat]) -> list[int]:
    """The device that decodes fastest first."""
    return sorted(range(len(seats)), key=lambda index: seats[index].layer_s)


def filled(order: Sequence[int], seats: Sequence[Seat], num_layers: int) -> Placement | None:
    """Fill up the first devices, as few as hold all layers together; each behind keeps one layer at least.

    Devices without room for a layer are passed over.
    """
    able = [index for index in order if seats[index].inner >= 1]
    while able and seats[able[0]].first < 1:
        able = able[1:]
    for count in range(1, min(len(able), num_layers) + 1):
        some = able[:count]
        rooms = _rooms(some, seats)
        if min(rooms) >= 1 and sum(rooms) >= num_layers:
            return in_shares(some, _filled_shares(rooms, num_layers), seats)
    return None


def _filled_shares(rooms: Sequence[int], num_layers: int) -> list[int]:
    shares, left = list[int](), num_layers
    for num_behind, room in zip(reversed(range(len(rooms))), rooms, strict=True):
        shares.append(min(room, left - num_behind))
        left -= shares[-1]
    return shares


def in_proportion(
    order: Sequence[int], weights: Sequence[float], seats: Sequence[Seat], num_layers: int
) -> Placement | None:
    """Layers in proportion to weights, which are those of all seats; who would get none takes no part.

    What is above a device's room goes to the others in proportion.
    """
    wanted = _shares([weights[index] for index in order], [num_layers] * len(order), num_layers)
    takers = [index for index, share in zip(order, wanted, strict=True) if share]
    placement = in_shares(takers, [share for share in wanted if share], seats)
    return placement or _mended(order, weights, seats, num_layers)


def _mended(
    order: Sequence[int], weights: Sequence[float], seats: Sequence[Seat], num_layers: int
) -> Placement | None:
    """Leave out who has no room in its place, until all others can have what is theirs."""
    while order:
        rooms = _rooms(order, seats)
        shares: Sequence[int] = rooms
        if min(rooms) >= 1:
            if sum(rooms) < num_layers:
                return None
            shares = _shares([weights[index] for index in order], rooms, num_layers)
        kept = [index for index, share in zip(order, shares, strict=True) if share >= 1]
        if len(kept) == len(order):
            placement = in_shares(order, shares, seats)
            return None if placement is None else replace(placement, is_mended=True)
        order = kept
    return None


def _shares(weights: Sequence[float], rooms: Sequence[int], num_layers: int) -> list[int]:
    """Whole numbers in proportion to weights by largest remainder, none above its room, which must do."""
    ideal = _levelled(weights, rooms, num_layers)
    shares = [min(room, int(share)) for share, room in zip(ideal, rooms, strict=True)]
    for _ in range(num_layers - sum(shares)):
        open_to = [at for at, room in enumerate(rooms) if shares[at] < room]
        shares[max(open_to, key=lambda at: (ideal[at] - shares[at], -at))] += 1
    return shares


def _levelled(weights: Sequence[float], rooms: Sequence[int], num_layers: int) -> list[float]:
    """The same in fractions: whoever is full leaves the rest to the others."""
    full = set[int]()
    while True:
        rest = [at for at in range(len(rooms)) if at not in full]
        left = num_layers - sum(rooms[at] for at in full)
        each = left / sum(weights[at] for at in rest) if rest else 0.0
        more = [at for at in rest if weights[at] * each > rooms[at]]
        if not more:
            return [float(room) if at in full else weights[at] * each for at, room in enumerate(rooms)]
        full.update(more)


def in_shares(order: Sequence[int], shares: Sequence[int], seats: Sequence[Seat]) -> Placement | None:
    """So many layers to each device of an order; None where some device has no room for its own."""
    if any(share > room for share, room in zip(shares, _rooms(order, seats), strict=True)):
        return None
    cuts = pairwise(accumulate(shares, initial=0))
    return Placement(tuple(Part(index, *cut) for index, cut in zip(order, cuts, strict=True)))


def _rooms(order: Sequence[int], seats: Sequence[Seat]) -> list[int]:
    """Most layers of each device in its place of an order."""
    if len(order) == 1:
        return [seats[order[0]].alone]
    first, *inner, last = (seats[index] for index in order)
    return [first.first, *(seat.inner for seat in inner), last.last]


def is_valid(parts: Sequence[Part], seats: Sequence[Seat], num_layers: int) -> bool:
    """Whether all layers are there once, in order, and no device has more than it can hold."""
    ends = [0, *(part.end for part in parts)]
    return (
        ends[:-1] == [part.start for part in parts]
        and ends[-1] == num_layers
        and len({part.seat for part in parts}) == len(parts)
        and all(
            1 <= part.end - part.start <= seats[part.seat].most(part.start, part.end, num_layers)
            for part in parts
        )
    )
