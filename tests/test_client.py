"""The client's side of a request, against a gateway that says what a test wants."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from mesh.client import DEFAULT_MAX_TOKENS, Client
from mesh.errors import BadSetting, Busy, ChannelClosed, InternalError, PeerUnreachable
from mesh.link import Link, open_link, welcome_link
from mesh.messages import (
    PROTOCOL,
    ChatFinished,
    ChatRequest,
    DevicesReply,
    DevicesRequest,
    Heartbeat,
    Hello,
    Message,
    Piece,
    PlanReply,
    PlanRequest,
    RequestFailed,
)
from mesh.ports import Channel
from mesh.types import (
    Address,
    ChatMessage,
    Device,
    DeviceClass,
    FinishReason,
    NodeId,
    NodeRecord,
    NodeState,
    Plan,
    Precision,
    Sampling,
    Source,
    Summary,
)
from simulator.library import TINY
from simulator.loop import run
from simulator.network.ideal import IdealNetwork
from simulator.network.transport import VirtualListener

AT = Address("10.0.0.1", 7070)
RECORD = NodeRecord(NodeId("1" * 32), "tv", DeviceClass.TV, AT, "home", PROTOCOL, 1)
SUMMARY = Summary("tiny", FinishReason.STOP, (1, 2, 3), 5, 7, 0.5, 10.0)
FINISHED = ChatFinished(1, SUMMARY)


@dataclass(slots=True)
class Scripted:
    """A gateway that answers every request with the same messages."""

    listener: VirtualListener
    replies: tuple[Message, ...]
    hangs_up: bool
    asked: list[Message] = field(default_factory=list)
    num_open: int = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._serve(await self.listener.accept()))

    async def _serve(self, channel: Channel) -> None:
        link = await welcome_link(channel, Hello(PROTOCOL, "home", RECORD))
        self.num_open += 1
        try:
            self.asked.append(await link.receive())
            for reply in self.replies:
                await link.send(reply)
            if not self.hangs_up:
                await link.receive()  # the client sends no more: until it closes
        except ChannelClosed:
            pass
        finally:
            self.num_open -= 1
            await link.close()


@asynccontextmanager
async def a_gateway(*replies: Message, hangs_up: bool = False) -> AsyncIterator[tuple[Client, Scripted]]:
    network = IdealNetwork()
    gateway = Scripted(await network.transport_at(AT.host).listen(AT), replies, hangs_up)

    async def opened() -> Link:
        return await open_link(network.transport_at("10.0.0.2"), AT, Hello(PROTOCOL, "home", None), 1.0)

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(gateway.run())
        try:
            yield Client(RECORD, opened, random.Random(1)), gateway
        finally:
            await asyncio.sleep(0.1)
            running.cancel()


def test_pieces_come_in_order_then_the_summary() -> None:
    async def main() -> None:
        pieces = [Piece(1, "To", (1,)), Piece(1, "kyo", (2, 3))]
        async with a_gateway(*pieces, FINISHED) as (client, gateway):
            answer = client.chat("What is the capital of Japan?", seed=7)
            assert [piece async for piece in answer] == pieces
            assert answer.summary == SUMMARY
            await asyncio.sleep(0.1)
            assert gateway.num_open == 0

    run(main())


def test_text_waits_for_the_whole_answer() -> None:
    async def main() -> None:
        async with a_gateway(Piece(1, "To", (1,)), Piece(1, "kyo", (2,)), FINISHED) as (client, _):
            assert await client.chat("?").text() == "Tokyo"

    run(main())


def test_there_is_no_summary_before_the_end() -> None:
    async def main() -> None:
        async with a_gateway(Piece(1, "To", (1,)), FINISHED) as (client, gateway):
            answer = client.chat("?")
            with pytest.raises(BadSetting, match="when all its pieces have come"):
                _ = answer.summary
            assert gateway.asked == []  # nothing is sent until it is iterated
            pieces = aiter(answer)
            await anext(pieces)
            with pytest.raises(BadSetting):
                _ = answer.summary
            await pieces.aclose()

    run(main())


def test_what_is_asked_is_what_was_said() -> None:
    async def main() -> None:
        async with a_gateway(FINISHED) as (client, gateway):
            await client.chat("hi", seed=3).text()
            turns = (ChatMessage("system", "be brief"), ChatMessage("user", "hi"))
            await client.chat(
                turns,
                model="tiny",
                max_tokens=5,
                temperature=0.8,
                top_k=40,
                top_p=0.9,
                min_p=0.1,
                seed=0,
                deadline_s=2.5,
            ).text()
            sampling = Sampling(temperature=0.8, top_k=40, top_p=0.9, min_p=0.1, seed=0)
            assert gateway.asked == [
                ChatRequest(
                    1, None, (ChatMessage("user", "hi"),), DEFAULT_MAX_TOKENS, Sampling(seed=3), None
                ),
                ChatRequest(1, "tiny", turns, 5, sampling, 2.5),
            ]

    run(main())


def test_a_seed_is_drawn_where_none_is_given_and_can_be_read() -> None:
    async def main() -> None:
        async with a_gateway(FINISHED) as (client, gateway):
            first, second = client.chat("hi"), client.chat("hi")
            assert first.seed != second.seed
            await first.text()
            (asked,) = gateway.asked
            assert isinstance(asked, ChatRequest)
            assert asked.sampling.seed == first.seed

    run(main())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"temprature": 1.0}, "chat has no option 'temprature'"),
        ({"temperature": -1.0}, "temperature must be 0 or more"),
        ({"top_k": 0}, "top_k must be 1 or more"),
        ({"top_p": 2.0}, "top_p"),
        ({"min_p": -0.5}, "min_p"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(options: dict[str, float], text: str) -> None:
    async def main() -> None:
        async with a_gateway() as (client, gateway):
            with pytest.raises(BadSetting, match=text):
                client.chat("hi", **options)  # type: ignore[arg-type]
            assert gateway.asked == []

    run(main())


@pytest.mark.parametrize(
    ("prompt", "options"), [("hi", {"max_tokens": -1}), ("hi", {"max_tokens": 2**40}), ("\udcff", {})]
)
def test_what_cannot_be_sent_is_a_bad_setting_too(prompt: str, options: dict[str, int]) -> None:
    async def main() -> None:
        async with a_gateway(FINISHED) as (client, _):
            with pytest.raises(BadSetting, match=r"cannot be sent|no UTF-8 text"):
                await client.chat(prompt, **options).text()  # type: ignore[arg-type]

    run(main())


def test_a_failure_comes_after_all_the_pieces() -> None:
    async def main() -> None:
        failed = RequestFailed(1, "busy", "full right now")
        async with a_gateway(Piece(1, "To", (1,)), failed) as (client, _):
            pieces = aiter(client.chat("?"))
            assert (await anext(pieces)).text == "To"
            with pytest.raises(Busy, match="full right now"):
                await anext(pieces)

    run(main())


def test_a_gateway_that_goes_away_is_named() -> None:
    async def main() -> None:
        async with a_gateway(Piece(1, "To", (1,)), hangs_up=True) as (client, _):
            pieces = aiter(client.chat("?"))
            await anext(pieces)
            with pytest.raises(PeerUnreachable, match="tv went away in the middle of the request"):
                await anext(pieces)

    run(main())


def test_what_belongs_nowhere_is_an_internal_error() -> None:
    async def main() -> None:
        async with a_gateway(Heartbeat()) as (client, _):
            for asking in (client.chat("?").text(), client.devices(), client.plan()):
                with pytest.raises(InternalError, match="a Heartbeat where none belongs"):
                    await asking

    run(main())


@pytest.mark.parametrize("how", ["closed", "left", "cancelled"])
def test_an_answer_given_up_closes_its_link(how: str) -> None:
    async def main() -> None:
        async with a_gateway(Piece(1, "To", (1,))) as (client, gateway):
            if how == "closed":
                pieces = aiter(client.chat("?"))
                await anext(pieces)
                assert gateway.num_open == 1
                await pieces.aclose()
            elif how == "left":
                async for _ in client.chat("?"):
                    assert gateway.num_open == 1
                    break
            else:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(1):
                        await client.chat("?").text()
            await asyncio.sleep(0.1)
            assert gateway.num_open == 0

    run(main())


def test_devices_and_plans_are_passed_on() -> None:
    async def main() -> None:
        devices = (Device(RECORD, NodeState.ALIVE, Source.SELF, None),)
        async with a_gateway(DevicesReply(1, devices)) as (client, gateway):
            assert await client.devices() == devices
            assert gateway.asked == [DevicesRequest(1)]
        plan = Plan(TINY.ref, Precision.INT4, 1024, ())
        async with a_gateway(PlanReply(1, plan)) as (client, gateway):
            assert await client.plan("tiny", context=900) == plan
            assert gateway.asked == [PlanRequest(1, "tiny", 900)]

    run(main())


def test_a_refusal_of_devices_is_raised() -> None:
    async def main() -> None:
        async with a_gateway(RequestFailed(1, "busy", "later")) as (client, _):
            with pytest.raises(Busy, match="later"):
                await client.devices()

    run(main())
