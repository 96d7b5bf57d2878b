"""A soak: eight users with random lengths, some of whom give up, on two agents that split a model.

Run `python -m benchmarks.soak [--seconds S] [--seed N]`; `make soak` does, for an hour. It holds when no
answer failed, no agent's memory beside its books grew after the warm-up, and afterwards no session and no
byte is left beside weights and parked caches. Exit code 1 where it does not; what is seen is printed as it
goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import click

import mesh
from benchmarks.beside.links import LOOPBACK
from benchmarks.beside.mesh_side import MeshHome, MeshSetting, mesh_home
from benchmarks.soaking.leftovers import leftovers
from benchmarks.soaking.memory import Growth, Sample, growth
from benchmarks.soaking.users import Tally, User, Wishes
from mesh.adapters.disk_library import DiskLibrary
from mesh.errors import MeshError, first_of
from mesh.now import now_s
from mesh.store.shelf import ModelStore
from nodes.options import DEFAULT_MODEL, default_data_dir

NUM_USERS = 8
_ROOM = NUM_USERS // 2
"""Sessions of the longest context that there is room for. Those of the users take half of it, so that as many
are served and as many again may be parked: soon all memory is used, and the rest of the time shows growth."""
_MB = 1_000_000
_LOOK_S = 2.0
_TELL_S = 60.0
_SETTLE_S = 15.0  # until what was given up is freed everywhere, and everybody was told
_LONGEST_WARM_S = 300.0
_WARM_ANSWERS = 80  # or given up: ten of each user; a busy machine may take longer for them
_NEVER_WARM = 3  # times as long as asked for: hardly anybody is answered


@dataclass(slots=True)
class Soaked:
    """What was seen."""

    tally: Tally = field(default_factory=Tally)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    """Of each agent."""
    left: list[str] = field(default_factory=list)
    """What was held when all was over."""
    warm_s: float | None = None
    """When everything had been used that is used at all; None: not yet."""

    def growths(self) -> dict[str, Growth]:
        """How each agent's memory went since it was warm."""
        if self.warm_s is None:
            return {}
        return {name: growth(samples, self.warm_s) for name, samples in self.samples.items()}

    def complaints(self) -> list[str]:
        """A line for everything that does not hold; none where all does."""
        lines = [f"an answer failed: {error}" for error in dict.fromkeys(self.tally.errors)]
        lines += [f"left over: {what}" for what in self.left]
        if self.warm_s is None:
            lines.append(f"too few answers to warm up: {self.tally.num_ended} of {_WARM_ANSWERS}")
        for name, one in self.growths().items():
            if not one.is_flat:
                lines.append(f"{name}'s memory beside its books grew by {one.share:.1%} of all that it had")
        return lines


async def soak(seconds: float, seed: int) -> Soaked:
    """Let everybody ask for so long, then look what is left; raises what keeps agents from starting.

    It takes longer where the machine is slow to warm up.
    """
    data_dir = default_data_dir()
    setting = MeshSetting(data_dir, DEFAULT_MODEL, num_devices=2, num_users=_ROOM)
    least_warm_s = min(seconds / 3, _LONGEST_WARM_S)
    soaked = Soaked()
    async with mesh_home(setting, LOOPBACK) as home:
        users = await _users(setting, seed, soaked.tally)
        began_s = now_s()
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(_watch(home, soaked, began_s, least_warm_s))

            def goes_on() -> bool:
                age_s = now_s() - began_s
                if soaked.warm_s is None:
                    return age_s < _NEVER_WARM * seconds
                return age_s < soaked.warm_s + seconds - least_warm_s

            async with asyncio.TaskGroup() as asking:
                for user in users:
                    asking.create_task(_ask(user, home, goes_on))
            watching.cancel()
        soaked.left = await _left(home)
    return soaked


async def _users(setting: MeshSetting, seed: int, tally: Tally) -> list[User]:
    codec = await DiskLibrary(ModelStore(setting.data_dir)).codec(setting.model)
    generators = [random.Random(f"user {index} of {seed}") for index in range(NUM_USERS)]
    return [User(Wishes(codec, rng), setting.model, tally) for rng in generators]


async def _ask(user: User, home: MeshHome, goes_on: Callable[[], bool]) -> None:
    await user.run(lambda: mesh.connect(str(home.door), mesh=home.mesh_name), goes_on)


async def _watch(home: MeshHome, soaked: Soaked, began_s: float, least_warm_s: float) -> None:
    """Look at the agents' memory until cancelled; raise InternalError where one has ended."""
    told_s = began_s
    while True:
        await asyncio.sleep(_LOOK_S)
        booked = await _booked(home)
        for agent in home.agents:
            agent.check()
            if agent.name in booked:
                sample = Sample(now_s() - began_s, agent.resident_bytes, booked[agent.name])
                soaked.samples.setdefault(agent.name, []).append(sample)
        age_s = now_s() - began_s
        if soaked.warm_s is None and age_s >= least_warm_s and soaked.tally.num_ended >= _WARM_ANSWERS:
            soaked.warm_s = age_s
        if now_s() - told_s >= _TELL_S:
            told_s = now_s()
            click.echo(f"{age_s:6.0f} s  {_line(soaked)}")


async def _booked(home: MeshHome) -> dict[str, int]:
    """What each agent holds by its own books; nothing where nobody can be asked at this moment."""
    with contextlib.suppress(MeshError):
        async with mesh.connect(str(home.door), mesh=home.mesh_name) as client:
            devices = await client.devices()
            return {d.record.name: d.status.used_bytes for d in devices if d.status is not None}
    return {}


def _line(soaked: Soaked) -> str:
    tally = soaked.tally
    memory = ", ".join(
        f"{name} {samples[-1].resident_bytes // _MB} MB ({samples[-1].beside_bytes // _MB} beside its books)"
        for name, samples in soaked.samples.items()
    )
    return (
        f"{tally.num_answers} answers, {tally.num_given_up} given up, {tally.num_tokens} tokens, "
        f"{tally.num_busy} told to wait, {len(tally.errors)} errors; {memory}"
    )


async def _left(home: MeshHome) -> list[str]:
    """What is held when all had time to be freed; asked of the first agent, which drove the answers."""
    until_s = now_s() + _SETTLE_S
    async with mesh.connect(str(home.door), mesh=home.mesh_name) as client:
        while True:
            lines = leftovers(await client.devices())
            if not lines or now_s() > until_s:
                return lines
            await asyncio.sleep(_LOOK_S)


def tell(soaked: Soaked) -> None:
    """Print how it went."""
    click.echo(_line(soaked))
    for name, one in soaked.growths().items():
        first_mb, last_mb = one.first_bytes / _MB, one.last_bytes / _MB
        click.echo(
            f"{name}: {first_mb:.0f} MB beside its books after the warm-up, {last_mb:.0f} MB at the end "
            f"({one.share:+.1%} of all)"
        )


@click.command()
@click.option("--seconds", type=click.FloatRange(10), default=3600.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of what is asked.")
def main(seconds: float, seed: int) -> None:
    """Let eight users ask for so long, and judge."""
    complaints: Sequence[str] = ()
    try:
        soaked = asyncio.run(soak(seconds, seed))
        tell(soaked)
        complaints = soaked.complaints()
    except* MeshError as group:
        complaints = [str(first_of(group))]
    for line in complaints:
        click.echo(f"soak: {line}", err=True)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
