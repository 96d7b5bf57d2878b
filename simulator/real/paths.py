"""The way of bytes from one device to another, as rates and delays; the arithmetic of the shaper.

Owns when a piece of data is through, counted as the virtual network counts it: a piece occupies every medium
on its way for as long as the slowest takes, and a radio that it crosses twice for both crossings. Pure: `now`
and a generator come in, a time goes out. Must not know sockets.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from simulator.profiles import DeviceProfile
from simulator.script import DeviceScript, PathScript, Script

_BITS = 8

Action = Callable[[float], None]


@dataclass(slots=True)
class Medium:
    """Something that carries one piece of data at a time: a cable's direction, or a radio's air."""

    free_s: float = 0.0
    """When what it carries now is through."""


@dataclass(frozen=True, slots=True)
class Use:
    """A medium on the way, and how long a byte occupies it."""

    medium: Medium
    s_per_byte: float


@dataclass(slots=True)
class Path:
    """The way from one device to another, and what befalls it."""

    source: str
    target: str
    uses: tuple[Use, ...]
    base_delay_s: float
    jitter_s: float
    """Mean of an exponentially distributed addition to the delay."""
    rng: random.Random
    is_blocked: bool = False
    extra_delay_s: float = 0.0
    slowness: float = 1.0
    """The rate is divided by it."""
    parked: list[Action] = field(default_factory=list)
    """What is to go on when the path is free again, in order."""
    num_pieces: int = 0
    num_bytes: int = 0

    @property
    def delay_s(self) -> float:
        """Of a piece without bytes, from end to end."""
        return self.base_delay_s + self.extra_delay_s

    def arrival_s(self, num_bytes: int, now_s: float) -> float:
        """Put a piece on its way behind all others; return when it arrives."""
        begins_s = max([now_s, *(use.medium.free_s for use in self.uses)])
        longest_s = max((use.s_per_byte for use in self.uses), default=0.0) * num_bytes * self.slowness
        for use in self.uses:
            use.medium.free_s = begins_s + longest_s
        jitter_s = self.rng.expovariate(1 / self.jitter_s) if self.jitter_s > 0 else 0.0
        return begins_s + longest_s + self.delay_s + jitter_s


def paths_of(script: Script, profile: Callable[[str], DeviceProfile]) -> dict[tuple[str, str], Path]:
    """The ways between the devices of a script, by source and target, and from each to its own clients.

    There is none between two local networks. What a profile says that handling a message costs its two
    systems is part of the delay.
    """
    direct = {(path.source, path.target): path for path in script.paths}
    media = _Media(script)
    costs_s = {device.name: profile(device.profile).message_overhead_s for device in script.devices}
    paths = {}
    for source in script.devices:
        for target in script.devices:
            ends = (source.name, target.name)
            rng = random.Random(f"{script.seed}/path/{source.name}/{target.name}")
            if source is target:
                paths[ends] = Path(*ends, (), 0.0, 0.0, rng)
            elif ends in direct:
                paths[ends] = _direct(direct[ends], rng)
            elif source.lan == target.lan:
                paths[ends] = _by_lan(source, target, media, rng)
            else:
                continue
            paths[ends].base_delay_s += costs_s[source.name] + costs_s[target.name]
    return paths


class _Media:
    """What devices share."""

    def __init__(self, script: Script) -> None:
        spaces = {lan.radio: Medium() for lan in script.lans}
        self.air: Mapping[str, Medium] = {lan.name: spaces[lan.radio] for lan in script.lans}
        self.up = {device.name: Medium() for device in script.devices}
        self.down = {device.name: Medium() for device in script.devices}


def _direct(path: PathScript, rng: random.Random) -> Path:
    use = Use(Medium(), _BITS / path.rate_bps)
    return Path(path.source, path.target, (use,), path.delay_s, path.jitter_s, rng)


def _by_lan(source: DeviceScript, target: DeviceScript, media: _Media, rng: random.Random) -> Path:
    up, down = source.link, target.link
    first = Use(media.air[source.lan] if up.is_shared else media.up[source.name], _BITS / up.up_rate_bps)
    second = Use(
        media.air[target.lan] if down.is_shared else media.down[target.name], _BITS / down.down_rate_bps
    )
    is_same = first.medium is second.medium
    uses = (Use(first.medium, first.s_per_byte + second.s_per_byte),) if is_same else (first, second)
    delay_s, jitter_s = up.delay_s + down.delay_s, up.jitter_s + down.jitter_s
    return Path(source.name, target.name, uses, delay_s, jitter_s, rng)
