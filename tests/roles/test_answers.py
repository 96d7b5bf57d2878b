"""A whole mesh in memory: requests are answered, split or whole, and every failure is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mesh.config import Timing
from mesh.errors import (
    BadSetting,
    CapacityLost,
    ContextExceeded,
    DeadlineExceeded,
    InsufficientMemory,
    MeshError,
    ModelNotPulled,
    PeerUnreachable,
    UnknownModel,
)
from mesh.messages import Piece
from mesh.types import ChatMessage, FinishReason, NodeState, Span
from simulator.library import TINY, MemoryLibrary
from simulator.loop import run
from tests.roles.world import KB, Home, a_home

LONG = "p3"
"""A prompt whose greedy answer by the token function is longer than any asked for here."""

SPLIT_IN_THREE = {"phone": 780 * KB, "car": 770 * KB, "tv": 760 * KB}
"""Memories under which no two of the nodes could hold the tiny model with its cache."""


async def ask(home: Home, at: str = "phone", **options: object) -> tuple[str, tuple[int, ...]]:
    answer = home.client(at).chat(LONG, max_tokens=40, seed=7, **options)  # type: ignore[arg-type]
    text = await answer.text()
    return text, answer.summary.tokens


async def drain(pieces: AsyncIterator[Piece]) -> None:
    async for _ in pieces:
        pass


def test_an_answer_comes_with_its_summary() -> None:
    async def main() -> None:
        async with a_home(phone=10_000 * KB) as home:
            answer = home.client("phone").chat(LONG, max_tokens=40, seed=7)
            pieces = [piece async for piece in answer]
            summary = answer.summary
            assert "".join(piece.text for piece in pieces)
            assert tuple(t for piece in pieces for t in piece.tokens) == summary.tokens
            assert summary.model == "tiny"
            assert summary.num_prompt_tokens == len(f"user: {LONG}\nassistant: ")
            assert summary.seed == 7
            assert [(share.name, share.span) for share in summary.stages] == [("phone", Span(0, 12))]

    run(main())


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_the_tokens_do_not_depend_on_the_split(temperature: float) -> None:
    async def main() -> None:
        texts = []
        for memories in ({"phone": 10_000 * KB}, {"phone": 1_400 * KB, "tv": 1_400 * KB}, SPLIT_IN_THREE):
            async with a_home(**memories) as home:
                texts.append(await ask(home, temperature=temperature))
                plan = await home.client("phone").plan()
                assert len(plan.stages) == len(memories)
        assert texts[0] == texts[1] == texts[2]

    run(main())


def test_another_seed_gives_another_answer() -> None:
    async def main() -> None:
        async with a_home(**SPLIT_IN_THREE) as home:
            client = home.client("phone")
            texts = [
                await client.chat(LONG, max_tokens=40, temperature=0.8, seed=s).text() for s in (1, 2, 1)
            ]
            assert texts[0] == texts[2] != texts[1]

    run(main())


def test_any_node_is_a_gateway() -> None:
    async def main() -> None:
        async with a_home(**SPLIT_IN_THREE) as home:
            assert await ask(home, "phone") == await ask(home, "car") == await ask(home, "tv")

    run(main())


def test_a_long_prompt_goes_in_several_frames_and_gives_the_same_tokens() -> None:
    async def main() -> None:
        prompt = "x" * 1200
        texts = []
        for memories in ({"phone": 10_000 * KB}, {"phone": 3_000 * KB, "car": 3_000 * KB}):
            async with a_home(**memories) as home:
                texts.append(await home.client("phone").chat(prompt, max_tokens=20, seed=1).text())
        assert texts[0] == texts[1]

    run(main())


def test_requests_at_the_same_time_do_not_mix() -> None:
    async def main() -> None:
        async with a_home(phone=10_000 * KB, car=10_000 * KB) as home:
            alone = [await home.client("phone").chat(f"{i}", max_tokens=20).text() for i in range(4)]
            async with asyncio.TaskGroup() as tasks:
                together = [
                    tasks.create_task(home.client(name).chat(f"{i}", max_tokens=20).text())
                    for i, name in enumerate(["phone", "car", "phone", "car"])
                ]
            assert [task.result() for task in together] == alone

    run(main())


def test_nothing_is_left_allotted_after_answers_failures_and_abandonment() -> None:
    async def main() -> None:
        async with a_home(**SPLIT_IN_THREE) as home:
            await ask(home)
            abandoned = aiter(home.client("phone").chat(LONG, max_tokens=1000))
            await anext(abandoned)
            assert home.leftovers() == 3
            await abandoned.aclose()
            with pytest.raises(DeadlineExceeded):
                await home.client("phone").chat(LONG, max_tokens=900, deadline_s=0.0).text()
            await asyncio.sleep(2)
            assert home.leftovers() == 0

    run(main())


def test_stages_are_freed_when_their_gateway_loses_power_and_no_client_turns_to_another() -> None:
    async def main() -> None:
        async with a_home(**SPLIT_IN_THREE) as home:
            await anext(aiter(home.client("tv").chat(LONG, max_tokens=1000)))
            home.power_cut("tv")
            await asyncio.sleep(Timing().quick_lost_s + Timing().linger_s + 1)
            assert [home.nodes[name].num_open for name in ("phone", "car")] == [0, 0]

    run(main())


@pytest.mark.parametrize("deadline_s", [4.48, 5.0])  # of the first, one look falls into the last tenth
@pytest.mark.parametrize("victim", ["phone", "car", "tv"])
def test_a_device_lost_where_nobody_has_room_is_told_in_time_after_all_its_tokens(
    victim: str, deadline_s: float
) -> None:
    async def main() -> None:
        async with a_home(**SPLIT_IN_THREE, hub=0) as home:
            received: list[int] = []
            answer = home.client("hub").chat(LONG, max_tokens=1000, deadline_s=deadline_s)

            async def read() -> None:
                async for piece in answer:
                    received.extend(piece.tokens)
                    if len(received) == 5:
                        home.power_cut(victim)

            asked_s = asyncio.get_running_loop().time()
            with pytest.raises(
                CapacityLost, match=rf"tiny lost layers \[\d+, \d+\) on {victim}, .* MB are missing"
            ):
                await read()
            assert len(received) >= 5
            told_s = asyncio.get_running_loop().time() - asked_s
            assert deadline_s - 0.3 < told_s <= deadline_s
            await asyncio.sleep(2)
            survivors = [n.num_open for name, n in home.nodes.items() if name != victim]
            assert survivors == [0, 0, 0]

    run(main())


def test_without_a_deadline_a_device_that_does_not_come_back_is_waited_for_as_long_as_for_any_token() -> None:
    async def main() -> None:
        async with a_home(**SPLIT_IN_THREE) as home:
            answer = aiter(home.client("phone").chat(LONG, max_tokens=900))
            await anext(answer)
            home.power_cut("tv")
            lost_s = asyncio.get_running_loop().time()
            with pytest.raises(CapacityLost, match=r"on tv, which need 1 MB"):
                await drain(answer)
            waited_s = asyncio.get_running_loop().time() - lost_s
            assert waited_s == pytest.approx(Timing().stall_s, abs=0.1)

    run(main())


def test_a_device_that_is_asked_to_leave_and_that_nobody_can_relieve_finishes_its_answers_first() -> None:
    async def main() -> None:
        async with a_home(**SPLIT_IN_THREE) as home:
            answer = home.client("phone").chat(LONG, max_tokens=150)
            pieces = aiter(answer)
            await anext(pieces)
            home.nodes["tv"].node.stop()
            await drain(pieces)
            assert len(answer.summary.tokens) == 150
            assert not home.nodes["tv"].task.done()
            await asyncio.sleep(1)
            assert home.nodes["tv"].task.done()

    run(main())


def test_a_device_that_is_told_twice_to_leave_goes_at_once_and_is_named() -> None:
    async def main() -> None:
        async with a_home(**SPLIT_IN_THREE) as home:
            answer = aiter(home.client("phone").chat(LONG, max_tokens=900, deadline_s=5.0))
            await anext(answer)
            home.nodes["tv"].node.stop()
            home.nodes["tv"].node.stop()
            with pytest.raises(CapacityLost, match=r"on tv, which need"):
                await drain(answer)

    run(main())


def test_a_gateway_that_goes_away_is_told_to_its_client() -> None:
    async def main() -> None:
        async with a_home(phone=10_000 * KB) as home:
            answer = aiter(home.client("phone").chat(LONG, max_tokens=900))
            await anext(answer)
            home.power_cut("phone")
            with pytest.raises(PeerUnreachable, match="phone went away"):
                await drain(answer)

    run(main())


async def fails(home: Home, error: type[MeshError], match: str, **options: object) -> None:
    with pytest.raises(error, match=match):
        await home.client("phone").chat(LONG, **options).text()  # type: ignore[arg-type]


def test_requests_that_cannot_be_met_say_why() -> None:
    async def main() -> None:
        async with a_home(phone=500 * KB, car=400 * KB) as home:
            await fails(home, UnknownModel, "unknown model 'huge'; see `mesh models`", model="huge")
            await fails(home, ContextExceeded, "prompt of 20 tokens.* up to 5000.*2048", max_tokens=5000)
            await fails(home, InsufficientMemory, r"tiny needs \d+ MB .* missing")
            await fails(home, BadSetting, "max_tokens is 0", max_tokens=0)

    run(main())


def test_bad_options_are_refused_before_anything_is_sent() -> None:
    async def main() -> None:
        async with a_home(phone=10_000 * KB) as home:
            await fails(home, BadSetting, "top_p must be above 0", top_p=0.0)
            await fails(home, BadSetting, "temperature must be 0 or more", temperature=-1.0)
            await fails(home, BadSetting, "chat has no option 'temprature'", temprature=1.0)

    run(main())


def test_a_gateway_without_the_model_says_how_to_get_it() -> None:
    async def main() -> None:
        async with a_home() as home:
            await home.start("phone", library=MemoryLibrary(()))
            await home.settle()
            await fails(home, ModelNotPulled, "phone has no model; run `mesh pull")

    run(main())


def test_a_beginning_that_one_model_has_names_it_and_one_that_several_have_says_which() -> None:
    async def main() -> None:
        rl, sft = (replace(TINY, name=f"tiny:{kind}") for kind in ("7b-rl", "7b-sft"))
        async with a_home() as home:
            await home.start("phone", library=MemoryLibrary((rl,)))
            await home.start("car", library=MemoryLibrary((rl, sft)))
            await home.settle()
            answer = home.client("phone").chat("hi", model="tiny:7b", max_tokens=3)
            assert await answer.text()
            assert answer.summary.model == (await home.client("phone").plan("tiny:7b")).model.name == rl.name
            with pytest.raises(UnknownModel, match=r"'tiny:7b' may mean tiny:7b-rl or tiny:7b-sft"):
                await home.client("car").plan("tiny:7b")
            await fails(home, ModelNotPulled, "tiny is not on this device", model="tiny")

    run(main())


def test_nodes_without_the_model_are_not_planned() -> None:
    async def main() -> None:
        async with a_home(phone=1_400 * KB, car=1_400 * KB) as home:
            await home.start("tv", 10_000 * KB, library=MemoryLibrary(()))
            await home.settle()
            plan = await home.client("phone").plan()
            assert {stage.node.name for stage in plan.stages} == {"phone", "car"}

    run(main())


def test_an_answer_that_the_model_ends_says_so() -> None:
    async def main() -> None:
        async with a_home(phone=10_000 * KB) as home:
            client = home.client("phone")
            for seed in range(20):
                answer = client.chat(LONG, max_tokens=1500, temperature=1.0, seed=seed)
                await answer.text()
                if answer.summary.reason is FinishReason.STOP:
                    assert 0 not in answer.summary.tokens
                    return
            raise AssertionError("byte 0 never came")

    run(main())


def test_a_conversation_is_taken_whole() -> None:
    async def main() -> None:
        async with a_home(phone=10_000 * KB) as home:
            turns = [ChatMessage("user", "hi"), ChatMessage("assistant", "yes?"), ChatMessage("user", "go")]
            answer = home.client("phone").chat(turns, max_tokens=5)
            await answer.text()
            assert answer.summary.num_prompt_tokens == len("user: hi\nassistant: yes?\nuser: go\nassistant: ")

    run(main())


def test_each_device_holds_its_own_span_only() -> None:
    async def main() -> None:
        async with a_home(**SPLIT_IN_THREE) as home:
            await ask(home)
            spans = sorted(key.span for node in home.nodes.values() for key in node.compute.stages)
            assert spans[0].start == 0
            assert spans[-1].end == TINY.num_layers
            assert [span.end for span in spans[:-1]] == [span.start for span in spans[1:]]
            assert len(spans) == 3

    run(main())


def test_a_new_answer_waits_for_a_device_that_is_late_and_cannot_be_done_without() -> None:
    async def main() -> None:
        async with a_home(**SPLIT_IN_THREE) as home:
            text = await ask(home)
            home.freeze("tv")
            await asyncio.sleep(Timing().quick_suspect_s + 0.2)
            assert (await home.states("phone"))["tv"] is NodeState.SUSPECT
            asyncio.get_running_loop().call_later(0.1, home.thaw, "tv")
            assert await ask(home) == text

    run(main())
