"""The client's side of a request, against a gateway that says what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mesh.client import DEFAULT_MAX_TOKENS, Client, named_device
from mesh.decision import Decision, Explanation, Privacy
from mesh.errors import (
    BadSetting,
    Busy,
    InsufficientMemory,
    InternalError,
    LastHolder,
    PeerUnreachable,
    UnknownDevice,
)
from mesh.messages import (
    ChatFinished,
    ChatRequest,
    DevicesReply,
    DevicesRequest,
    DrainReply,
    DrainRequest,
    Heartbeat,
    Message,
    Piece,
    PlanReply,
    PlanRequest,
    RequestFailed,
)
from mesh.types import (
    ChatMessage,
    Device,
    FinishReason,
    NodeId,
    NodeRecord,
    NodeState,
    Plan,
    Precision,
    Sampling,
    SamplingField,
    Source,
    Summary,
)
from simulator.library import TINY
from simulator.loop import run
from tests.scripted import HangUp, Scripted, Wait, a_mesh, a_record

RECORD = a_record("tv")
SUMMARY = Summary("tiny", FinishReason.STOP, (1, 2, 3), 5, 7, 0.5, 10.0)
FINISHED = ChatFinished(1, SUMMARY)
DECISION = Decision("tiny", Privacy.MESH, 5, (), "there is no way")


@asynccontextmanager
async def a_gateway(*replies: Message, hangs_up: bool = False) -> AsyncIterator[tuple[Client, Scripted]]:
    """A gateway that answers every request with the same messages."""
    async with a_mesh(tv=[[*replies, *([HangUp()] if hangs_up else [])]]) as mesh:
        yield mesh.client(), mesh["tv"]


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


def test_reasoning_is_no_part_of_the_text_and_can_be_read_as_it_comes() -> None:
    async def main() -> None:
        pieces = [Piece(1, "", (1,), "so "), Piece(1, "To", (2,), "on"), Piece(1, "kyo", (3,))]
        async with a_gateway(*pieces, FINISHED) as (client, _):
            answer = client.chat("?")
            assert answer.reasoning == ""
            seen = [(answer.reasoning, piece.text) async for piece in answer]
            assert seen == [("so ", ""), ("so on", "To"), ("so on", "kyo")]
            again = client.chat("?")
            assert (await again.text(), again.reasoning) == ("Tokyo", "so on")

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
            await client.chat("hi", temperature=0.0, seed=0).text()
            sampling = Sampling(temperature=0.8, top_k=40, top_p=0.9, min_p=0.1, seed=0)
            assert gateway.asked == [
                ChatRequest(
                    request_id=1,
                    model=None,
                    messages=(ChatMessage("user", "hi"),),
                    max_tokens=DEFAULT_MAX_TOKENS,
                    sampling=Sampling(seed=3),
                    deadline_s=None,
                    left_open=tuple(SamplingField),
                ),
                ChatRequest(1, "tiny", turns, 5, sampling, 2.5),
                ChatRequest(
                    request_id=1,
                    model=None,
                    messages=(ChatMessage("user", "hi"),),
                    max_tokens=DEFAULT_MAX_TOKENS,
                    sampling=Sampling(seed=0),
                    deadline_s=None,
                    left_open=(SamplingField.TOP_K, SamplingField.TOP_P, SamplingField.MIN_P),
                ),
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
        ({"deadline_s": -1.0}, "deadline_s is -1.0; it must be 0 or more"),
        ({"deadline_s": float("nan")}, "deadline_s is nan; it must be 0 or more"),
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
        async with a_gateway(PlanReply(1, plan, DECISION)) as (client, gateway):
            assert await client.plan("tiny", context=900) == plan
            assert await client.explain("?", model="tiny", max_tokens=7, privacy="device") == Explanation(
                DECISION, plan
            )
            asked = PlanRequest(1, "tiny", None, (ChatMessage("user", "?"),), 7, Privacy.DEVICE)
            assert gateway.asked == [PlanRequest(1, "tiny", 900), asked]
        async with a_gateway(PlanReply(1, None, DECISION)) as (client, gateway):
            with pytest.raises(InsufficientMemory, match="no way"):
                await client.plan()

    run(main())


def test_a_refusal_of_devices_is_raised() -> None:
    async def main() -> None:
        async with a_gateway(RequestFailed(1, "busy", "later")) as (client, _):
            with pytest.raises(Busy, match="later"):
                await client.devices()

    run(main())


def test_an_answer_is_iterated_once() -> None:
    async def main() -> None:
        async with a_gateway(FINISHED) as (client, gateway):
            answer = client.chat("?")
            await answer.text()
            with pytest.raises(BadSetting, match="can be iterated once"):
                await answer.text()
            assert len(gateway.asked) == 1

    run(main())


def _devices(*records: NodeRecord, state: NodeState = NodeState.ALIVE) -> tuple[Device, ...]:
    return tuple(Device(record, state, Source.CONTACT, None) for record in records)


@pytest.mark.parametrize("name", ["phone", "2222", "22222222"])
def test_a_drain_asks_that_very_device_and_waits_for_its_word(name: str) -> None:
    async def main() -> None:
        there = DevicesReply(1, _devices(RECORD, a_record("phone")))
        async with a_mesh(tv=[[there]], phone=[[Wait(20), DrainReply(1)]]) as mesh:
            now = asyncio.get_running_loop().time
            await mesh.client().drain(name, is_forced=True)
            assert now() >= 20
            assert mesh["phone"].asked == [DrainRequest(1, is_forced=True)]
            assert mesh["phone"].num_heartbeats > 0  # it was asked whether it lived
            assert mesh["tv"].asked == [DevicesRequest(1)]

    run(main())


def test_the_gateway_itself_can_be_drained_and_taken_back() -> None:
    async def main() -> None:
        there = DevicesReply(1, _devices(RECORD))
        async with a_mesh(tv=[[there], [DrainReply(1)]]) as mesh:
            await mesh.client().drain("tv", is_over=True)
            assert mesh["tv"].asked[1] == DrainRequest(1, is_forced=False, is_over=True)

    run(main())


def test_a_refused_drain_is_raised() -> None:
    async def main() -> None:
        there = DevicesReply(1, _devices(RECORD))
        refused = RequestFailed(1, LastHolder.code, "only tv holds layers 0 to 3")
        async with a_mesh(tv=[[there], [refused]]) as mesh:
            with pytest.raises(LastHolder, match="only tv"):
                await mesh.client().drain("tv")

    run(main())


def test_a_device_that_is_not_there_is_told_with_those_that_are() -> None:
    devices = (*_devices(RECORD), *_devices(a_record("phone"), state=NodeState.LOST))
    for name in ("tvv", "phone", "2222", "111", ""):  # lost, and an id that is too short
        with pytest.raises(
            UnknownDevice, match=f"no device '{name}' is in the mesh now; those there are: tv$"
        ):
            named_device(name, devices)


def test_a_name_of_two_devices_asks_for_an_id() -> None:
    other = replace(RECORD, node_id=NodeId("ab" * 16))
    with pytest.raises(BadSetting, match="'tv' fits 2 devices; name one by its id: 11111111, abababab"):
        named_device("tv", _devices(RECORD, other))
    assert named_device("ABAB", _devices(RECORD, other)) == other
