"""Several sessions at one stage: together, fair, and each with the tokens that it would have alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from mesh.client import Answer
from mesh.config import Timing
from mesh.logic.relay import Relay
from mesh.messages import Frame, SessionFailed, Token
from mesh.now import now_s
from mesh.ports import Step, StepResult
from mesh.types import ChatMessage, Sampling, SessionId, TokenIds
from simulator.compute import TokenFunctionCompute
from simulator.library import TINY, ByteCodec
from simulator.loop import run
from simulator.token_function import reference_tokens
from tests.roles.test_worker import OTHER, OURS, a_bench, a_frame
from tests.roles.world import KB, ROOMY, Home

BASE_S, ROW_S = 0.005, 0.001
"""What a batch takes, and each row of it."""

PART_S = BASE_S + 100 * ROW_S
"""A part of a prompt that runs at once: about a tenth of a second."""


class Noting(TokenFunctionCompute):
    """Knows the rows of each batch that it ran."""

    def __init__(self, step_s: float = BASE_S, row_s: float = ROW_S) -> None:
        super().__init__(TINY, step_s, row_s)
        self.batches: list[list[int]] = []
        self.tokens_s: list[float] = []
        """When batches with a single row in them were ready."""

    async def run(self, steps: Sequence[Step]) -> list[StepResult]:
        self.batches.append([_num_rows(step) for step in steps])
        results = await super().run(steps)
        if 1 in self.batches[-1]:
            self.tokens_s.append(now_s())
        return results


def _num_rows(step: Step) -> int:
    payload = step.payload
    return len(payload.ids) if isinstance(payload, TokenIds) else len(payload.data) // 128


@asynccontextmanager
async def a_house(
    *names: str, memory_bytes: int = ROOMY, row_s: float = ROW_S
) -> AsyncIterator[tuple[Home, list[Noting]]]:
    """Devices that lend so much to plans, and have room for many answers."""
    async with asyncio.TaskGroup() as tasks:
        home, computes = Home(tasks), [Noting(row_s=row_s) for _ in names]
        for name, compute in zip(names, computes, strict=True):
            spare_bytes = 4 * ROOMY - memory_bytes
            await home.start(name, 4 * ROOMY, spare_bytes=spare_bytes, compute=compute)
        await home.settle()
        try:
            yield home, computes
        finally:
            for node in home.started:
                node.node.stop()
                node.node.stop()


def expected(prompt: str, max_tokens: int, seed: int) -> tuple[int, ...]:
    ids = ByteCodec().encode_chat((ChatMessage("user", prompt),))
    sampling = Sampling(temperature=0.8, seed=seed)
    return reference_tokens(TINY, ids, sampling, max_tokens, ByteCodec().stop_ids)[0]


def ask(home: Home, prompt: str, max_tokens: int, seed: int = 8) -> Answer:
    return home.client("tv").chat(prompt, max_tokens=max_tokens, seed=seed, temperature=0.8)


async def times_s(answer: Answer) -> list[float]:
    """When its pieces came."""
    return [now_s() async for _ in answer]


def test_a_token_next_to_a_prompt_of_2000_never_waits_longer_than_for_two_parts_of_it() -> None:
    async def main() -> None:
        async with a_house("tv") as (home, (compute,)):
            await ask(home, "w" * 300, 2).text()  # now the pace is known
            reading = asyncio.get_running_loop().create_task(ask(home, "tell", 120).text())
            await asyncio.sleep(0.3)
            began_s = now_s()
            await ask(home, "x" * 2000, 1).text()
            ended_s = now_s()
            await reading
            came = [at_s for at_s in compute.tokens_s if began_s - 0.1 < at_s < ended_s]
            assert len(came) > 15
            assert max(b - a for a, b in pairwise(came)) < 2 * PART_S
            # And the prompt takes no longer than what it takes alone and those tokens.
            assert ended_s - began_s < 2000 * ROW_S + 25 * BASE_S + len(came) * (BASE_S + ROW_S)

    run(main())


def test_two_long_prompts_get_on_side_by_side() -> None:
    async def main() -> None:
        async with a_house("tv") as (home, _):
            await ask(home, "w" * 300, 2).text()
            began_s = now_s()
            long = asyncio.get_running_loop().create_task(times_s(ask(home, "x" * 1900, 1)))
            await asyncio.sleep(0.05)
            (short_s,) = await times_s(ask(home, "y" * 400, 1))
            (long_s,) = await long
            assert short_s - began_s < 1.1  # it needs 0.4 of its own, and as much again for the other one
            assert long_s - began_s < 2.6

    run(main())


@pytest.mark.parametrize(("devices", "memory_bytes"), [(("tv",), ROOMY), (("tv", "car", "phone"), 770 * KB)])
def test_with_eight_strangers_everybody_gets_the_tokens_that_he_would_get_alone(
    devices: tuple[str, ...], memory_bytes: int
) -> None:
    async def main() -> None:
        async with a_house(*devices, memory_bytes=memory_bytes) as (home, computes):
            prompts = [f"{number} strangers " * (2 * number + 1) for number in range(9)]
            answers = [ask(home, prompt, 15, seed) for seed, prompt in enumerate(prompts)]
            async with asyncio.TaskGroup() as tasks:
                for number, answer in enumerate(answers):
                    tasks.create_task(answer.text())
                    await asyncio.sleep(0.01 * number)
            for seed, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
                assert answer.summary.tokens == expected(prompt, 15, seed)
                assert (answer.recoveries, len(answer.summary.stages)) == ((), len(devices))
            assert any(len(batch) > 2 for compute in computes for batch in compute.batches)

    run(main())


def test_a_long_prompt_may_take_longer_than_a_token_is_waited_for() -> None:
    async def main() -> None:
        async with a_house("tv", row_s=0.04) as (home, _):
            answer = ask(home, "x" * 1000, 3)
            await answer.text()
            assert answer.summary.ttft_s > Timing().stall_s
            assert answer.recoveries == ()

    run(main())


@pytest.mark.parametrize("num_rows", [1, 16, 64, 256, 512])
def test_the_same_tokens_come_whatever_the_parts_are(num_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.logic.feeding.frame_rows", lambda *_: num_rows)

    async def main() -> None:
        async with a_house("tv", "car", "phone", memory_bytes=1_500 * KB) as (home, _):
            answer = ask(home, "x" * 600, 8)
            await answer.text()
            assert len(answer.summary.stages) > 1
            assert answer.summary.tokens == expected("x" * 600, 8, 8)

    run(main())


def test_a_prompt_flows_in_parts_so_that_stages_work_at_once() -> None:
    async def main() -> None:
        async with a_house("tv", "car", "phone", memory_bytes=1_500 * KB) as (home, computes):
            await ask(home, "w" * 300, 2).text()
            answer = ask(home, "x" * 900, 1)
            await answer.text()
            num_stages = len(answer.summary.stages)
            assert num_stages > 1
            assert answer.summary.ttft_s < 1.6 * 900 * ROW_S
            assert all(max(batch) <= 100 for compute in computes for batch in compute.batches[-4:])

    run(main())


def test_what_is_wrong_with_one_frame_of_a_batch_harms_no_other() -> None:
    async def main() -> None:
        async with a_bench(compute=TokenFunctionCompute(TINY, step_s=0.1)) as bench:
            await bench.load()
            names = [OURS, OTHER, *(SessionId(letter * 16) for letter in "cd")]
            await bench.say(*(bench.opening(name) for name in names))
            frames = [Frame(name, 0, 0, 0, TokenIds((1, 2, 3)), sample=True) for name in names]
            frames[1] = Frame(names[1], 0, 0, 5, TokenIds((1,)), sample=True)
            said = await bench.say(a_frame(), *frames)
            failures = [m for m in said if isinstance(m, SessionFailed)]
            assert [(failure.session_id, failure.code) for failure in failures] == [(OTHER, "position_gap")]
            tokens = [m for m in said if isinstance(m, Token)]
            assert {token.session_id for token in tokens} == {OURS, *names[2:]}
            assert len({token.token for token in tokens}) == 1

    run(main())


class Brittle(Noting):
    """Its engine has a bug that ends a batch with one kind of frame in it."""

    async def run(self, steps: Sequence[Step]) -> list[StepResult]:
        if any(step.payload == TokenIds((66,)) for step in steps):
            raise ZeroDivisionError("over nothing")
        return await super().run(steps)


def test_where_the_engine_fails_for_a_batch_only_the_frame_that_it_fails_for_is_lost() -> None:
    async def main() -> None:
        async with a_bench(compute=Brittle(step_s=0.1)) as bench:
            await bench.load()
            names = [OURS, OTHER, SessionId("c" * 16)]
            await bench.say(*(bench.opening(name) for name in names))
            frames = [Frame(name, 0, 0, 0, TokenIds((7,)), sample=True) for name in names]
            frames[1] = Frame(OTHER, 0, 0, 0, TokenIds((66,)), sample=True)
            said = await bench.say(*frames)
            assert [m.code for m in said if isinstance(m, SessionFailed)] == ["internal"]
            assert {m.session_id for m in said if isinstance(m, Token)} == {OURS, names[2]}

    run(main())


def test_the_rest_of_a_prompt_that_nobody_wants_any_more_is_not_computed() -> None:
    async def main() -> None:
        async with a_house("tv") as (home, computes):
            await ask(home, "w" * 300, 2).text()
            computes[0].batches.clear()
            pieces = aiter(ask(home, "x" * 1900, 5))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await anext(pieces)
            await asyncio.sleep(0.3)
            num_rows = sum(sum(batch) for batch in computes[0].batches)
            assert 300 < num_rows < 800
            await ask(home, "hello", 3).text()
            assert home.leftovers() == 0

    run(main())


def test_a_bug_behind_the_computing_fails_one_session_and_the_node_lives(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(*_: object) -> None:
        raise ZeroDivisionError("over nothing")

    async def main() -> None:
        async with a_bench() as bench:
            await bench.load()
            await bench.say(bench.opening())
            with monkeypatch.context() as patch:
                patch.setattr(Relay, "advanced", stumble)
                (failure,) = await bench.say(a_frame())
            assert isinstance(failure, SessionFailed)
            assert failure.code == "internal"
            assert await bench.serves()

    run(main())
    assert "Traceback" in caplog.text
