"""A real agent's speed: announced where it is known, measured by a process that ends in time."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import psutil
import pytest

from mesh.engines.choosing import EngineName
from nodes.bench_device import Choice
from nodes.speedometer import ProcessSpeedometer
from nodes.speeds import keep_speed, kept_speed
from tests.real.processes import agents, until
from tests.speeds import SPEED

pytestmark = [pytest.mark.real, pytest.mark.slow]


async def at_once() -> None:
    """Other tests' machines may never be calm."""


def test_an_agent_announces_what_was_measured_before(tmp_path: Path) -> None:
    keep_speed(tmp_path, Choice(tmp_path, EngineName.AUTO, 1).fingerprint, SPEED)
    with agents(tmp_path) as running:
        running.up("phone")
        listed: list[dict[str, object]] = []

        def is_told() -> bool:
            listed[:] = json.loads(running.ask("devices", "--json").out)
            return bool(listed) and listed[0]["decode_tokens_per_s"] is not None

        assert until(is_told, 10)
        assert listed[0]["decode_tokens_per_s"] == 100.0


async def test_it_is_measured_without_a_model_and_remembered(tmp_path: Path) -> None:
    speedometer = ProcessSpeedometer(Choice(tmp_path, EngineName.AUTO, 1), at_once)
    assert await speedometer.kept() is None
    speed = await speedometer.measure()
    assert await speedometer.kept() == speed
    assert (speed.num_threads, [step.num_sessions for step in speed.steps]) == (1, [1, 2, 4, 8])
    assert speed.decode_tokens_per_s > 0.1


async def test_measuring_that_is_broken_off_leaves_no_process(tmp_path: Path) -> None:
    before = psutil.Process().children(recursive=True)  # for instance multiprocessing's own, of other tests
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.7):
            await ProcessSpeedometer(Choice(tmp_path, EngineName.AUTO, 1), at_once).measure()
    assert [child for child in psutil.Process().children(recursive=True) if child not in before] == []
    assert kept_speed(tmp_path, Choice(tmp_path, EngineName.AUTO, 1).fingerprint) is None
