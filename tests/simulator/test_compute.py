"""The virtual Compute port charges time and memory, and leaves the mathematics to whom it is given."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from mesh.errors import MeshError, ModelNotPulled, PositionGap, ShapeMismatch, StageNotLoaded, UnknownSession
from mesh.ports import Sampled, Step, StepResult
from mesh.types import (
    CacheKey,
    Digest,
    Hidden,
    Payload,
    Precision,
    Sampling,
    SessionId,
    Span,
    StageKey,
    TokenIds,
)
from simulator.compute import ComputedFrame, ModelledCompute, TokenFunctionCompute
from simulator.devices.processor import FixedSpeed, Processor
from simulator.devices.roofline import FrameSize, StageCost, batch_seconds
from simulator.library import TINY
from simulator.loop import run
from simulator.profiles import device_profile, model_spec
from simulator.token_function import TokenFunction, reference_tokens

OURS, THEIRS = SessionId("0123456789abcdef"), SessionId("f" * 16)
PROMPT = tuple(range(10, 30))
WHOLE = StageKey(TINY.digest, TINY.whole, Precision.INT4)
MIMO = model_spec("mimo:7b-rl")
FIRST_HALF = StageKey(MIMO.digest, Span(0, 18), Precision.INT4)
PI = device_profile("raspberry_pi_5")


def now_s() -> float:
    return asyncio.get_running_loop().time()


def step(start: int, *ids: int, of: StageKey = WHOLE, session_id: SessionId = OURS) -> Step:
    return Step(CacheKey(session_id, of), start, TokenIds(ids), sample=True)


@dataclass
class Noted:
    """Everything that an observer was told, with the time."""

    events: list[tuple[float, object]] = field(default_factory=list)

    def loaded(self, began_s: float, key: StageKey, num_bytes: int) -> None:
        self.events.append((now_s(), ("loaded", began_s, key, num_bytes)))

    def computed(self, frame: ComputedFrame) -> None:
        self.events.append((now_s(), frame))


async def run_one(compute: ModelledCompute, step: Step) -> StepResult:
    """Run a batch of one frame; raise what was wrong with it."""
    (result,) = await compute.run((step,))
    if isinstance(result, MeshError):
        raise result
    return result


async def opened(compute: ModelledCompute, key: StageKey, *session_ids: SessionId) -> ModelledCompute:
    await compute.load(key)
    for session_id in session_ids or (OURS,):
        await compute.open(CacheKey(session_id, key), 1024, Sampling())
    return compute


def test_a_fixed_speed_charges_every_frame_the_same() -> None:
    async def main() -> None:
        compute = await opened(TokenFunctionCompute(TINY, step_s=0.25), WHOLE)
        assert now_s() == 0.0
        await run_one(compute, step(0, *PROMPT))
        await run_one(compute, step(20, 1))
        assert now_s() == pytest.approx(0.5)

    run(main())


def test_a_profile_charges_what_the_roofline_says() -> None:
    async def main() -> None:
        compute = ModelledCompute([MIMO], Processor(PI))
        num_bytes = await compute.load(FIRST_HALF)
        assert num_bytes == MIMO.weights_bytes(Span(0, 18), Precision.INT4)
        assert now_s() == pytest.approx(num_bytes / PI.load_bytes_per_s)
        await opened(compute, FIRST_HALF)
        began_s = now_s()
        result = await run_one(compute, step(0, *PROMPT, of=FIRST_HALF))
        cost = StageCost.of(MIMO, FIRST_HALF)
        assert now_s() - began_s == pytest.approx(batch_seconds(PI, cost, (FrameSize(0, 20, samples=True),)))
        assert isinstance(result, Hidden)
        assert len(result.data) == 20 * 4096 * 2

    run(main())


def test_stages_of_two_devices_give_the_undivided_models_token() -> None:
    async def main() -> None:
        first = await opened(ModelledCompute([MIMO], Processor(PI)), FIRST_HALF)
        rest = StageKey(MIMO.digest, Span(18, 36), Precision.INT4)
        second = await opened(ModelledCompute([MIMO], Processor(PI)), rest)
        hidden = await run_one(first, step(0, *PROMPT, of=FIRST_HALF))
        assert isinstance(hidden, Hidden)
        sampled = await run_one(second, Step(CacheKey(OURS, rest), 0, hidden, sample=True))
        assert isinstance(sampled, Sampled)
        assert (sampled.token,) == reference_tokens(MIMO, PROMPT, Sampling(), 1, frozenset())[0]

    run(main())


def test_frames_of_two_sessions_take_turns_on_one_processor() -> None:
    async def main() -> None:
        noted = Noted()
        compute = ModelledCompute([TINY], Processor(PI), observer=noted)
        await opened(compute, WHOLE, OURS, THEIRS)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_one(compute, step(0, 1)))
            tasks.create_task(run_one(compute, step(0, 1, session_id=THEIRS)))
        (first_end_s, first), (second_end_s, second) = noted.events[1:]
        assert isinstance(first, ComputedFrame)
        assert isinstance(second, ComputedFrame)
        assert first_end_s < second_end_s
        assert second.began_s == pytest.approx(first_end_s)

    run(main())


def test_an_observer_is_told_what_was_done_when_it_is_done() -> None:
    async def main() -> None:
        noted = Noted()
        await asyncio.sleep(1.0)
        compute = await opened(ModelledCompute([TINY], FixedSpeed(0.5), observer=noted), WHOLE)
        await compute.load(WHOLE)
        await run_one(compute, step(0, *PROMPT))
        weights_bytes = TINY.weights_bytes(TINY.whole, Precision.INT4)
        assert noted.events == [
            (1.0, ("loaded", 1.0, WHOLE, weights_bytes)),
            (1.5, ComputedFrame(1.0, OURS, WHOLE, 0, 20)),
        ]

    run(main())


def test_a_cancelled_frame_charges_nothing_more_and_leaves_the_session_as_it_was() -> None:
    async def main() -> None:
        noted = Noted()
        processor = Processor(PI)
        compute = await opened(ModelledCompute([MIMO], processor, observer=noted), FIRST_HALF)
        busy_s, began_s = processor.state(now_s()).busy_s, now_s()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await run_one(compute, step(0, *PROMPT, of=FIRST_HALF))
        assert processor.state(now_s() + 60).busy_s - busy_s == pytest.approx(0.001)
        assert len(noted.events) == 1
        await run_one(compute, step(0, 1, of=FIRST_HALF))
        one_row_s = batch_seconds(PI, StageCost.of(MIMO, FIRST_HALF), (FrameSize(0, 1, samples=True),))
        assert now_s() - began_s == pytest.approx(0.001 + one_row_s)
        assert isinstance(noted.events[1][1], ComputedFrame)

    run(main())


def test_a_cancelled_load_leaves_nothing_behind() -> None:
    async def main() -> None:
        compute = ModelledCompute([MIMO], Processor(PI))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await compute.load(FIRST_HALF)
        assert (compute.stages, compute.memory_bytes) == (frozenset(), 0)
        with pytest.raises(StageNotLoaded):
            await compute.open(CacheKey(OURS, FIRST_HALF), 64, Sampling())

    run(main())


def test_memory_is_that_of_weights_and_caches() -> None:
    async def main() -> None:
        compute = await opened(TokenFunctionCompute(TINY), WHOLE, OURS, THEIRS)
        weights_bytes = TINY.weights_bytes(TINY.whole, Precision.INT4)
        cache_bytes = TINY.cache_bytes(TINY.whole, 1024, Precision.INT4)
        assert (compute.num_open, compute.memory_bytes) == (2, weights_bytes + 2 * cache_bytes)
        await compute.close(CacheKey(THEIRS, WHOLE))
        await compute.close(CacheKey(THEIRS, WHOLE))
        assert (compute.num_open, compute.memory_bytes) == (1, weights_bytes + cache_bytes)
        with pytest.raises(UnknownSession):
            await run_one(compute, step(0, 1, session_id=THEIRS))
        await compute.close(CacheKey(OURS, WHOLE))
        await compute.unload(WHOLE)
        await compute.unload(WHOLE)
        assert (compute.stages, compute.memory_bytes) == (frozenset(), 0)

    run(main())


def test_a_stage_must_be_loaded_before_a_session_opens_on_it() -> None:
    async def main() -> None:
        compute = TokenFunctionCompute(TINY)
        with pytest.raises(StageNotLoaded):
            await compute.open(CacheKey(OURS, WHOLE), 64, Sampling())
        assert compute.num_open == 0
        await compute.load(WHOLE)
        assert compute.stages == {WHOLE}

    run(main())


def test_a_model_that_is_not_on_the_device_is_not_loaded() -> None:
    async def main() -> None:
        with pytest.raises(ModelNotPulled, match="the model ffffffffffff is not on this device"):
            await TokenFunctionCompute(TINY).load(StageKey(Digest("f" * 64), Span(0, 12), Precision.INT4))

    run(main())


@pytest.mark.parametrize("payload", [Hidden(b"123"), Hidden(bytes(128)), TokenIds(())])
def test_a_frame_of_no_proper_shape_fails_by_the_maths_words(payload: Payload) -> None:
    async def main() -> None:
        compute = await opened(TokenFunctionCompute(TINY), WHOLE)
        with pytest.raises(ShapeMismatch, match=r"layers \[0, 12\) cannot take this"):
            await run_one(compute, Step(CacheKey(OURS, WHOLE), 0, payload, sample=True))

    run(main())


def test_other_maths_can_be_put_behind_the_same_times() -> None:
    class Constant(TokenFunction):
        def run(self, step: Step) -> Hidden | Sampled | None:
            return Sampled(step.start + 1, 42)

    async def main() -> None:
        compute = await opened(ModelledCompute([TINY], FixedSpeed(2.0), Constant([TINY])), WHOLE)
        assert await run_one(compute, step(0, 1)) == Sampled(1, 42)
        assert now_s() == 2.0

    run(main())


def test_a_batch_reads_the_weights_once_and_gives_each_frame_what_it_gets_alone() -> None:
    async def main() -> None:
        noted = Noted()
        compute = await opened(ModelledCompute([TINY], Processor(PI), observer=noted), WHOLE, OURS, THEIRS)
        alone = [await run_one(compute, step(0, *PROMPT)), await run_one(compute, step(0, 1))]
        began_s = now_s()
        steps = step(0, *PROMPT), step(0, 1, session_id=THEIRS)
        assert await compute.run(steps) == alone
        sizes = FrameSize(0, 20, samples=True), FrameSize(0, 1, samples=True)
        assert now_s() - began_s == pytest.approx(batch_seconds(PI, StageCost.of(TINY, WHOLE), sizes))
        frames = [event for at_s, event in noted.events if at_s == now_s()]
        assert [f.session_id for f in frames if isinstance(f, ComputedFrame)] == [OURS, THEIRS]

    run(main())


def test_what_is_wrong_with_one_frame_of_a_batch_is_its_own_result() -> None:
    async def main() -> None:
        compute = await opened(TokenFunctionCompute(TINY), WHOLE, OURS, THEIRS)
        gone = step(0, 1, session_id=SessionId("a" * 16))
        results = await compute.run((step(5, 1), gone, step(0, 1, session_id=THEIRS)))
        assert [type(result) for result in results] == [PositionGap, UnknownSession, Sampled]

    run(main())
