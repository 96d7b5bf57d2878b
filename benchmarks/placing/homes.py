"""Random households: devices with memory and links, one that asks, and a model that fits among them.

Owns what is drawn, and the seats and ways that follow from it by the profile library's figures: a step by the
roofline, a way by both devices' links. Must not know how anything is placed. All weights count as loaded.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import permutations

from mesh.logic.capacity import Demand
from mesh.logic.chains import Seat
from mesh.types import Precision, Span, StageKey
from simulator.devices.roofline import FrameSize, StageCost, batch_seconds
from simulator.profiles.reading import device_profiles, link_profile, model_specs
from simulator.profiles.types import DeviceProfile, LinkProfile

FEW, MANY = (2, 10), (11, 24)
"""Least and most devices: of a usual household, and of every tenth."""
TOO_LARGE = 0.5
"""Share of households that ask, where there is one, for a model that no device of theirs holds alone."""

_WIRELESS = ("wifi5", "wifi6", "wifi7")
_WIRED = "ethernet"
_TOKEN_BYTES = 4
_OURS = "tiny"  # no model that anybody asks
_LEAST_SHARE = 0.3  # of the profile's usable memory
_CONTEXTS = (1024, 8192)


@dataclass(frozen=True, slots=True)
class Member:
    """One device of a household."""

    profile: DeviceProfile
    link: LinkProfile
    memory_bytes: int

    @property
    def leg_s(self) -> float:
        """Its part of any way, without the bytes: one crossing of its link, and handling the message."""
        return self.link.delay_s + self.profile.message_overhead_s


@dataclass(frozen=True, slots=True)
class Household:
    """Who is there, who asks, and for what model."""

    name: str
    """SEED:INDEX, from which alone it was drawn."""
    members: tuple[Member, ...]
    asker: int
    demand: Demand

    @property
    def num_layers(self) -> int:
        """Of the model."""
        return self.demand.spec.num_layers

    @property
    def has_one_for_all(self) -> bool:
        """Whether some device holds the whole model."""
        return any(one.memory_bytes >= self.demand.whole_bytes for one in self.members)

    def way_s(self, one: int, other: int, num_bytes: int) -> float:
        """Seconds from one device to another: both legs, and the bytes at the slower one's rate."""
        if one == other:
            return 0.0
        first, second = self.members[one], self.members[other]
        rate_bps = min(first.link.rate_bps, second.link.rate_bps)
        return first.leg_s + second.leg_s + 8 * num_bytes / rate_bps

    def ways(self, num_rows: int = 1) -> list[list[float]]:
        """Seconds of so many rows from each to each other."""
        num_bytes = num_rows * self.demand.spec.row_bytes(self.demand.precision)
        places = range(len(self.members))
        return [[self.way_s(one, other, num_bytes) for other in places] for one in places]

    def ask_s(self, index: int, num_rows: int = 1) -> float:
        """Seconds of so many tokens between who asks and a device."""
        return self.way_s(self.asker, index, num_rows * _TOKEN_BYTES)

    def stage_s(self, index: int, span: Span, position: int, num_rows: int = 1) -> float:
        """Seconds of a stage on a device for rows that begin at a position; the last stage draws a token."""
        spec = self.demand.spec
        cost = StageCost.of(spec, StageKey(spec.digest, span, self.demand.precision))
        size = FrameSize(position, num_rows, samples=spec.is_last(span))
        return batch_seconds(self.members[index].profile, cost, [size])

    def seats(self, position: int | None = None) -> list[Seat]:
        """What each brings to a chain for one row; without a position for one amid the context."""
        at = self.demand.context // 2 if position is None else position
        return [self._seat(index, at) for index in range(len(self.members))]

    def _seat(self, index: int, position: int) -> Seat:
        member, last = self.members[index], self.num_layers - 1
        fixed_s = member.profile.frame_overhead_s
        inner_s = self.stage_s(index, Span(1, 2), position)
        most = self.demand.capacities(member.memory_bytes, self.demand.spec.whole)
        return Seat(
            layer_s=inner_s - fixed_s,
            inner=most.inner,
            first=most.first,
            last=most.last,
            alone=most.alone,
            first_s=self.stage_s(index, Span(0, 1), position) - inner_s,
            last_s=self.stage_s(index, Span(last, last + 1), position) - inner_s,
            enter_s=self.ask_s(index),
            leave_s=self.ask_s(index),
            begin_s=fixed_s,  # of every stage, as none of them counts as warm
        )


def household(seed: int, index: int) -> Household:
    """Draw a household; every tenth is a large one. The same numbers give the same one."""
    name = f"{seed}:{index}"
    rng = random.Random(name)
    size = rng.randint(*(MANY if index % 10 == 9 else FEW))
    while True:
        home = _with_model(name, tuple(_member(rng) for _ in range(size)), rng)
        if home is not None:
            return home


def _member(rng: random.Random) -> Member:
    """Any device; with a cable only those that usually have one."""
    profile = rng.choice(device_profiles())
    links = (*_WIRELESS, _WIRED) if profile.link == _WIRED else _WIRELESS
    memory_bytes = int(profile.usable_bytes * rng.uniform(_LEAST_SHARE, 1))
    return Member(profile, link_profile(rng.choice(links)), memory_bytes)


def _with_model(name: str, members: tuple[Member, ...], rng: random.Random) -> Household | None:
    """Any of the models that fit; None where none does."""
    asker, context, is_large = rng.randrange(len(members)), rng.randint(*_CONTEXTS), rng.random() < TOO_LARGE
    specs = [spec for spec in model_specs() if spec.name != _OURS]
    homes = [
        Household(name, members, asker, Demand(spec, Precision.INT4, context))
        for spec in rng.sample(specs, len(specs))
    ]
    able = [home for home in homes if has_room(home.seats(), home.num_layers)]
    too_large = [home for home in able if is_large and not home.has_one_for_all]
    return next(iter([*too_large, *able]), None)


def has_room(seats: Sequence[Seat], num_layers: int) -> bool:
    """Whether one device or any chain of them can hold all layers."""
    if any(seat.alone >= num_layers for seat in seats):
        return True
    return any(
        one.first + other.last + _most_between(seats, one, other, num_layers - 2) >= num_layers
        for one, other in permutations(seats, 2)
        if one.first >= 1 and other.last >= 1
    )


def _most_between(seats: Sequence[Seat], first: Seat, last: Seat, num_stages: int) -> int:
    rooms = [max(0, seat.inner) for seat in seats if seat is not first and seat is not last]
    return sum(nlargest(num_stages, rooms))
