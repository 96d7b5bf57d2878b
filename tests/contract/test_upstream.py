"""What every Upstream promises: a server on loopback asked over HTTP, and the simulated one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import pytest

from mesh.adapters.openai_upstream import OpenAiUpstream
from mesh.decision import Privacy
from mesh.errors import (
    Concern,
    MeshError,
    UnknownModel,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamUnreachable,
    from_code,
    retry_after_s,
)
from mesh.ports import Upstream
from mesh.types import ChatMessage
from mesh.upstream import (
    UpstreamCard,
    UpstreamEnd,
    UpstreamFinish,
    UpstreamModel,
    UpstreamPiece,
    UpstreamQuestion,
    UpstreamReasoning,
    UpstreamSettings,
    UpstreamText,
    UpstreamUsage,
    concern_of,
)
from simulator.loop import run
from simulator.upstream import SimulatedUpstream, UpstreamPace, made_up
from tests.openai_server import (
    DONE,
    HttpServer,
    Request,
    delta,
    ending,
    plain,
    stream_head,
    until,
    until_quiet,
    usage,
)

REPLY = ("Grüß", " Gott", ",", " 世界", " 🌍")
THOUGHTS = ("Höf", "lich?")
CARD = UpstreamCard("attic", (UpstreamModel("qwen3:30b", "Qwen3-30B"),), Privacy.MESH)
QUESTION = UpstreamQuestion("qwen3:30b", (ChatMessage("user", "Sag etwas Nettes"),), max_tokens=100)
REFUSALS = {Concern.QUESTION: "422 What", Concern.MODEL: "404 Where", Concern.SERVER: "401 No"}
QUESTION_BYTES = len(b"Sag etwas Nettes")


class Remote(Protocol):
    """The far side, as a test sets it and looks at it."""

    dies_after: int | None
    refusal: MeshError | None
    thoughts: Sequence[str]
    num_open: int
    received_bytes: int

    @property
    def num_questions(self) -> int: ...

    async def go_down(self) -> None: ...


class LoopbackRemote(HttpServer):
    """A server that answers as OpenAI's does, with the reply of this suite."""

    def __init__(self, *, is_stalled: bool) -> None:
        super().__init__(self._answer)
        self.dies_after: int | None = None
        self.refusal: MeshError | None = None
        self.thoughts: Sequence[str] = ()
        self._is_stalled = is_stalled

    @property
    def num_questions(self) -> int:
        return len(self.requests)

    async def go_down(self) -> None:
        await self.stop()

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.refusal:
            busy = isinstance(self.refusal, UpstreamBusy)
            refusal = REFUSALS[concern_of(self.refusal)]
            status, headers = ("429 Slow Down", "Retry-After: 7\r\n") if busy else (refusal, "")
            writer.write(plain(status, {"error": {"message": str(self.refusal)}}, headers))
        elif request.line.startswith("GET /v1/models "):
            writer.write(
                plain("200 OK", {"object": "list", "data": [{"id": "Qwen3-30B", "object": "model"}]})
            )
        else:
            await self._stream(request, reader, writer)

    async def _stream(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        assert request.line == "POST /v1/chat/completions HTTP/1.1"
        most = request.content["max_tokens"]
        assert isinstance(most, int)
        whole = [
            *(delta(reasoning_content=text) for text in self.thoughts),
            *(delta(content=t) for t in REPLY),
        ]
        writer.write(stream_head() + delta(role="assistant", content=""))
        for index, piece in enumerate(whole[:most]):
            if self._is_stalled and index == 1:
                await reader.read()  # until the client hangs up
                return
            if index == self.dies_after:
                return
            writer.write(piece)
        if self.dies_after != len(whole):
            reason = "length" if most < len(whole) else "stop"
            writer.write(ending(reason) + usage(3, min(most, len(whole))) + DONE)


class SimulatedRemote(SimulatedUpstream):
    """The simulated server, under the names of this suite."""

    @property
    def num_questions(self) -> int:
        return self.num_requests

    async def go_down(self) -> None:
        self.is_up = False


@dataclass(frozen=True, slots=True)
class World:
    """A server and the way to it."""

    upstream: Upstream
    remote: Remote

    async def ask(self, question: UpstreamQuestion = QUESTION) -> list[UpstreamPiece]:
        """Return the whole answer."""
        heard = Heard()
        await heard.listen(self.upstream, question)
        return heard.pieces


@dataclass(slots=True)
class Heard:
    """What came of an answer, also of one that breaks off."""

    pieces: list[UpstreamPiece] = field(default_factory=list)

    async def listen(self, upstream: Upstream, question: UpstreamQuestion = QUESTION) -> None:
        async with asyncio.timeout(10), aclosing(upstream.chat(question)) as answer:
            async for piece in answer:
                self.pieces.append(piece)


@asynccontextmanager
async def simulated(*, is_stalled: bool) -> AsyncIterator[World]:
    pace = UpstreamPace(0.0, 3600.0 if is_stalled else 0.0)
    remote = SimulatedRemote(CARD, pace, lambda question: REPLY)
    yield World(remote, remote)


@asynccontextmanager
async def over_http(*, is_stalled: bool) -> AsyncIterator[World]:
    remote = LoopbackRemote(is_stalled=is_stalled)
    await remote.start()
    upstream = OpenAiUpstream(UpstreamSettings(CARD, f"{remote.origin}/v1"))
    try:
        yield World(upstream, remote)
    finally:
        await upstream.close()
        await remote.stop()


WORLDS = {"simulated": simulated, "http": over_http}


@pytest.fixture(params=list(WORLDS))
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with WORLDS[request.param](is_stalled=False) as made:
        yield made


@pytest.fixture(params=list(WORLDS))
async def stalled(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A server that says one word and then nothing for an hour."""
    async with WORLDS[request.param](is_stalled=True) as made:
        yield made


async def test_an_answer_comes_in_pieces_and_then_its_end(world: World) -> None:
    *texts, end = await world.ask()
    assert texts == [UpstreamText(text) for text in REPLY]
    assert end == UpstreamEnd(UpstreamFinish.STOP, UpstreamUsage(3, 5))


async def test_thoughts_are_told_apart_from_the_answer(world: World) -> None:
    world.remote.thoughts = THOUGHTS
    *pieces, end = await world.ask()
    thoughts = [UpstreamReasoning(text) for text in THOUGHTS]
    assert pieces == [*thoughts, *(UpstreamText(text) for text in REPLY)]
    assert end == UpstreamEnd(UpstreamFinish.STOP, UpstreamUsage(3, 7))


async def test_an_answer_that_reached_its_limit_says_so(world: World) -> None:
    question = UpstreamQuestion(QUESTION.model, QUESTION.messages, max_tokens=2)
    assert await world.ask(question) == [
        UpstreamText("Grüß"),
        UpstreamText(" Gott"),
        UpstreamEnd(UpstreamFinish.LENGTH, UpstreamUsage(3, 2)),
    ]


async def test_what_reaches_the_server_is_counted(world: World) -> None:
    assert (world.remote.num_questions, world.remote.received_bytes) == (0, 0)
    await world.ask()
    await world.ask()
    assert world.remote.num_questions == 2
    assert world.remote.received_bytes >= 2 * QUESTION_BYTES


async def test_nothing_is_sent_before_the_first_piece_is_asked_for(world: World) -> None:
    answer = world.upstream.chat(QUESTION)
    await asyncio.sleep(0)
    await answer.aclose()
    assert (world.remote.num_questions, world.remote.received_bytes) == (0, 0)


async def test_a_model_that_is_not_on_the_card_is_named_and_nothing_is_sent(world: World) -> None:
    with pytest.raises(UnknownModel, match="'attic' has no model 'Qwen3-30B'; it has qwen3:30b"):
        await world.ask(UpstreamQuestion("Qwen3-30B", QUESTION.messages, 5))
    assert (world.remote.num_questions, world.remote.received_bytes) == (0, 0)


async def test_a_server_that_is_down_is_unreachable_and_gets_nothing(world: World) -> None:
    assert await world.upstream.is_reachable()
    reached = world.remote.num_questions
    await world.remote.go_down()
    with pytest.raises(UpstreamUnreachable, match="'attic' does not answer"):
        await world.ask()
    with pytest.raises(UpstreamUnreachable, match="'attic' does not answer"):
        await world.upstream.models()
    assert not await world.upstream.is_reachable()
    assert world.remote.num_questions == reached


async def test_a_refusal_is_told_and_whoever_refuses_is_reachable(world: World) -> None:
    world.remote.refusal = UpstreamRefused("no such key")
    heard = Heard()
    with pytest.raises(UpstreamRefused, match="no such key"):
        await heard.listen(world.upstream)
    with pytest.raises(UpstreamRefused, match="no such key"):
        await world.upstream.models()
    assert heard.pieces == []
    assert await world.upstream.is_reachable()


@pytest.mark.parametrize("concern", Concern)
async def test_a_refusal_says_what_it_concerns(world: World, concern: Concern) -> None:
    world.remote.refusal = UpstreamRefused("not that", concern)
    with pytest.raises(UpstreamRefused, match="not that") as caught:
        await world.ask()
    assert concern_of(caught.value) is concern


async def test_a_busy_server_says_when_to_try_again(world: World) -> None:
    world.remote.refusal = UpstreamBusy("too many", 7.0)
    with pytest.raises(UpstreamBusy, match="too many") as caught:
        await world.ask()
    assert caught.value.retry_after_s == 7.0
    assert caught.value.retry
    travelled = from_code(caught.value.code, str(caught.value), retry_after_s(caught.value))
    assert isinstance(travelled, UpstreamBusy)
    assert travelled.retry_after_s == 7.0


@pytest.mark.parametrize("num_pieces", range(len(REPLY) + 1))
async def test_an_answer_that_breaks_off_is_an_error_after_what_came(world: World, num_pieces: int) -> None:
    world.remote.dies_after = num_pieces
    heard = Heard()
    with pytest.raises(UpstreamBroken, match="'attic' ended the connection before the answer was complete"):
        await heard.listen(world.upstream)
    assert heard.pieces == [UpstreamText(text) for text in REPLY[:num_pieces]]


async def test_an_answer_that_is_closed_frees_the_server(stalled: World) -> None:
    answer = stalled.upstream.chat(QUESTION)
    async with asyncio.timeout(10):
        assert await anext(answer) == UpstreamText("Grüß")
    assert stalled.remote.num_open == 1
    await answer.aclose()
    await until_quiet(stalled.remote)


async def test_an_answer_that_is_cancelled_frees_the_server(stalled: World) -> None:
    heard = Heard()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(heard.listen(stalled.upstream))
        await until(lambda: heard.pieces)
        assert stalled.remote.num_open == 1
        task.cancel()
    assert task.cancelled()
    assert heard.pieces == [UpstreamText("Grüß")]
    await until_quiet(stalled.remote)


async def test_the_deadline_is_the_callers(stalled: World) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await Heard().listen(stalled.upstream)
    await until_quiet(stalled.remote)


async def test_answers_do_not_wait_for_each_other(stalled: World) -> None:
    answers = [stalled.upstream.chat(QUESTION) for _ in range(12)]
    async with asyncio.timeout(10):
        for answer in answers:
            assert await anext(answer) == UpstreamText("Grüß")
    assert stalled.remote.num_open == 12
    for answer in answers:
        await answer.aclose()
    await until_quiet(stalled.remote)


async def test_its_models_are_listed_by_its_own_names(world: World) -> None:
    assert await world.upstream.models() == ("Qwen3-30B",)
    assert world.upstream.card == CARD


async def test_once_closed_it_is_not_reachable(world: World) -> None:
    await world.upstream.close()
    await world.upstream.close()
    assert not await world.upstream.is_reachable()
    with pytest.raises(UpstreamUnreachable):
        await world.ask()
    assert world.remote.num_questions == 0


def test_a_simulated_server_takes_its_time_to_begin_and_for_each_token() -> None:
    async def times() -> list[float]:
        clock = asyncio.get_running_loop()
        upstream = SimulatedUpstream(CARD, UpstreamPace(1.5, 0.25), lambda question: REPLY)
        return [clock.time() async for _ in upstream.chat(QUESTION)]

    assert run(times()) == [1.5, 1.75, 2.0, 2.25, 2.5, 2.5]


def test_a_simulated_server_that_goes_down_in_mid_answer_breaks_it_off() -> None:
    async def go_down() -> tuple[int, int, int]:
        upstream = SimulatedUpstream(CARD, UpstreamPace(1.0, 1.0), lambda question: REPLY)
        heard = Heard()
        asyncio.get_running_loop().call_later(2.5, setattr, upstream, "is_up", False)
        with pytest.raises(UpstreamBroken):
            await heard.listen(upstream)
        return len(heard.pieces), upstream.num_open, upstream.sent_bytes

    assert run(go_down()) == (2, 0, len("Grüß Gott".encode()))


def test_made_up_words_are_the_same_for_the_same_question_and_others_for_another() -> None:
    other = UpstreamQuestion(QUESTION.model, (ChatMessage("user", "Sag etwas"),), 100)
    words = made_up(QUESTION)
    assert words == made_up(QUESTION)
    assert words != made_up(other)
    assert 16 <= len(words) <= 271
    assert all(text.startswith(" ") and text.strip().isalpha() for text in words)
