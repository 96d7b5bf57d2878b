"""What does not fit is refused at once, with the time after which to try again; what fits never is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mesh.client import Answer
from mesh.errors import Busy
from mesh.messages import Frame, RequestFailed, SessionFailed, Token
from mesh.now import now_s
from mesh.types import Precision, SessionId, TokenIds
from simulator.compute import TokenFunctionCompute
from simulator.library import TINY
from simulator.loop import run
from tests.roles.test_failover import LONG
from tests.roles.test_worker import (
    CACHE_BYTES,
    CONTEXT,
    HALF,
    LATER,
    OTHER,
    WHOLE,
    a_bench,
    a_frame,
    weights,
)
from tests.roles.world import Home, a_home

TOKEN_S = 0.05
ANSWER_CACHE = TINY.cache_bytes(WHOLE, 1024, Precision.INT4)


@asynccontextmanager
async def a_small_home(num_answers: int) -> AsyncIterator[Home]:
    """One device with room for the whole model and so many answers."""
    async with a_home() as home:
        memory_bytes = weights(WHOLE) + num_answers * ANSWER_CACHE
        await home.start("tv", memory_bytes, compute=TokenFunctionCompute(TINY, step_s=TOKEN_S))
        await home.settle()
        yield home


def ask(home: Home, number: int = 0, max_tokens: int = 40) -> Answer:
    return home.client("tv").chat(f"{number}{LONG}", max_tokens=max_tokens, seed=number)


def test_an_answer_without_room_is_refused_and_told_when_to_try_again() -> None:
    async def main() -> None:
        async with a_small_home(2) as home:
            tell = asyncio.get_running_loop().create_task
            first = ask(home, 0)
            await first.text()
            lasts_s = len(first.summary.tokens) * TOKEN_S
            running = [tell(ask(home, number).text()) for number in (1, 2)]
            await asyncio.sleep(TOKEN_S * 5)
            began_s = now_s()
            with pytest.raises(Busy) as refused:
                await ask(home, 3).text()
            assert now_s() - began_s < 0.2
            assert refused.value.retry_after_s is not None
            assert 1 <= refused.value.retry_after_s <= max(1, lasts_s)
            seconds = refused.value.retry_after_s
            assert str(refused.value).endswith(f"0 MB are free; try again in about {seconds:.0f} s")
            assert str(refused.value).count("try again") == 1
            for task in running:
                await task
            await ask(home, 3).text()

    run(main())


def test_requests_that_fit_are_never_refused_however_many_were_there_before() -> None:
    """What answers leave parked is in nobody's way."""

    async def main() -> None:
        async with a_small_home(2) as home:
            for number in range(12):
                pair = [ask(home, 2 * number + other, max_tokens=5) for other in range(2)]
                async with asyncio.TaskGroup() as tasks:
                    for answer in pair:
                        tasks.create_task(answer.text())
                assert all(answer.recoveries == () for answer in pair)

    run(main())


def test_a_node_whose_work_would_take_too_long_takes_no_further_session_but_goes_on_with_others() -> None:
    async def main() -> None:
        async with a_bench(compute=TokenFunctionCompute(TINY, step_s=1.0)) as bench:
            await bench.load()
            await bench.say(bench.opening(), a_frame())
            names = [SessionId(f"{number:016x}") for number in range(20)]
            for name in names:
                await bench.link.send(bench.opening(name))
            for name in names:
                for start in (0, 9, 18):  # three batches of a second for each of them
                    frame = Frame(name, 0, 0, start, TokenIds((1,) * 9), sample=start == 18)
                    await bench.link.send(frame)
            await asyncio.sleep(0.1)
            (failure,) = await bench.say(bench.opening(LATER))
            assert isinstance(failure, SessionFailed)
            assert failure.code == "busy"
            assert failure.retry_after_s is not None
            assert 5 < failure.retry_after_s < 60
            assert "s of work wait here already; try again in about " in failure.message
            again = await bench.say(bench.opening(epoch=1, known=3))  # who is there already goes on
            assert [type(message) for message in again] == [Token]
            await asyncio.sleep(90)
            tokens = [m for m in bench.gateway.heard if isinstance(m, Token) and m.session_id in names]
            assert len(tokens) == len(names)

    run(main())


def test_a_stage_that_finds_no_room_says_when_to_try_again() -> None:
    async def main() -> None:
        async with a_bench(weights(WHOLE) + 2 * CACHE_BYTES) as bench:
            await bench.load()
            await bench.say(bench.opening(), bench.opening(OTHER))
            failure = await bench.load(HALF)
            assert isinstance(failure, RequestFailed)
            assert (failure.code, failure.retry_after_s) == ("busy", 4.0)
            assert failure.message.endswith("of them are in use; try again in about 4 s")
            assert CONTEXT == 64

    run(main())


def test_one_gateway_makes_so_many_answers_at_once_and_refuses_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.roles.answers._MOST_ANSWERS", 2)

    async def main() -> None:
        async with a_small_home(4) as home:
            tell = asyncio.get_running_loop().create_task
            running = [tell(ask(home, number).text()) for number in (1, 2)]
            await asyncio.sleep(0.1)
            with pytest.raises(Busy, match="2 answers are made here already; try again in about 1 s"):
                await ask(home, 3).text()
            for task in running:
                await task
            await ask(home, 3).text()

    run(main())
