"""A node's speed is measured once, in quiet, and told to all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from mesh.errors import MeshError, ModelCorrupt
from mesh.now import now_s
from mesh.types import SpeedRecord
from simulator.compute import TokenFunctionCompute
from simulator.library import TINY
from simulator.loop import run
from tests.roles.world import ROOMY, Home, a_home
from tests.speeds import SPEED


@dataclass(slots=True)
class Speedometer:
    """Takes two seconds, and notes when it began and what came of it."""

    known: SpeedRecord | None = None
    wrong: MeshError | None = None
    began_s: list[float] = field(default_factory=list)
    num_broken_off: int = 0

    async def kept(self) -> SpeedRecord | None:
        return self.known

    async def measure(self) -> SpeedRecord:
        self.began_s.append(now_s())
        try:
            await asyncio.sleep(2)
        except asyncio.CancelledError:
            self.num_broken_off += 1
            raise
        if self.wrong is not None:
            raise self.wrong
        return SPEED


async def announced(home: Home, viewer: str) -> SpeedRecord | None:
    """What one node knows of the speed of the device 'phone'."""
    devices = {device.record.name: device for device in await home.client(viewer).devices()}
    status = devices["phone"].status
    assert status is not None
    return status.speed


def test_what_is_known_is_announced_to_all_and_not_measured_again() -> None:
    async def main() -> None:
        speedometer = Speedometer(known=SPEED)
        async with a_home(tv=ROOMY) as home:
            await home.start("phone", speedometer=speedometer)
            await home.settle()
            assert await announced(home, "tv") == SPEED
            await asyncio.sleep(60)
            assert speedometer.began_s == []

    run(main())


def test_it_is_measured_once_after_some_quiet() -> None:
    async def main() -> None:
        speedometer = Speedometer()
        async with a_home(tv=ROOMY) as home:
            began_s = now_s()
            await home.start("phone", speedometer=speedometer)
            await home.settle()
            assert await announced(home, "tv") is None
            await asyncio.sleep(60)
            assert await announced(home, "tv") == SPEED
            assert [at_s - began_s for at_s in speedometer.began_s] == [pytest.approx(5, abs=0.2)]

    run(main())


def test_it_never_runs_beside_a_session_and_is_done_later() -> None:
    async def main() -> None:
        speedometer = Speedometer()
        async with a_home() as home:
            await home.start("phone", compute=TokenFunctionCompute(TINY, step_s=0.1), speedometer=speedometer)
            await asyncio.sleep(6)
            asked_s = now_s()
            async for _ in home.client("phone").chat("hi", max_tokens=200):
                pass
            assert now_s() - asked_s > 1
            assert (len(speedometer.began_s), speedometer.num_broken_off) == (1, 1)
            ended_s = now_s()
            await asyncio.sleep(60)
            assert await announced(home, "phone") == SPEED
            assert speedometer.began_s[1] - ended_s >= 4.9

    run(main())


def test_a_device_that_cannot_be_measured_serves_all_the_same() -> None:
    async def main() -> None:
        speedometer = Speedometer(wrong=ModelCorrupt("the file is damaged; pull the model again"))
        async with a_home() as home:
            await home.start("phone", speedometer=speedometer)
            await asyncio.sleep(60)
            assert len(speedometer.began_s) == 1
            assert await home.client("phone").chat("hi", max_tokens=3).text()

    run(main())
