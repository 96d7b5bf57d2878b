"""A next turn, a shared system prompt, a retry: what is common is computed once, and exactly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from mesh.client import Answer
from mesh.messages import CloseSession
from mesh.ports import Step, StepResult
from mesh.roles.survey import Survey
from mesh.types import ChatMessage, Sampling, Summary, TokenIds
from simulator.compute import TokenFunctionCompute
from simulator.library import TINY, ByteCodec
from simulator.loop import run
from simulator.token_function import reference_tokens
from tests.roles.test_places import asked, finish, hear
from tests.roles.world import KB, Home

OWN_KB, SPARE_KB = 770, 3_000
"""Three devices share the model; each has room for caches of some sessions beside."""

RULES = ChatMessage("system", "You are a kind and helpful assistant of this home. " * 4)
Messages = tuple[ChatMessage, ...]


class Counting(TokenFunctionCompute):
    """Knows how many rows it has computed."""

    def __init__(self, row_s: float = 0.0002) -> None:
        super().__init__(TINY, step_s=0.002, row_s=row_s)
        self.num_rows = 0

    async def run(self, steps: Sequence[Step]) -> list[StepResult]:
        for step in steps:
            payload = step.payload
            self.num_rows += len(payload.ids) if isinstance(payload, TokenIds) else len(payload.data) // 128
        return await super().run(steps)


@dataclass
class House:
    """Three devices or more, and what they have computed."""

    home: Home
    computes: dict[str, Counting] = field(default_factory=dict)

    def rows(self) -> int:
        """Rows that were computed since the last call, at the device that has computed most."""
        found = max(compute.num_rows for compute in self.computes.values())
        for compute in self.computes.values():
            compute.num_rows = 0
        return found

    async def ask(self, *messages: ChatMessage, at: str = "phone", max_tokens: int = 12) -> Summary:
        """Ask and check the answer against the undivided model's."""
        answer = self.home.client(at).chat(messages, max_tokens=max_tokens, seed=8)
        await answer.text()
        check(answer, messages, max_tokens)
        assert answer.recoveries == ()
        return answer.summary

    async def route(self) -> list[str]:
        plan = await self.home.client("phone").plan(context=1024)
        return [stage.node.name for stage in plan.stages]


def ids(messages: Sequence[ChatMessage]) -> tuple[int, ...]:
    return ByteCodec().encode_chat(messages)


def check(answer: Answer, messages: Sequence[ChatMessage], max_tokens: int) -> None:
    expected, _ = reference_tokens(TINY, ids(messages), Sampling(seed=8), max_tokens, ByteCodec().stop_ids)
    assert answer.summary.tokens == expected


def user(text: str) -> ChatMessage:
    return ChatMessage("user", text)


@asynccontextmanager
async def a_house(*names: str, spare_kb: int = SPARE_KB) -> AsyncIterator[House]:
    async with asyncio.TaskGroup() as tasks:
        house = House(Home(tasks))
        for name in names or ("phone", "car", "tv"):
            compute = house.computes[name] = Counting()
            memory_bytes, spare_bytes = (OWN_KB + spare_kb) * KB, spare_kb * KB
            await house.home.start(name, memory_bytes, spare_bytes=spare_bytes, compute=compute)
        await house.home.settle()
        try:
            yield house
        finally:
            for node in house.home.started:
                node.node.stop()
                node.node.stop()


def test_the_next_turn_computes_only_what_is_new() -> None:
    async def main() -> None:
        async with a_house() as house:
            question = user("What is the capital of Japan? " * 10)
            first = await house.ask(question)
            assert first.reused_positions == 0
            assert house.rows() == len(ids([question])) + len(first.tokens) - 1
            turns = question, ChatMessage("assistant", "Tokyo."), user("And of France?")
            second = await house.ask(*turns)
            assert len(first.stages) == 3
            assert second.reused_positions >= len(ids([question]))
            num_new = len(ids(turns)) - second.reused_positions
            assert house.rows() == num_new + len(second.tokens) - 1
            await asyncio.sleep(2)
            assert house.home.leftovers() == 0

    run(main())


def test_a_retried_request_computes_one_row_of_its_prompt() -> None:
    async def main() -> None:
        async with a_house() as house:
            question = user("Who wrote Hamlet? " * 10)
            first = await house.ask(question)
            house.rows()
            again = await house.ask(question)
            assert again.reused_positions == len(ids([question])) - 1
            assert house.rows() == 1 + len(first.tokens) - 1

    run(main())


def test_a_system_prompt_is_shared_also_with_an_answer_that_is_under_way() -> None:
    async def main() -> None:
        async with a_house() as house:
            slow = house.home.client("phone").chat((RULES, user("Tell a story.")), max_tokens=300, seed=8)
            pieces = aiter(slow)
            await anext(pieces)
            second = await house.ask(RULES, user("What is 2 + 2?"))
            assert second.reused_positions >= len(ids([RULES])) - len("assistant: ")
            async for _ in pieces:
                pass
            check(slow, (RULES, user("Tell a story.")), 300)
            third = await house.ask(RULES, user("Why is the sky blue?"))
            assert third.reused_positions >= len(ids([RULES])) - len("assistant: ")

    run(main())


def test_a_request_that_was_given_up_is_of_use_to_the_next() -> None:
    async def main() -> None:
        async with a_house() as house:
            pieces = aiter(house.home.client("phone").chat((RULES, user("Hm?")), max_tokens=600))
            await anext(pieces)
            await pieces.aclose()
            await asyncio.sleep(0.5)
            assert house.home.leftovers() == 0
            again = await house.ask(RULES, user("Hm?"))
            assert again.reused_positions == len(ids((RULES, user("Hm?")))) - 1

    run(main())


