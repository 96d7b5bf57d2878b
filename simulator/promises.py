"""What must come true after everything is healed: the mesh's progress.

Owns the promises and how each is looked at. A promise is looked at again and again until it is met or its
time is over: safety first, then liveness.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from mesh.client import Client
from mesh.errors import MeshError
from mesh.types import NodeState
from simulator.asking import Asked, OpenClient
from simulator.claims import PromiseName
from simulator.devices.device import VirtualDevice
from simulator.result import Complaint
from simulator.script import Promise

T = TypeVar("T")

_FIRST_LOOK_S = 0.5  # after the healing; the gap to the next look is twice as long each time
_LONGEST_GAP_S = 4.0


@dataclass(frozen=True, slots=True)
class Wrong:
    """Why a promise is not met yet."""

    cause: str
    """What two failures have in common; see Complaint."""
    text: str


class Promised(Protocol):
    """What promises are about: a household, virtual or real."""

    @property
    def requests(self) -> Sequence[Asked]:
        """All that is asked in the run."""

    def now_s(self) -> float:
        """Seconds of the run."""

    def circles(self) -> Mapping[str, frozenset[str]]:
        """For each device that runs, those whom it should see alive, itself among them."""

    async def seen_alive(self, name: str) -> frozenset[str]:
        """Whom a device sees alive; raise the MeshError that keeps it from saying so."""

    async def num_held(self, name: str) -> int:
        """How many caches a device holds, 0 where it does not run; raise MeshError as before."""


@dataclass(frozen=True, slots=True)
class Household:
    """A virtual one."""

    devices: list[VirtualDevice]
    requests: list[Asked]
    open_client: OpenClient
    clock: Callable[[], float]

    def now_s(self) -> float:
        """Seconds of the run; see `Promised`."""
        return self.clock()

    def circles(self) -> Mapping[str, frozenset[str]]:
        """Whom each should see; see `Promised`."""
        running = [device for device in self.devices if device.is_running]
        members: dict[tuple[str, int], frozenset[str]] = {}
        for device in running:
            members[_circle(device)] = members.get(_circle(device), frozenset()) | {device.name}
        return {device.name: members[_circle(device)] for device in running}

    async def seen_alive(self, name: str) -> frozenset[str]:
        """Whom a device sees; see `Promised`."""
        return await seen_alive(await self.open_client(name))

    async def num_held(self, name: str) -> int:
        """How many caches a device holds; see `Promised`."""
        device = next(device for device in self.devices if device.name == name)
        return len(device.held_sessions)


def _circle(device: VirtualDevice) -> tuple[str, int]:
    return device.script.mesh, device.version.major


async def seen_alive(client: Client) -> frozenset[str]:
    """Names of the devices that a client's gateway sees alive."""
    return frozenset(d.record.name for d in await client.devices() if d.state is NodeState.ALIVE)


async def keep(promise: Promise, household: Promised, from_s: float) -> Complaint | None:
    """Wait until a promise is met (None) or its time is over; `from_s` is when its time began."""
    look, over_s = _LOOKS[promise.name], from_s + promise.within_s
    gap_s, wrong = _FIRST_LOOK_S, Wrong("no_time", "there was no time")
    while household.now_s() < over_s:
        await asyncio.sleep(min(gap_s, over_s - household.now_s()))
        seen = await look(household, over_s)
        if seen is None:
            return None
        wrong = seen
        gap_s = min(2 * gap_s, _LONGEST_GAP_S)
    text = f"not within {promise.within_s:g} s: {wrong.text}"
    return Complaint(promise.name, household.now_s(), text, cause=wrong.cause)


async def _answered(household: Promised, over_s: float) -> Wrong | None:
    """Whoever asks after the time is over was promised nothing."""
    in_time = [a for a in household.requests if a.script.asks_again and a.script.at_s < over_s]
    waiting = [a for a in in_time if not a.is_answered]
    if not waiting:
        return None
    first = waiting[0]
    whose = f"request {first.script.number} on {first.script.device}"
    text = f"{whose} {_state(first)}{_and_others(len(waiting) - 1)}"
    return Wrong(first.error or "under_way", text)


def _state(asked: Asked) -> str:
    if not asked.num_attempts:
        return f"is to be asked at {asked.script.at_s:g} s"
    if asked.ended_s is not None:
        return f"failed with '{asked.error}' in attempt {asked.num_attempts}"
    since = f"in attempt {asked.num_attempts} since {asked.asked_s:g} s"
    return f"is under way {since}, {len(asked.tokens)} tokens so far"


async def _converged(household: Promised, _: float) -> Wrong | None:
    wrong = []
    for name, expected in household.circles().items():
        seen = await _said(household.seen_alive(name))
        if seen != expected:
            wrong.append(_difference(name, seen, expected))
    return Wrong("views_differ", wrong[0] + _and_others(len(wrong) - 1)) if wrong else None


async def _said(saying: Awaitable[T]) -> T | str:
    """Return what a device says of itself, or what kept it from saying so."""
    try:
        return await saying
    except MeshError as error:
        return str(error)


def _difference(name: str, seen: frozenset[str] | str, expected: frozenset[str]) -> str:
    if isinstance(seen, str):
        return f"{name} does not say whom it sees ({seen})"
    missing, extra = sorted(expected - seen), sorted(seen - expected)
    parts = [f"misses {', '.join(missing)}"] if missing else []
    parts += [f"takes {', '.join(extra)} for alive"] if extra else []
    return f"{name} {' and '.join(parts)}"


async def _nothing_allotted(household: Promised, _: float) -> Wrong | None:
    if any(asked.is_under_way for asked in household.requests):
        return Wrong("under_way", "requests are still under way")
    held = {name: await _said(household.num_held(name)) for name in household.circles()}
    wrong = [f"{name} {_holding(said)}" for name, said in held.items() if said != 0]
    return Wrong("caches", wrong[0] + _and_others(len(wrong) - 1)) if wrong else None


def _holding(said: int | str) -> str:
    return f"does not say what it holds ({said})" if isinstance(said, str) else f"holds {said} caches"


def _and_others(num_others: int) -> str:
    return f", and {num_others} more" if num_others > 0 else ""


_LOOKS: dict[str, Callable[[Promised, float], Awaitable[Wrong | None]]] = {
    PromiseName.ANSWERED: _answered,
    PromiseName.CONVERGED: _converged,
    PromiseName.NOTHING_ALLOTTED: _nothing_allotted,
}
"""Each says what is still wrong; None where nothing is."""
