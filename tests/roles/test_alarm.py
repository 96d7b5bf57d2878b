"""A sleep ends when its time has come, or when it rings."""

from __future__ import annotations

import asyncio

from mesh.roles.alarm import Alarm
from simulator.loop import run


async def slept_s(alarm: Alarm, until_s: float) -> float:
    began_s = asyncio.get_running_loop().time()
    await alarm.sleep(until_s)
    return asyncio.get_running_loop().time() - began_s


def test_it_sleeps_until_its_time_or_until_it_rings() -> None:
    async def main() -> None:
        alarm, loop = Alarm(), asyncio.get_running_loop()
        assert await slept_s(alarm, 5.0) == 5.0
        loop.call_at(6.0, alarm.ring)
        assert await slept_s(alarm, 10.0) == 1.0
        assert await slept_s(alarm, 10.0) == 4.0

    run(main())


def test_a_ring_while_nobody_sleeps_ends_the_next_sleep_and_no_other() -> None:
    async def main() -> None:
        alarm = Alarm()
        alarm.ring()
        alarm.ring()
        assert await slept_s(alarm, 5.0) == 0.0
        assert await slept_s(alarm, 5.0) == 5.0

    run(main())


def test_only_who_would_sleep_past_a_time_is_woken_for_it() -> None:
    async def main() -> None:
        alarm, loop = Alarm(), asyncio.get_running_loop()
        alarm.ring_before(1.0)
        loop.call_at(1.0, alarm.ring_before, 5.0)
        loop.call_at(2.0, alarm.ring_before, 4.0)
        assert await slept_s(alarm, 5.0) == 2.0

    run(main())
