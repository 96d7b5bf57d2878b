"""What multi-token prediction costs where its guesses are wrong: one home that answers with it and without.

Owns what is asked and what is seen of it. The weights are random, so hardly a guess is right: what is
measured is the price of the layer and of guesses that were in vain, and nothing of what right ones gain.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import mesh
from benchmarks.beside.hearing import Heard, decode_rate, hear
from benchmarks.beside.links import LOOPBACK
from benchmarks.beside.memory_watch import MemoryWatch
from benchmarks.beside.mesh_side import MeshHome, MeshSetting, mesh_home
from mesh.errors import InternalError
from mesh.types import Drafting, PlannedStage

_MB = 1_000_000
_DRAFTINGS = (Drafting.NONE, Drafting.MTP)


@dataclass(frozen=True, slots=True)
class Pace:
    """One answer."""

    tokens_per_s: float
    later_tokens_per_s: float
    """Of its second half: by then it is known how often guesses are right."""
    num_drafted: int
    num_right: int


@dataclass(frozen=True, slots=True)
class DeviceSeen:
    """One device."""

    name: str
    span: tuple[int, int]
    planned_mb: int
    """Weights, and the cache of one session."""
    resident_mb: int
    """At most; the model's file is mapped, and counts where it was read."""


@dataclass(frozen=True, slots=True)
class GuessingSeen:
    """One home with all its rounds."""

    devices: tuple[DeviceSeen, ...]
    rounds: tuple[dict[Drafting, Pace], ...]


async def guessing(setting: MeshSetting, num_rounds: int, num_tokens: int) -> GuessingSeen:
    """Have each story told with each drafting; raise InternalError where the two are not the same tokens."""
    async with mesh_home(setting, LOOPBACK) as home:
        watch = MemoryWatch(home.agents)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch.run())
            rounds = tuple([await _round(home, num_tokens) for _ in range(num_rounds)])
            watching.cancel()
        devices = tuple(_seen(stage, watch.most_mb[stage.node.name]) for stage in home.plan.stages)
    return GuessingSeen(devices, rounds)


async def _round(home: MeshHome, num_tokens: int) -> dict[Drafting, Pace]:
    story = home.prompts.story()
    told = {drafting: await _tell(home, story, num_tokens, drafting) for drafting in _DRAFTINGS}
    if len({tokens for tokens, _ in told.values()}) > 1:
        raise InternalError("guesses changed the tokens of an answer")
    return {drafting: pace for drafting, (_, pace) in told.items()}


async def _tell(
    home: MeshHome, story: str, num_tokens: int, drafting: Drafting
) -> tuple[tuple[int, ...], Pace]:
    async with mesh.connect(str(home.door), mesh=home.mesh_name) as client:
        answer = client.chat(story, model=home.model, max_tokens=num_tokens, drafting=drafting)
        heard = await hear(answer)
    guesses = answer.summary.guesses
    drafted, right = (guesses.num_drafted, guesses.num_right) if guesses else (0, 0)
    later = Heard(heard.asked_s, heard.arrivals[len(heard.arrivals) // 2 :])
    return answer.summary.tokens, Pace(decode_rate(heard), decode_rate(later), drafted, right)


def _seen(stage: PlannedStage, resident_mb: int) -> DeviceSeen:
    planned_bytes = stage.weights_bytes + stage.cache_bytes
    span = (stage.span.start, stage.span.end)
    return DeviceSeen(stage.node.name, span, -(-planned_bytes // _MB), resident_mb)
