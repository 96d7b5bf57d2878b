"""A virtual device knows battery, heat and its owner's plans, and costs nothing while nothing changes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine

import pytest

from mesh.types import Condition, Precision, StageKey
from simulator.devices.conditions import VirtualConditions
from simulator.devices.processor import Processor
from simulator.devices.roofline import FrameSize
from simulator.library import TINY
from simulator.loop import run
from simulator.profiles import device_profile
from simulator.profiles.types import DeviceProfile

WHOLE = StageKey(TINY.digest, TINY.whole, Precision.INT4)
PHONE = device_profile("midrange_phone")
PC = device_profile("pc_rtx_4090")

Told = list[tuple[float, Condition]]


def now_s() -> float:
    return asyncio.get_running_loop().time()


class Looks(Processor):
    """A processor that counts how often somebody looks when it may change."""

    num_looks = 0

    def soonest_change_s(self, now_s: float, *, is_busy: bool) -> float | None:
        self.num_looks += 1
        return super().soonest_change_s(now_s, is_busy=is_busy)


async def watch(conditions: VirtualConditions, told: Told) -> None:
    async for condition in conditions.watch():
        told.append((now_s(), condition))


def watched(
    processor: Processor, story: Callable[[VirtualConditions], Coroutine[None, None, None]]
) -> tuple[Told, float]:
    """Watch while something happens; return what was told, and when all was over."""
    told: Told = []

    async def main() -> float:
        conditions = VirtualConditions(processor, now_s)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch(conditions, told))
            await asyncio.sleep(0)
            await story(conditions)
            await asyncio.sleep(0)
            watching.cancel()
        return now_s()

    return told, run(main())


async def rest(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def work(conditions: VirtualConditions, processor: Processor, seconds: float) -> None:
    """Compute without a pause, and tell of every tenth of a second."""
    until_s = now_s() + seconds
    while now_s() < until_s:
        charge = processor.charge(now_s(), TINY, WHOLE, (FrameSize(0, 1, samples=True),))
        await asyncio.sleep(charge.ends_s - now_s())
        conditions.worked()


@pytest.mark.parametrize("profile", [PC, PHONE], ids=lambda profile: profile.name)
def test_an_idle_device_on_mains_is_told_once_and_never_looked_at(profile: DeviceProfile) -> None:
    processor = Looks(profile)
    told, _ = watched(processor, lambda _: rest(100_000.0))
    assert told == [(0.0, Condition())]
    assert processor.num_looks <= 2


def test_a_battery_is_told_percent_by_percent_and_seldom_looked_at() -> None:
    processor = Looks(PHONE, battery_level=0.7)
    told, _ = watched(processor, lambda _: rest(10_000.0))
    assert [condition.battery for _, condition in told] == [0.7, 0.69, 0.68, 0.67, 0.66, 0.65]
    percent_s = 19.3 * 36 / PHONE.idle_w
    for number, (at_s, condition) in enumerate(told[1:]):
        assert number * percent_s <= at_s <= number * percent_s + 6.0  # the level of 0.7 is a hair below
        assert not condition.is_charging
    assert processor.num_looks < 10_000 / 20


def test_who_is_plugged_in_is_told_at_once() -> None:
    processor = Processor(PHONE)

    async def story(conditions: VirtualConditions) -> None:
        await asyncio.sleep(10.0)
        processor.unplug(now_s(), 0.152)
        conditions.stir()
        await asyncio.sleep(10.0)
        processor.plug_in(now_s())
        conditions.stir()
        await asyncio.sleep(10_000.0)

    told, _ = watched(processor, story)
    assert told == [
        (0.0, Condition()),
        (10.0, Condition(battery=0.15)),
        (20.0, Condition(battery=0.15, is_charging=True)),
    ]


def test_work_makes_a_phone_hot_and_rest_cools_it_and_then_it_is_left_alone() -> None:
    processor = Looks(PHONE)

    async def story(conditions: VirtualConditions) -> None:
        await asyncio.sleep(1000.0)
        await work(conditions, processor, 400.0)
        await asyncio.sleep(5_000.0)
        before = processor.num_looks
        await asyncio.sleep(50_000.0)
        assert processor.num_looks == before

    told, _ = watched(processor, story)
    # While it works it is hot and less hot by turns, as it slows down and recovers.
    assert [condition.is_hot for _, condition in told] == [False, True] * (len(told) // 2) + [False]
    thermal = PHONE.thermal
    assert thermal is not None
    hot_s, cool_s = told[1][0], told[-1][0]
    began_c, works_c = 22 + thermal.degrees_per_w * PHONE.idle_w, 22 + thermal.degrees_per_w * PHONE.active_w
    least_s = thermal.time_constant_s * math.log((works_c - began_c) / (works_c - thermal.throttled_c))
    assert 1000 + least_s <= hot_s < 1400.0  # it slows down on the way, when it is warm
    assert 1400.0 < cool_s < 1500.0


def test_work_that_can_heat_nothing_stirs_nothing() -> None:
    processor = Looks(PC)

    async def story(conditions: VirtualConditions) -> None:
        await asyncio.sleep(1.0)
        await work(conditions, processor, 1.0)

    told, _ = watched(processor, story)
    assert len(told) == 1
    assert processor.num_looks <= 2


def test_a_device_says_that_it_departs_and_that_it_stays() -> None:
    async def story(conditions: VirtualConditions) -> None:
        await asyncio.sleep(5.0)
        conditions.depart(is_departing=True)
        await asyncio.sleep(5.0)
        conditions.depart(is_departing=False)

    told, _ = watched(Processor(PC), story)
    assert [(at_s, condition.is_departing) for at_s, condition in told] == [
        (0.0, False),
        (5.0, True),
        (10.0, False),
    ]


def test_a_device_says_that_its_link_is_metered_and_that_it_is_not() -> None:
    async def story(conditions: VirtualConditions) -> None:
        await asyncio.sleep(5.0)
        conditions.meter(is_metered=True)
        await asyncio.sleep(5.0)
        conditions.meter(is_metered=False)

    told, _ = watched(Processor(PC), story)
    metered = (5.0, Condition(is_metered=True))
    assert told == [(0.0, Condition()), metered, (10.0, Condition())]


def test_a_new_life_is_told_the_state_anew() -> None:
    async def main() -> tuple[Condition, Condition]:
        conditions = VirtualConditions(Processor(PC), now_s)
        first, second = conditions.watch(), conditions.watch()
        before = await anext(first)
        conditions.depart(is_departing=True)
        return before, await anext(second)

    assert run(main()) == (Condition(), Condition(is_departing=True))
