"""The throttle makes a machine as slow as a device, exactly, and says where the machine was too slow."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mesh.ports import Step, StepResult
from mesh.spec import ModelSpec
from mesh.types import CacheKey, Precision, Sampling, SessionId, Span, StageKey, TokenIds
from simulator.devices.processor import Processor
from simulator.devices.roofline import FrameSize, StageCost, batch_seconds
from simulator.library import MemoryLibrary
from simulator.profiles import device_profile, model_spec
from simulator.real.clock import now_s, precise_loop, wait_until
from simulator.real.engines import InlineCompute
from simulator.real.pace import ProfilePace
from simulator.real.throttle import ThrottledCompute
from simulator.token_function import TokenFunction

TINY: ModelSpec = model_spec("tiny")
KEY = StageKey(TINY.digest, Span(0, 12), Precision.INT4)
CACHE = CacheKey(SessionId("0" * 16), KEY)


class FixedPace:
    """Every frame is due a fixed time after it came."""

    def __init__(self, frame_s: float, load_s: float = 0.0) -> None:
        self.frame_s, self.load_s = frame_s, load_s

    async def batch_until_s(self, steps: Sequence[Step]) -> float:
        return now_s() + self.frame_s

    async def load_until_s(self, key: StageKey) -> float:
        return now_s() + self.load_s


class SlowCompute(InlineCompute):
    """A machine that takes 20 ms for a frame."""

    async def run(self, steps: Sequence[Step]) -> list[StepResult]:
        await asyncio.sleep(0.02)
        return await super().run(steps)


def step(num_rows: int = 1, start: int = 0) -> Step:
    return Step(CACHE, start, TokenIds(tuple(range(num_rows))), sample=True)


async def opened(throttle: ThrottledCompute) -> ThrottledCompute:
    await throttle.load(KEY)
    await throttle.open(CACHE, 256, Sampling())
    return throttle


async def took_s(throttle: ThrottledCompute, one: Step) -> float:
    began_s = now_s()
    await throttle.run((one,))
    return now_s() - began_s


def maths() -> InlineCompute:
    return InlineCompute(TokenFunction([TINY]))


async def test_a_frame_takes_at_least_what_the_pace_says_and_gives_the_same_result() -> None:
    throttle = await opened(ThrottledCompute(maths(), FixedPace(0.03)))
    plain = maths()
    await plain.load(KEY)
    await plain.open(CACHE, 256, Sampling())
    assert await took_s(throttle, step()) >= 0.03
    assert await throttle.run((step(),)) == await plain.run((step(),))
    assert throttle.busy_s >= 0.06
    assert throttle.late_s < 0.01


def test_waiting_is_exact_to_a_tenth_of_a_millisecond_on_a_precise_loop() -> None:
    async def late_s() -> list[float]:
        found = []
        for index in range(20):
            due_s = now_s() + 0.0031 + index * 0.00013  # never a whole millisecond
            await wait_until(due_s)
            found.append(now_s() - due_s)
        return found

    with asyncio.Runner(loop_factory=precise_loop) as runner:
        found = sorted(runner.run(late_s()))
    assert found[0] >= 0
    assert found[len(found) // 4] < 0.0001  # the better ones: others ran on a busy machine


async def test_loading_takes_its_time_once() -> None:
    throttle = ThrottledCompute(maths(), FixedPace(0.0, load_s=0.03))
    began_s = now_s()
    await throttle.load(KEY)
    first_s = now_s() - began_s
    began_s = now_s()
    await throttle.load(KEY)
    assert first_s >= 0.03
    assert now_s() - began_s < first_s / 2


async def test_a_machine_that_is_too_slow_is_told_of_and_not_slowed_down_further() -> None:
    slow = SlowCompute(TokenFunction([TINY]))
    throttle = await opened(ThrottledCompute(slow, FixedPace(0.001)))
    assert await took_s(throttle, step()) < 0.2
    assert throttle.late_s > 0.015


@pytest.mark.parametrize("num_rows", [1, 40])
async def test_the_pace_of_a_profile_is_that_of_the_virtual_device(num_rows: int) -> None:
    profile = device_profile("watch")
    pace = ProfilePace(Processor(profile, now_s()), MemoryLibrary([TINY]))
    expected_s = batch_seconds(profile, StageCost.of(TINY, KEY), (FrameSize(0, num_rows, samples=True),))
    before_s = now_s()
    until_s = await pace.batch_until_s((step(num_rows),))
    assert before_s + expected_s <= until_s <= now_s() + expected_s


async def test_a_fault_slows_down_by_its_factor() -> None:
    processor = Processor(device_profile("watch"), now_s())
    pace = ProfilePace(processor, MemoryLibrary([TINY]))
    healthy_s = await pace.batch_until_s((step(),)) - now_s()
    processor.slow_down(10)
    await asyncio.sleep(healthy_s)
    assert await pace.batch_until_s((step(),)) - now_s() > 5 * healthy_s