def test_what_has_nothing_in_common_computes_all() -> None:
    async def main() -> None:
        async with a_house() as house:
            await house.ask(user("Who wrote Hamlet? " * 5))
            other = await house.ask(ChatMessage("system", "Be brief."), user("Who wrote Faust? " * 5))
            assert other.reused_positions == 0

    run(main())


@pytest.mark.parametrize("which", [0, 1, 2])
def test_where_one_stage_has_given_up_its_cache_all_is_computed_and_hardly_later(which: int) -> None:
    async def main() -> None:
        async with a_house() as house:
            question = user("Who wrote Hamlet? " * 10)
            first = await house.ask(question)
            name = (await house.route())[which]
            (session_id,) = house.home.nodes[name].worker.parked
            link = await house.home.link(house.home.nodes[name].record)
            await link.send(CloseSession(session_id, 0))
            await asyncio.sleep(0.1)
            assert house.home.nodes[name].worker.parked == ()
            again = await house.ask(question)
            assert again.reused_positions == 0
            assert again.ttft_s <= first.ttft_s + 0.03  # a part of the prompt, and a way there and back
            await link.close()

    run(main())


def test_parked_caches_make_room_for_answers_and_are_told_as_such() -> None:
    async def main() -> None:
        async with a_house(spare_kb=600) as house:
            client = house.home.client("phone")
            for number in range(6):
                await house.ask(user(f"{number} is the number of this question. " * 10))
                await asyncio.sleep(1.5)
                statuses = [device.status for device in await client.devices()]
                parked = [status.parked_bytes for status in statuses if status]
                assert all(0 < parked_bytes <= (OWN_KB + 600) * KB for parked_bytes in parked)
                assert all(s.used_bytes <= s.memory_bytes for s in statuses if s)
            oldest = await house.ask(user("0 is the number of this question. " * 10))
            assert oldest.reused_positions == 0
            newest = await house.ask(user("0 is the number of this question. " * 10))
            assert newest.reused_positions > 0
            await asyncio.sleep(1)
            assert house.home.leftovers() == 0

    run(main())


def test_what_a_later_turn_repeats_is_freed() -> None:
    async def main() -> None:
        async with a_house() as house:
            turns: Messages = (user("Who wrote Hamlet? " * 10),)
            for _ in range(4):
                summary = await house.ask(*turns)
                text = ByteCodec().pieces()
                said = "".join(text.push(token) for token in summary.tokens) + text.finish()
                turns = (*turns, ChatMessage("assistant", said), user("Really?"))
            await house.ask(*turns[:1])
            await house.ask(*turns[:1])
            await asyncio.sleep(1)
            assert max(len(node.worker.parked) for node in house.home.nodes.values()) <= 5

    run(main())


@pytest.mark.parametrize("cut_s", [0.0005, 0.002, 0.004, 0.006, 0.008, 0.01, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("which", [1, 2])
def test_a_stage_that_is_lost_while_a_session_begins_like_another_costs_no_token(
    which: int, cut_s: float
) -> None:
    async def main() -> None:
        async with a_house("phone", "car", "tv", "pc") as house:
            question = user("Who wrote Hamlet? " * 10)
            await house.ask(question, at="pc")
            victim = (await house.route())[which]
            at = next(name for name in house.computes if name != victim)
            if at != "pc":
                await house.ask(question, at=at)
            asyncio.get_running_loop().call_later(cut_s, house.home.power_cut, victim)
            answer = house.home.client(at if victim == "pc" else "pc").chat(
                (question,), max_tokens=40, seed=8
            )
            await answer.text()
            check(answer, (question,), 40)
            assert answer.summary.reused_positions in (0, len(ids([question])) - 1)
            await asyncio.sleep(4)
            assert sum(n.num_open for name, n in house.home.nodes.items() if name != victim) == 0

    run(main())


def test_another_gateway_that_has_gone_on_with_an_answer_knows_what_it_has_left() -> None:
    async def main() -> None:
        async with a_house() as house, asked(house.home, "phone") as link:
            started = await hear(link, 8)
            await link.close()
            async with asked(house.home, "car", started) as other:
                first = await finish(other)
            async with asked(house.home, "car") as again:
                second = await finish(again)
            assert second.tokens == first.tokens
            assert second.reused_positions == second.num_prompt_tokens - 1
            async with asked(house.home, "tv") as elsewhere:
                third = await finish(elsewhere)
            assert third.tokens == first.tokens
            assert third.reused_positions == 0

    run(main())


def test_a_session_that_was_over_and_is_asked_for_again_opens_anew() -> None:
    """Its end was lost on the way to its client, which turns to another gateway."""

    async def main() -> None:
        async with a_house() as house, asked(house.home, "phone") as link:
            started = await hear(link, 8)
            summary = await finish(link)
            async with asked(house.home, "car", started) as other:
                assert (await finish(other)).tokens == summary.tokens
            await asyncio.sleep(2)
            assert house.home.leftovers() == 0

    run(main())


def test_parked_caches_count_as_free_for_plans() -> None:
    async def main() -> None:
        async with a_house() as house:
            await house.ask(user("Who wrote Hamlet? " * 10))
            await asyncio.sleep(2)
            draining = house.home.nodes["phone"].node._draining
            assert draining is not None
            candidates = Survey(draining._leaver.roster).for_plans(TINY.ref)
            assert len(candidates) == 3
            assert all(c.used_bytes == sum(s.weights_bytes for s in c.stages) > 0 for c in candidates)

    run(main())
