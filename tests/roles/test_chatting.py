"""By which way a chat is answered, and by which next where that fails: the mesh, or servers outside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mesh.adapters.openai_upstream import OpenAiUpstream
from mesh.card import ModelCard, Skill, SkillWeight
from mesh.client import Answer
from mesh.decision import OptionKind, Privacy
from mesh.errors import (
    BadSetting,
    ContextExceeded,
    DeadlineExceeded,
    InsufficientMemory,
    ModelNotPulled,
    NodeLeaving,
    PeerUnreachable,
    UnknownModel,
    UnknownSkill,
    UpstreamBroken,
    UpstreamRefused,
    UpstreamUnreachable,
)
from mesh.logic.speeds import SLOWEST
from mesh.messages import Piece
from mesh.ports import Upstream
from mesh.roles.telling import Telling
from mesh.types import Digest, FinishReason
from mesh.upstream import (
    UpstreamCard,
    UpstreamModel,
    UpstreamPiece,
    UpstreamQuestion,
    UpstreamSettings,
    UpstreamText,
)
from simulator.library import TINY, MemoryLibrary
from simulator.loop import run
from simulator.upstream import SimulatedUpstream, UpstreamPace
from tests.contract.test_upstream import LoopbackRemote
from tests.logic.houses import speed_of
from tests.roles.test_measuring import Speedometer
from tests.roles.world import KB, ROOMY, Home, a_home

MODELS = (UpstreamModel("tiny", "tiny-there"), UpstreamModel("huge", "huge-there"))
HALF = 1_000 * KB
"""Two such devices hold the model together, none alone."""
FAST = UpstreamPace(first_token_s=0.01, token_s=0.0001)


def a_server(
    name: str = "studio", privacy: Privacy = Privacy.CLOUD, *, expects: float | None = 1e4
) -> SimulatedUpstream:
    """A server of which its owner says that it is very fast, or says nothing."""
    card = UpstreamCard(name, MODELS, privacy, tokens_per_s=expects, first_token_s=expects and 0.01)
    return SimulatedUpstream(card, FAST)


@asynccontextmanager
async def a_phone(
    *servers: Upstream, memory_bytes: int = ROOMY, rate: float | None = SLOWEST
) -> AsyncIterator[Home]:
    """A phone that knows that it is slow."""
    speedometer = None if rate is None else Speedometer(known=speed_of(rate))
    async with a_home() as home:
        await home.start("phone", memory_bytes, upstreams=servers, speedometer=speedometer)
        await home.settle()
        yield home


def ask(home: Home, privacy: str = "cloud", model: str = "tiny") -> Answer:
    return home.client("phone").chat("hello", model=model, privacy=privacy, max_tokens=8)


def options(answer: Answer) -> list[tuple[str, str | None]]:
    assert answer.decision is not None
    return [(option.name, option.excluded) for option in answer.decision.options]


def test_a_server_that_has_a_model_which_nobody_here_has_answers_where_it_may() -> None:
    async def main() -> None:
        server = a_server()
        async with a_phone(server) as home:
            answer = ask(home, model="huge")
            assert await answer.text()
            assert answer.summary.stages == ()
            assert answer.summary.tokens == ()
            assert answer.summary.reason is FinishReason.LENGTH
            assert answer.summary.ttft_s > 0
            assert answer.decision is not None
            assert answer.decision.chosen is not None
            assert answer.decision.chosen.kind is OptionKind.UPSTREAM
            assert server.num_requests == 1

    run(main())


@pytest.mark.parametrize(("rate", "asked"), [(None, 0), (SLOWEST, 1), (1e12, 0)])
def test_a_server_answers_only_what_the_mesh_is_known_to_be_slower_with(
    rate: float | None, asked: int
) -> None:
    async def main() -> None:
        server = a_server()
        async with a_phone(server, rate=rate) as home:
            await ask(home, "mesh").text()  # the weights are in memory now
            await ask(home, "cloud").text()
            assert server.num_requests == asked

    run(main())


@pytest.mark.parametrize("privacy", ["device", "mesh"])
def test_nothing_leaves_the_house_unless_it_was_said(privacy: str) -> None:
    async def main() -> None:
        server = a_server()
        async with a_phone(server) as home:
            answer = ask(home, privacy)
            await answer.text()
            assert answer.summary.stages
            assert ("studio", f"the request may not go further than '{privacy}'") in options(answer)
            with pytest.raises(UnknownModel, match=r"huge is only at studio, .* may not go further"):
                await ask(home, privacy, model="huge").text()
            assert (server.num_requests, server.received_bytes) == (0, 0)

    run(main())


def test_a_server_in_the_house_is_asked_unless_the_prompt_must_stay_on_the_device() -> None:
    async def main() -> None:
        server = a_server(privacy=Privacy.MESH)
        async with a_phone(server) as home:
            await ask(home, "mesh", model="huge").text()
            assert server.num_requests == 1
            with pytest.raises(UnknownModel, match=r"huge is only at studio, .* may not go further"):
                await ask(home, "device", model="huge").text()
            assert server.num_requests == 1

    run(main())


@pytest.mark.parametrize("privacy", ["device", "mesh", "cloud"])
def test_a_real_server_is_sent_no_byte_unless_it_was_said(privacy: str) -> None:
    async def main() -> None:
        server = LoopbackRemote(is_stalled=False)
        await server.start()
        try:
            card = UpstreamCard("cloud", MODELS, tokens_per_s=1e4, first_token_s=0.001)
            upstream = OpenAiUpstream(UpstreamSettings(card, f"{server.origin}/v1"))
            async with asyncio.TaskGroup() as tasks:
                home = Home(tasks)
                await home.start("phone", upstreams=(upstream,))
                await home.until_met(1)
                await ask(home, privacy).text()
                if privacy == "cloud":
                    await ask(home, privacy, model="huge").text()
                else:
                    with pytest.raises(UnknownModel, match=r"huge is only at cloud, .* may not go further"):
                        await ask(home, privacy, model="huge").text()
                home.nodes["phone"].node.stop()
            await upstream.close()
        finally:
            await server.stop()
        num_bytes = server.received_bytes
        assert (num_bytes > 0) == (privacy == "cloud")

    asyncio.run(main())


def test_with_privacy_device_no_other_device_is_used() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY // 20, tv=ROOMY) as home:
            with pytest.raises(InsufficientMemory, match="privacy is 'device', so no other device may help"):
                await ask(home, "device").text()
            answer = ask(home, "mesh")
            await answer.text()
            assert "tv" in {share.name for share in answer.summary.stages}

    run(main())


def test_a_server_that_fails_before_its_first_word_is_replaced_without_notice() -> None:
    async def main() -> None:
        server = a_server()
        async with a_phone(server) as home:
            reference = await ask(home, "mesh").text()
            for failing in ("down", "dies", "refuses"):
                await asyncio.sleep(31)  # a server that has just failed would not be tried
                server.is_up, server.dies_after, server.refusal = failing != "down", None, None
                if failing == "dies":
                    server.dies_after = 0
                if failing == "refuses":
                    server.refusal = UpstreamRefused("the server 'studio' wants another key")
                answer = ask(home, "cloud")
                pieces = [piece.text async for piece in answer]
                assert "".join(pieces) == reference
                assert [share.name for share in answer.summary.stages] == ["phone"]
                assert options(answer)[0] == ("phone", None)
                assert "it failed before its first word: " in str(options(answer)[1][1])

    run(main())


def test_a_server_that_breaks_off_in_mid_answer_is_an_honest_error() -> None:
    async def main() -> None:
        server = a_server()
        async with a_phone(server) as home:
            server.dies_after = 3
            pieces: list[str] = []
            with pytest.raises(UpstreamBroken):
                await _collect(ask(home, model="huge"), pieces)
            assert len(pieces) == 3

    run(main())


async def _collect(answer: AsyncIterable[Piece], pieces: list[str]) -> None:
    async for piece in answer:
        pieces += [piece.text]


async def _gather(answer: Answer, pieces: list[Piece]) -> None:
    async for piece in answer:
        pieces += [piece]


def test_a_server_that_failed_is_left_alone_for_a_while() -> None:
    async def main() -> None:
        server = a_server()
        async with a_phone(server) as home:
            server.is_up = False
            with pytest.raises(UpstreamUnreachable):
                await ask(home, model="huge").text()
            server.is_up = True
            with pytest.raises(UpstreamUnreachable, match="failed a moment ago; ask again"):
                await ask(home, model="huge").text()
            await asyncio.sleep(31)
            assert await ask(home, model="huge").text()

    run(main())


def test_a_server_that_heeds_no_limit_is_cut_off() -> None:
    class Endless(SimulatedUpstream):
        async def chat(self, question: UpstreamQuestion) -> AsyncGenerator[UpstreamPiece]:
            while True:
                await asyncio.sleep(0.01)
                yield UpstreamText("on ")

    async def main() -> None:
        async with a_phone(Endless(UpstreamCard("studio", MODELS))) as home:
            answer = ask(home, model="huge")
            assert len((await answer.text()).split()) == 8 + 16
            assert answer.summary.reason is FinishReason.LENGTH

    run(main())


def test_a_server_that_hangs_is_replaced_too() -> None:
    async def main() -> None:
        card = UpstreamCard("studio", MODELS, tokens_per_s=1e4, first_token_s=0.01)
        async with a_phone(SimulatedUpstream(card, UpstreamPace(1e6, 0.01))) as home:
            answer = ask(home)
            assert await answer.text()
            assert answer.summary.stages

    run(main())


def test_what_is_too_long_for_the_model_here_is_asked_of_a_server() -> None:
    async def main() -> None:
        server = a_server()
        async with a_phone(server) as home:
            answer = home.client("phone").chat("hello", model="tiny", privacy="cloud", max_tokens=5000)
            assert await answer.text()
            assert server.num_requests == 1
            with pytest.raises(ContextExceeded, match="studio: the request may not go further"):
                await home.client("phone").chat("hello", model="tiny", max_tokens=5000).text()

    run(main())


@pytest.mark.parametrize("how", ["before", "within"])
def test_with_privacy_device_nobody_else_goes_on_when_the_device_is_gone(how: str) -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY, tv=ROOMY) as home:
            answer = home.client("phone").chat("hello", privacy="device", max_tokens=400)
            pieces = aiter(answer)
            if how == "before":
                home.power_cut("phone")
                with pytest.raises(PeerUnreachable):
                    await anext(pieces)
            else:
                await anext(pieces)
                home.power_cut("phone")
                with pytest.raises(PeerUnreachable, match="phone"):
                    await _collect(pieces, [])
            assert home.nodes["tv"].compute.num_open == 0
            assert home.nodes["tv"].worker.status().stages == ()

    run(main())


def test_with_privacy_device_a_device_that_is_drained_hands_over_to_nobody() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY, tv=ROOMY) as home:
            answer = home.client("phone").chat("hello", privacy="device", max_tokens=300)
            pieces = aiter(answer)
            await anext(pieces)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(home.nodes["phone"].node.drain(is_forced=True))
                async for _ in pieces:
                    pass
            assert [share.name for share in answer.summary.stages] == ["phone"]
            assert home.nodes["tv"].worker.status().stages == ()

    run(main())


def test_an_answer_of_a_server_is_waited_for_when_the_device_is_drained() -> None:
    async def main() -> None:
        card = UpstreamCard("studio", MODELS)
        async with a_phone(SimulatedUpstream(card, UpstreamPace(0.5, 0.5))) as home:
            answer = ask(home, model="huge")
            pieces = aiter(answer)
            await anext(pieces)
            async with asyncio.TaskGroup() as tasks:
                drained = tasks.create_task(home.nodes["phone"].node.drain(is_forced=True))
                await asyncio.sleep(1)
                assert not drained.done()
                async for _ in pieces:
                    pass
            assert drained.done()

    run(main())


@pytest.mark.parametrize("deadline_s", [0.73, 1.01, 1.27])
def test_every_token_that_came_is_told_before_the_time_is_over(
    deadline_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    came: list[int] = []
    push = Telling.push

    async def counted(telling: Telling, token: int) -> None:
        came.append(token)
        await push(telling, token)

    async def main() -> None:
        async with a_home(phone=ROOMY) as home:
            chat = home.client("phone").chat
            answer = chat("hello 1 2", max_tokens=1500, temperature=1.0, seed=3, deadline_s=deadline_s)
            got: list[Piece] = []
            with pytest.raises(DeadlineExceeded):
                await _gather(answer, got)
            assert [token for piece in got for token in piece.tokens] == came

    monkeypatch.setattr(Telling, "push", counted)
    run(main())


def test_where_nobody_has_room_each_way_is_named_with_its_reason() -> None:
    async def main() -> None:
        async with a_phone(a_server(), memory_bytes=KB) as home:
            with pytest.raises(InsufficientMemory, match=r"MB are missing.*; studio: the request may not go"):
                await ask(home, "mesh").text()

    run(main())


def test_a_word_that_is_no_privacy_is_named_with_those_that_are() -> None:
    async def main() -> None:
        async with a_phone() as home:
            with pytest.raises(BadSetting, match="'secret' is no privacy; say one of: device, mesh, cloud"):
                await ask(home, "secret").text()

    run(main())


def test_an_explanation_asks_nobody() -> None:
    async def main() -> None:
        server = a_server()
        async with a_phone(server) as home:
            explained = await home.client("phone").explain("hello", model="tiny", privacy="cloud")
            assert {option.name for option in explained.decision.options} == {"phone", "studio"}
            assert explained.plan is not None
            assert explained.plan.model == TINY.ref
            far = await home.client("phone").explain("hello", model="huge", privacy="cloud")
            assert far.plan is None
            assert server.num_requests == 0
            assert home.leftovers() == 0

    run(main())


def a_card(name: str, **skills: float) -> ModelCard:
    weights = tuple(SkillWeight(Skill(skill), weight) for skill, weight in skills.items())
    return ModelCard(name, "family", 1, 2048, "MIT", "https://example.org", weights)


@asynccontextmanager
async def a_phone_with_two(*servers: Upstream) -> AsyncIterator[Home]:
    """It has a model that reckons and one that talks; the latter is too large for it."""
    large = replace(TINY, name="large", digest=Digest("1" * 64), num_layers=2000)
    cards = a_card("tiny", math=0.4, chat=0.2), a_card("large", chat=0.9)
    async with a_home() as home:
        await home.start("phone", library=MemoryLibrary((TINY, large), cards), upstreams=servers)
        await home.settle()
        yield home


async def model_for(home: Home, **options: str) -> str:
    answer = home.client("phone").chat("hello", max_tokens=2, **options)  # type: ignore[arg-type]
    await answer.text()
    return answer.summary.model


def test_the_best_model_for_a_skill_answers_and_it_is_said_why() -> None:
    async def main() -> None:
        async with a_phone_with_two() as home:
            assert await model_for(home, skill="math") == "tiny"
            explained = await home.client("phone").explain("2 + 2?", skill="math")
            assert explained.decision.notes == ("tiny: weight for math 0.4", "large: it lacks math")

    run(main())


def test_a_model_that_has_no_room_is_passed_over_for_the_next() -> None:
    async def main() -> None:
        async with a_phone_with_two() as home:
            assert await model_for(home, model="auto") == "tiny"
            with pytest.raises(InsufficientMemory, match="large needs"):
                await model_for(home, model="large")

    run(main())


def test_a_card_that_cannot_be_read_keeps_no_other_model_from_answering() -> None:
    class Torn(MemoryLibrary):
        async def card(self, model: str) -> ModelCard | None:
            if model == "large":
                raise BadSetting("card.toml is not TOML")
            return await super().card(model)

    async def main() -> None:
        large = replace(TINY, name="large", digest=Digest("1" * 64))
        async with a_home() as home:
            await home.start("phone", library=Torn((TINY, large), (a_card("tiny", math=0.5),)))
            await home.settle()
            assert await model_for(home, skill="math") == "tiny"
            explained = await home.client("phone").explain("2 + 2?", skill="math")
            assert "large: card.toml is not TOML, so it counts for chat only" in explained.decision.notes

    run(main())


def test_a_model_of_a_server_of_which_nothing_is_known_stands_behind_those_with_a_card() -> None:
    async def main() -> None:
        card = UpstreamCard(
            "studio", (UpstreamModel("odd", "odd-there"),), tokens_per_s=1e4, first_token_s=0.01
        )
        async with a_phone_with_two(SimulatedUpstream(card, FAST)) as home:
            assert await model_for(home, model="auto", privacy="cloud") == "tiny"

    run(main())


def test_who_begins_no_answers_explains_none() -> None:
    async def main() -> None:
        async with a_phone() as home:
            await home.client("phone").drain("phone", is_forced=True)
            with pytest.raises(NodeLeaving, match="phone begins no new answers: its owner drains it"):
                await home.client("phone").explain("hello")

    run(main())


def test_where_the_chosen_way_is_refused_the_decision_says_which_was_taken() -> None:
    async def main() -> None:
        async with a_home() as home:
            for name in ("phone", "car", "tv"):
                await home.start(name, HALF)
            await home.settle()
            planned = [stage.node.name for stage in (await home.client("phone").plan("tiny")).stages]
            other = next(name for name in ("car", "tv") if name in planned)
            draining = home.nodes[other].node._draining
            assert draining is not None
            draining._leaver.worker.is_closed = True  # which nobody has heard yet
            answer = home.client("phone").chat("hello", model="tiny", max_tokens=8)
            await answer.text()
            taken = [share.name for share in answer.summary.stages]
            assert other not in taken
            decision = answer.decision
            assert decision is not None
            assert decision.chosen is not None
            assert [share.name for share in decision.chosen.shares] == taken
            assert (" + ".join(planned), "it did not take the answer") in options(answer)
            assert (
                decision.reason == f"{' + '.join(taken)} answers, for {' + '.join(planned)} did not take it"
            )

    run(main())


def test_what_the_first_token_takes_beside_the_work_is_learnt() -> None:
    async def main() -> None:
        async with a_phone(rate=1e12) as home:
            off: list[float] = []
            for _ in range(12):
                answer = ask(home, "mesh")
                await answer.text()
                assert answer.decision is not None
                predicted = answer.decision.options[0].prediction
                assert predicted is not None
                off.append(predicted.first_token_s / answer.summary.ttft_s)
            assert off[1] < 0.1  # the work alone, and such a device does it in no time
            assert off[-1] == pytest.approx(1, abs=0.1)

    run(main())


def test_an_explicit_name_wins_over_a_skill() -> None:
    async def main() -> None:
        async with a_phone_with_two(a_server()) as home:
            assert await model_for(home, model="huge", skill="math", privacy="cloud") == "huge"

    run(main())


def test_a_skill_that_only_a_server_has_is_found_there_where_it_may_be_asked() -> None:
    async def main() -> None:
        models = (UpstreamModel("coder", "coder-there", ("code",)),)
        card = UpstreamCard("studio", models, tokens_per_s=1e4, first_token_s=0.01)
        async with a_phone_with_two(SimulatedUpstream(card, FAST)) as home:
            assert await model_for(home, skill="code", privacy="cloud") == "coder"
            with pytest.raises(ModelNotPulled, match=r"phone has no model for 'code' \(large: .*; tiny: "):
                await model_for(home, skill="code")

    run(main())


def test_a_word_that_is_no_skill_is_named_with_those_that_are() -> None:
    async def main() -> None:
        async with a_phone() as home:
            with pytest.raises(UnknownSkill, match="no skill is called 'maths'; skills are chat, math, code"):
                await model_for(home, skill="maths")

    run(main())
