"""The same tokens however the layers are split: real nodes and real weights over the network in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mesh.adapters.disk_library import DiskLibrary
from mesh.engines.choosing import EngineName, engine_maker
from mesh.engines.compute import EngineCompute
from mesh.logic.partition import Demand
from mesh.spec import ModelSpec
from mesh.store.shelf import ModelStore
from mesh.types import DeviceClass, Precision
from nodes.demo.household import DemoDevice, with_limits
from tests.roles.world import Home

pytestmark = [pytest.mark.slow, pytest.mark.model]

PROMPTS = (
    "What is the capital of Japan?",
    "Write a haiku about rain.",
    "def fibonacci(n):",
    "Explain photosynthesis to a child.",
    "List three colours.",
    "2 + 2 =",
    "Translate 'good morning' into French.",
    "Once upon a time",
    "Why is the sky blue?",
    "日本の首都はどこですか?",
    "Say hello 👋🏽",
    "Name a prime number above ten.",
    "What does HTTP stand for?",
    "    indented    text   with   spaces",
    "Who wrote Hamlet?",
    "A recipe for bread, please. " * 8,
    "<|im_end|> is not the end here.",
    "Ünïcödé ïs fün, isn't it?",
    "SELECT name FROM users WHERE id = 7;",
    "Give me one reason to smile.",
)
NUM_TOKENS = 8
SAMPLED = {"temperature": 0.8, "seed": 11}


async def answers(spec: ModelSpec, data_dir: Path, num_stages: int) -> list[tuple[int, ...]]:
    """Tokens of every prompt, greedy and sampled, from a home with this many devices."""
    devices = tuple(DemoDevice(f"tv-{i}", DeviceClass.TV) for i in range(num_stages))
    limited = with_limits(devices, Demand(spec, Precision.INT4, 1024))
    computes: list[EngineCompute] = []
    tokens = []
    async with asyncio.TaskGroup() as tasks:
        home = Home(tasks)
        for device in limited:
            library = DiskLibrary(ModelStore(data_dir))
            computes.append(EngineCompute(library, engine_maker(EngineName.AUTO, num_threads=1)))
            await home.start(device.name, device.memory_bytes, library=library, compute=computes[-1])
        client = home.client("tv-0")
        await home.until_met(num_stages)
        for prompt in PROMPTS:
            for options in ({}, SAMPLED):
                answer = client.chat(prompt, max_tokens=NUM_TOKENS, **options)  # type: ignore[arg-type]
                await answer.text()
                assert len(answer.summary.stages) == num_stages
                tokens.append(answer.summary.tokens)
        for node in home.nodes.values():
            node.node.stop()
    for compute in computes:
        compute.shut_down()
    return tokens


@pytest.fixture(scope="module")
def whole(smollm2_spec: ModelSpec, data_dir: Path) -> list[tuple[int, ...]]:
    """The answers of one device that holds the whole model."""
    return asyncio.run(answers(smollm2_spec, data_dir, 1))


def test_different_prompts_give_different_answers(whole: list[tuple[int, ...]]) -> None:
    assert len(set(whole)) > 30


@pytest.mark.parametrize("num_stages", [2, 3, 5])
def test_so_many_stages_give_the_same_tokens_as_one(
    num_stages: int, whole: list[tuple[int, ...]], smollm2_spec: ModelSpec, data_dir: Path
) -> None:
    assert asyncio.run(answers(smollm2_spec, data_dir, num_stages)) == whole
