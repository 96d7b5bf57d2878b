"""A virtual home whose devices compute with the tiny MiMo's real weights, in no time of their own.

Owns how much memory makes how many stages, and what one client hears. Must not know who guesses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mesh.messages import Routed
from mesh.types import ChatMessage, Sampling, Summary
from simulator.compute import ModelledCompute
from simulator.devices.processor import FixedSpeed
from simulator.real.maths import EngineMaths, Undivided
from simulator.real.models import FileLibrary, ModelFiles
from tests.roles.world import KB, Home
from tests.tiny_mimo import NAME

OWN_KB = {1: 3000, 2: 1700, 3: 1250}
"""Of each device, by how many are needed: a layer takes 387 KB with its cache, the ends 455 KB."""

DRAFT_KB = 2800
"""For the whole model with its cache, beside one's share."""

MAX_TOKENS = 60


@dataclass(frozen=True, slots=True)
class Asked:
    """One question, and how it is to be answered."""

    question: str
    drafting: str = "none"
    temperature: float = 0.0
    seed: int = 8


@dataclass(slots=True)
class Heard:
    """What one client heard."""

    tokens: list[int] = field(default_factory=list)
    num_stages: int = 0
    """Of the first route."""
    num_happened: int = 0
    summary: Summary | None = None


@asynccontextmanager
async def a_real_home(
    files: ModelFiles, num_stages: int, *, spare_kb: int, draft_model: str | None = None, num_devices: int = 3
) -> AsyncIterator[Home]:
    """Start devices that together make so many stages; each has all models of the files."""
    names = [model.name for model in files.models()]
    specs = files.specs(names)
    async with asyncio.TaskGroup() as tasks:
        home = Home(tasks)
        for name in ("phone", "car", "tv", "pc")[:num_devices]:
            await home.start(
                name,
                (OWN_KB[num_stages] + spare_kb) * KB,
                spare_bytes=spare_kb * KB,
                library=FileLibrary(files, names),
                compute=ModelledCompute(specs, FixedSpeed(0.01, 0.001), EngineMaths(files)),
                draft_model=draft_model,
            )
        await home.settle()
        try:
            yield home
        finally:
            for node in home.started:
                node.node.stop()
                node.node.stop()


async def listen(home: Home, asked: Asked, happens: Mapping[int, Callable[[], object]]) -> Heard:
    """Ask the phone, and have things happen when so many tokens have come."""
    heard = Heard()
    answer = home.client("phone").chat(
        asked.question,
        model=NAME,
        max_tokens=MAX_TOKENS,
        temperature=asked.temperature,
        seed=asked.seed,
        drafting=asked.drafting,
    )
    async for event in answer.events():
        if isinstance(event, Routed):
            heard.num_stages = heard.num_stages or len(event.plan.stages)
            continue
        for token in event.tokens:
            heard.tokens.append(token)
            if act := happens.get(len(heard.tokens)):
                heard.num_happened += 1
                act()
    heard.summary = answer.summary
    return heard


def undivided(files: ModelFiles, asked: Asked) -> list[int]:
    """The tokens of the model in one piece, without any mesh."""
    (spec,) = files.specs([NAME])
    codec = files.codec(spec.digest)
    prompt = codec.encode_chat((ChatMessage("user", asked.question),))
    sampling = Sampling(temperature=asked.temperature, seed=asked.seed)
    return list(Undivided(files)(spec, prompt, sampling, MAX_TOKENS, codec.stop_ids)[0])
