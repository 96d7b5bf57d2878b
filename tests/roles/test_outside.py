"""Servers outside the mesh: what is expected of them, and what keeps them from being asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import pytest

from mesh.card import Skill, SkillWeight
from mesh.decision import Prediction, Privacy
from mesh.errors import Concern, UpstreamBroken, UpstreamBusy, UpstreamRefused
from mesh.roles.outside import Outside, Server
from mesh.types import ChatMessage
from mesh.upstream import (
    UpstreamCard,
    UpstreamEnd,
    UpstreamFinish,
    UpstreamModel,
    UpstreamPiece,
    UpstreamQuestion,
    UpstreamText,
    UpstreamUsage,
)
from simulator.loop import run
from simulator.upstream import SimulatedUpstream, UpstreamPace

MODELS = (UpstreamModel("tiny", "there", ("math", "math")), UpstreamModel("plain", "there-too"))
QUESTION = UpstreamQuestion("tiny", (ChatMessage("user", "?"),), 12)


def a_server(**expected: float) -> SimulatedUpstream:
    return SimulatedUpstream(UpstreamCard("studio", MODELS, **expected), UpstreamPace(0.5, 0.02))  # type: ignore[arg-type]


async def ask(server: Server, model: str = "tiny") -> None:
    async with aclosing(server.ask(replace(QUESTION, model=model))) as pieces:
        async for _ in pieces:
            pass


def test_what_its_owner_says_is_expected_until_it_was_seen() -> None:
    async def main() -> None:
        server = Server(a_server(tokens_per_s=100.0, first_token_s=0.1))
        assert server.expected("tiny", 11) == Prediction(0.0, 0.1, 0.01, 11)
        await ask(server)
        seen = server.expected("tiny", 11)
        assert seen is not None
        assert (seen.first_token_s, seen.token_s) == pytest.approx((0.5, 0.02))

    run(main())


def test_of_one_that_nobody_knows_nothing_is_expected() -> None:
    async def main() -> None:
        server = Server(a_server())
        assert server.expected("tiny", 11) is None
        await ask(server)
        assert server.expected("tiny", 11) is not None

    run(main())


def test_one_that_breaks_off_is_left_alone_until_it_has_had_time() -> None:
    async def main() -> None:
        upstream = a_server()
        server = Server(upstream)
        upstream.dies_after = 2
        with pytest.raises(UpstreamBroken):
            await ask(server)
        await asyncio.sleep(18)
        kind = "its answer broke off, or was none"
        obstacle = f"it failed a moment ago ({kind}); it is tried again in about 12 s"
        assert server.obstacle("tiny", Privacy.CLOUD) == obstacle
        trouble = server.trouble("tiny")
        assert isinstance(trouble, UpstreamBroken)
        told = f"the upstream 'studio' failed a moment ago; ask again in about 12 s ({kind})"
        assert str(trouble) == told, "what it said was said to somebody else"
        await asyncio.sleep(12)
        assert server.obstacle("tiny", Privacy.CLOUD) is None
        upstream.dies_after = None
        await ask(server)
        assert server.obstacle("tiny", Privacy.CLOUD) is None

    run(main())


def test_an_answer_that_comes_to_its_end_brings_back_one_that_failed_meanwhile() -> None:
    async def main() -> None:
        upstream = a_server()
        server = Server(upstream)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(server))
            await asyncio.sleep(0.6)
            upstream.refusal = UpstreamBroken("500")
            with pytest.raises(UpstreamBroken):
                await ask(server)
            assert server.trouble("tiny") is not None
        assert server.trouble("tiny") is None

    run(main())


@pytest.mark.parametrize(
    ("of_server", "of_request", "is_asked"),
    [
        (Privacy.CLOUD, Privacy.CLOUD, True),
        (Privacy.CLOUD, Privacy.MESH, False),
        (Privacy.CLOUD, Privacy.DEVICE, False),
        (Privacy.MESH, Privacy.CLOUD, True),
        (Privacy.MESH, Privacy.MESH, True),
        (Privacy.MESH, Privacy.DEVICE, False),
    ],
)
def test_a_request_goes_no_further_than_it_may(
    of_server: Privacy, of_request: Privacy, is_asked: bool
) -> None:
    card = UpstreamCard("studio", MODELS, of_server)
    outside = Outside([SimulatedUpstream(card)])
    (option, _), *_ = outside.options("tiny", of_request, 1)
    assert (option.excluded is None) == is_asked
    assert bool(outside.models(of_request)) == is_asked


def test_its_owners_words_are_its_skills_and_without_them_nothing_is_known() -> None:
    models = Outside([a_server()]).models(Privacy.CLOUD)
    tiny = models["tiny"]
    assert tiny is not None
    assert tiny.skills == (SkillWeight(Skill.MATH, 0.5),)
    assert models["plain"] is None


def test_of_a_model_that_several_have_what_one_owner_says_counts() -> None:
    silent = SimulatedUpstream(UpstreamCard("attic", (UpstreamModel("tiny", "tiny"),)))
    for servers in ([silent, a_server()], [a_server(), silent]):
        assert Outside(servers).models(Privacy.CLOUD)["tiny"] is not None


def test_one_that_is_busy_is_left_alone_for_as_long_as_it_says() -> None:
    async def main() -> None:
        upstream = a_server()
        server = Server(upstream)
        upstream.refusal = UpstreamBusy("full", 600.0)
        with pytest.raises(UpstreamBusy):
            await ask(server)
        upstream.refusal = None
        await asyncio.sleep(590)
        trouble = server.trouble("tiny")
        assert isinstance(trouble, UpstreamBusy)
        assert trouble.retry_after_s == pytest.approx(10)
        await asyncio.sleep(10)
        assert server.trouble("tiny") is None

    run(main())


def test_one_that_only_refuses_a_question_is_asked_the_next() -> None:
    async def main() -> None:
        upstream = a_server()
        server = Server(upstream)
        upstream.refusal = UpstreamRefused("400: too long", Concern.QUESTION)
        with pytest.raises(UpstreamRefused):
            await ask(server)
        assert server.trouble("tiny") is None

    run(main())


@pytest.mark.parametrize(
    ("concern", "left_alone"), [(Concern.SERVER, ["tiny", "plain"]), (Concern.MODEL, ["tiny"])]
)
def test_one_that_will_refuse_again_is_left_alone_with_all_that_it_concerns(
    concern: Concern, left_alone: list[str]
) -> None:
    async def main() -> None:
        upstream = a_server()
        outside = Outside([upstream])
        (server,) = outside.servers
        upstream.refusal = UpstreamRefused("the key sk-1 is wrong", concern)
        with pytest.raises(UpstreamRefused):
            await ask(server)
        refusing = [model.name for model in MODELS if server.trouble(model.name)]
        assert refusing == left_alone
        assert [name for name in ("tiny", "plain") if name not in outside.models(Privacy.CLOUD)] == left_alone
        trouble = outside.trouble("tiny", Privacy.CLOUD)
        assert isinstance(trouble, UpstreamRefused)
        assert "it refused; look at its key" in str(trouble)
        assert "sk-1" not in str(trouble)
        await asyncio.sleep(30)
        assert server.trouble("tiny") is None

    run(main())


def test_an_answer_of_another_model_does_not_bring_back_the_one_that_it_refuses() -> None:
    async def main() -> None:
        upstream = a_server()
        server = Server(upstream)
        upstream.refusal = UpstreamRefused("404", Concern.MODEL)
        with pytest.raises(UpstreamRefused):
            await ask(server)
        upstream.refusal = None
        await ask(server, "plain")
        assert isinstance(server.trouble("tiny"), UpstreamRefused)

    run(main())


def test_one_that_says_nothing_for_too_long_has_broken_off() -> None:
    async def main() -> None:
        server = Server(SimulatedUpstream(UpstreamCard("studio", MODELS), UpstreamPace(1e6, 0.02)))
        with pytest.raises(UpstreamBroken, match="said nothing for 30 s"):
            await ask(server)

    run(main())


def test_how_long_it_may_be_silent_is_its_owners_to_say() -> None:
    async def main() -> None:
        slow = SimulatedUpstream(UpstreamCard("studio", MODELS, silence_s=90.0), UpstreamPace(80.0, 0.02))
        await ask(Server(slow))
        hasty = SimulatedUpstream(UpstreamCard("studio", MODELS, silence_s=1.5), UpstreamPace(80.0, 0.02))
        with pytest.raises(UpstreamBroken, match=r"said nothing for 1\.5 s \(see silence_s\)"):
            await ask(Server(hasty))

    run(main())


def test_its_pace_is_that_of_a_model() -> None:
    async def main() -> None:
        server = Server(a_server())
        await ask(server, "plain")
        assert server.expected("plain", 11) is not None
        assert server.expected("tiny", 11) is None

    run(main())


def test_of_a_model_that_it_lacks_nothing_is_expected_and_that_is_said_first() -> None:
    outside = Outside([a_server(tokens_per_s=100.0, first_token_s=0.1)])
    ((option, _),) = outside.options("huge", Privacy.DEVICE, 11)
    assert option.prediction is None
    assert option.excluded == "it does not have huge"


def test_its_pace_is_that_of_tokens_however_few_pieces_they_come_in() -> None:
    async def main() -> None:
        class Chunky(SimulatedUpstream):
            async def chat(self, question: UpstreamQuestion) -> AsyncGenerator[UpstreamPiece]:
                for _ in range(3):
                    await asyncio.sleep(0.5)
                    yield UpstreamText("many words")
                yield UpstreamEnd(UpstreamFinish.STOP, UpstreamUsage(5, 101))

        server = Server(Chunky(UpstreamCard("studio", MODELS)))
        await ask(server)
        seen = server.expected("tiny", 1)
        assert seen is not None
        assert seen.token_s == pytest.approx(0.01)

    run(main())


def test_a_prompt_that_cannot_fit_is_not_sent() -> None:
    server = Server(SimulatedUpstream(UpstreamCard("studio", MODELS, context_length=16)))
    assert server.obstacle("tiny", Privacy.CLOUD, num_bytes=100) is None
    assert "more than the 16 tokens" in str(server.obstacle("tiny", Privacy.CLOUD, num_bytes=200))


def test_the_default_model_is_that_of_a_server_that_may_be_asked() -> None:
    cloud = SimulatedUpstream(UpstreamCard("cloud", (UpstreamModel("far", "far"),)))
    attic = SimulatedUpstream(UpstreamCard("attic", (UpstreamModel("near", "near"),), Privacy.MESH))
    outside = Outside([cloud, attic])
    assert outside.default_model(Privacy.CLOUD) == "far"
    assert outside.default_model(Privacy.MESH) == "near"
    assert outside.default_model(Privacy.DEVICE) is None
