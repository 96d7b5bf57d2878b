"""Simple rules of placement, as other systems have them, on the same seats as the mesh's planner.

Owns one function for each rule, after what the systems' sources and trackers tell. None knows of links. A
rule that finds no place for all layers gives None. Capacities are kept to the byte, though most systems
count less exactly and would run out of memory: where a rule mends what it wanted, it says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks.placing.filling import (
    Placement,
    by_flops,
    by_pace,
    by_room,
    filled,
    in_proportion,
    in_shares,
)
from benchmarks.placing.homes import Household
from mesh.logic.chains import Part, Seat

Rule = Callable[[Household, Sequence[Seat]], Placement | None]


def by_memory(home: Household, seats: Sequence[Seat]) -> Placement | None:
    """Layers in proportion to free memory over all devices, the roomiest first (exo).

    LocalAI and llama.cpp RPC go by free memory too. exo has no term for bandwidth, latency or caches. What is
    above a device's room goes to the others in proportion; a device whose share rounds to none takes no part.
    """
    memory = [float(one.memory_bytes) for one in home.members]
    return in_proportion(by_room(home), memory, seats, home.num_layers)


def filled_by_flops(home: Household, seats: Sequence[Seat]) -> Placement | None:
    """The device that computes most first, filled up, then the next (cake: greedy by TFLOPS)."""
    return filled(by_flops(home), seats, home.num_layers)


def shared_by_flops(home: Household, seats: Sequence[Seat]) -> Placement | None:
    """Layers in proportion to TFLOPS, bounded by memory (Parallax: dynamic program, then water filling).

    Its dynamic program is taken to choose the fewest devices, which are the roomiest. What is above a
    device's room goes to the others.
    """
    order, flops = by_room(home), [one.profile.prefill_flops for one in home.members]
    for count in range(1, len(order) + 1):
        placement = in_proportion(order[:count], flops, seats, home.num_layers)
        if placement is not None:
            return placement
    return None


def filled_by_bandwidth(home: Household, seats: Sequence[Seat]) -> Placement | None:
    """The device that decodes fastest first, filled up, then the next. Nobody's rule."""
    return filled(by_pace(seats), seats, home.num_layers)


def equal_slices(home: Household, seats: Sequence[Seat]) -> Placement | None:
    """Equal runs of layers on 2, 4, 8 … devices, as many as hold them, the fastest with room for a share.

    After distributed-llama (2^n nodes, no more than heads of keys and values), which slices tensors instead;
    for that see `sliced_s`.
    """
    for count in reversed(powers(home)):
        share = -(-home.num_layers // count)
        order = [index for index in by_pace(seats) if seats[index].inner >= share][:count]
        shares = [(home.num_layers + place) // count for place in range(len(order))]
        placement = in_shares(order, shares, seats) if len(order) == count else None
        if placement is not None:
            return placement
    return None


def one_device(home: Household, seats: Sequence[Seat]) -> Placement | None:
    """All on the device that decodes fastest of those with room for all (a single machine)."""
    able = [index for index in by_pace(seats) if seats[index].alone >= home.num_layers]
    return Placement((Part(able[0], 0, home.num_layers),)) if able else None


RULES: Mapping[str, Rule] = {
    "by memory (exo)": by_memory,
    "filled by TFLOPS (cake)": filled_by_flops,
    "shared by TFLOPS (Parallax)": shared_by_flops,
    "filled by bandwidth": filled_by_bandwidth,
    "equal slices of layers": equal_slices,
    "fastest one device": one_device,
}


def sliced_s(home: Household, seats: Sequence[Seat]) -> float | None:
    """Seconds of a token where every tensor is sliced over 2^n devices; None where that fits nowhere.

    After distributed-llama, whose nodes a person names: taken to be the fastest with room for a slice, and so
    many that it is quickest. All compute at once, and after each of a layer's two halves the slowest way is
    gone once. No chain: the mesh does nothing alike.
    """
    times_s = [_sliced_over(count, home, seats) for count in powers(home)]
    return min((seconds for seconds in times_s if seconds is not None), default=None)


def _sliced_over(count: int, home: Household, seats: Sequence[Seat]) -> float | None:
    slice_bytes = home.demand.whole_bytes / count
    order = [index for index in by_pace(seats) if home.members[index].memory_bytes >= slice_bytes][:count]
    if len(order) < count:
        return None
    ways, root = home.ways(), order[0]
    way_s = max(ways[root][other] for other in order[1:])
    num_layers = home.num_layers
    whole_s = max(num_layers * seats[index].layer_s + seats[index].last_s for index in order)
    fixed_s = max(seats[index].begin_s for index in order)
    return whole_s / count + fixed_s + 2 * num_layers * way_s + seats[root].enter_s + seats[root].leave_s


def powers(home: Household) -> list[int]:
    """Numbers of devices over which a model can be sliced: 2, 4, 8 …, no more than heads of keys."""
    most = min(len(home.members), home.demand.spec.num_kv_heads)
    return [2**power for power in range(1, most.bit_length())]
