"""Servers outside the mesh: what is expected of them, and what keeps them from being asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from mesh.card import Skill
from mesh.decision import Prediction, Privacy
from mesh.errors import UpstreamBroken, UpstreamBusy, UpstreamRefused
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

MODELS = (UpstreamModel("tiny", "there", ("math", "cooking")), UpstreamModel("plain", "there-too"))
QUESTION = UpstreamQuestion("tiny", (ChatMessage("user", "?"),), 12)


def a_server(**expected: float) -> SimulatedUpstream:
    return SimulatedUpstream(UpstreamCard("studio", MODELS, **expected), UpstreamPace(0.5, 0.02))  # type: ignore[arg-type]


async def ask(server: Server) -> None:
    async with aclosing(server.ask(QUESTION)) as pieces:
        async for _ in pieces:
            pass


def test_what_its_owner_says_is_expected_until_it_was_seen() -> None:
    async def main() -> None:
        server = Server(a_server(tokens_per_s=100.0, first_token_s=0.1))
        assert server.expected(11) == Prediction(0.0, 0.1, 0.01, 11)
        await ask(server)
        seen = server.expected(11)
        assert seen is not None
        assert (seen.first_token_s, seen.token_s) == pytest.approx((0.5, 0.02))

    run(main())


def test_of_one_that_nobody_knows_nothing_is_expected() -> None:
    async def main() -> None:
        server = Server(a_server())
        assert server.expected(11) is None
        await ask(server)
        assert server.expected(11) is not None

    run(main())


def test_one_that_breaks_off_is_left_alone_until_it_has_had_time() -> None:
    async def main() -> None:
        upstream = a_server()
        server = Server(upstream)
        upstream.dies_after = 2
        with pytest.raises(UpstreamBroken):
            await ask(server)
        assert server.obstacle("tiny", Privacy.CLOUD) == "it failed a moment ago"
        assert isinstance(server.trouble(), UpstreamBroken)
        assert "complete" not in str(server.trouble()), "what it said was said to somebody else"
        await asyncio.sleep(30)
        assert server.obstacle("tiny", Privacy.CLOUD) is None
        upstream.dies_after = None
        await ask(server)
        assert server.obstacle("tiny", Privacy.CLOUD) is None

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


def test_words_of_its_owner_that_are_skills_are_taken_for_such() -> None:
    models = Outside([a_server()]).models(Privacy.CLOUD)
    assert [weight.skill for weight in models["tiny"].skills] == [Skill.MATH]
    assert [weight.skill for weight in models["plain"].skills] == [Skill.CHAT]


def test_one_that_is_busy_is_left_alone_for_as_long_as_it_says() -> None:
    async def main() -> None:
        upstream = a_server()
        server = Server(upstream)
        upstream.refusal = UpstreamBusy("full", 600.0)
        with pytest.raises(UpstreamBusy):
            await ask(server)
        upstream.refusal = None
        await asyncio.sleep(590)
        trouble = server.trouble()
        assert isinstance(trouble, UpstreamBusy)
        assert trouble.retry_after_s == pytest.approx(10)
        await asyncio.sleep(10)
        assert server.trouble() is None

    run(main())


def test_one_that_only_refuses_a_question_is_asked_the_next() -> None:
    async def main() -> None:
        upstream = a_server()
        server = Server(upstream)
        upstream.refusal = UpstreamRefused("400: too long")
        with pytest.raises(UpstreamRefused):
            await ask(server)
        assert server.trouble() is None

    run(main())


def test_one_that_says_nothing_for_too_long_has_broken_off() -> None:
    async def main() -> None:
        server = Server(SimulatedUpstream(UpstreamCard("studio", MODELS), UpstreamPace(1e6, 0.02)))
        with pytest.raises(UpstreamBroken, match="said nothing for 30 s"):
            await ask(server)

    run(main())


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
        seen = server.expected(1)
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
