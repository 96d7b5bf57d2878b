"""The way into a mesh, over real sockets on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

import mesh
from mesh.adapters.grpc_transport import GrpcTransport
from mesh.errors import BadSetting, PeerUnreachable
from mesh.messages import ChatFinished, DevicesReply, DrainReply, DrainRequest, Piece, Routed
from mesh.types import Address, Device, FinishReason, NodeState, Plan, Precision, SessionId, Source, Summary
from simulator.library import TINY
from tests.scripted import Die, Scripted, Step, a_record

NOBODY = "127.0.0.1:1"  # a port that needs rights nobody has here
ROUTED = Routed(1, SessionId("5" * 16), 0, Plan(TINY.ref, Precision.INT4, 1024, ()), ())
FINISHED = ChatFinished(1, Summary("tiny", FinishReason.STOP, (1, 2), 5, 7, 0.5, 10.0))


@asynccontextmanager
async def a_real_gateway(name: str, *steps: Step) -> AsyncIterator[Scripted]:
    listener = await GrpcTransport().listen(Address("127.0.0.1", 0))
    gateway = Scripted(replace(a_record(name), address=listener.address), listener, [steps])
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(gateway.run())
        try:
            yield gateway
        finally:
            running.cancel()
            await listener.close()


async def test_the_first_of_several_that_answers_is_asked_and_the_next_goes_on() -> None:
    async with (
        a_real_gateway("tv", ROUTED, Piece(1, "To", (1,)), Die()) as tv,
        a_real_gateway("phone", replace(ROUTED, epoch=1), Piece(1, "kyo", (2,)), FINISHED) as phone,
    ):
        peers = [NOBODY, str(tv.listener.address), str(phone.listener.address)]
        async with mesh.connect(peers, wait_s=0.1) as client:
            assert client.gateway == tv.record
            answer = client.chat("?")
            assert await answer.text() == "Tokyo"
            assert [recovery.lost for recovery in answer.recoveries] == [("tv",)]
            assert client.gateway == phone.record


async def test_one_address_may_be_written_by_itself() -> None:
    async with (
        a_real_gateway("tv", DevicesReply(1, ())) as tv,
        mesh.connect(str(tv.listener.address)) as client,
    ):
        assert await client.devices() == ()


async def test_addresses_that_nobody_answers_at_are_all_named() -> None:
    with pytest.raises(PeerUnreachable, match=r"127.0.0.1:1\b.* \(tried 127.0.0.1:2\)"):
        async with mesh.connect((NOBODY, "127.0.0.1:2")):
            pass


async def test_what_is_no_address_is_refused_before_anybody_is_asked() -> None:
    with pytest.raises(BadSetting, match="'tv' is not an address"):
        async with mesh.connect([NOBODY, "tv"]):
            pass


async def test_scripts_without_await_see_the_same() -> None:
    def listen(addresses: list[str]) -> None:
        with mesh.connect_blocking(addresses, wait_s=0.1) as client:
            answer = client.chat("?", seed=4)
            assert [type(event) for event in answer.events()] == [Routed, Piece, Routed, Piece]
            assert answer.seed == 4
            assert answer.reasoning == "hm"
            assert answer.route == ROUTED.plan
            assert [recovery.replacement for recovery in answer.recoveries] == [("phone",)]
            assert answer.summary.recoveries == answer.recoveries
            client.drain("phone")

    async with (
        a_real_gateway("tv", ROUTED, Piece(1, "To", (1,), "hm"), Die()) as tv,
        a_real_gateway("phone") as phone,
    ):
        device = Device(phone.record, NodeState.ALIVE, Source.SELF, None)
        goes_on = replace(ROUTED, epoch=1)
        phone.scripts = [
            [goes_on, Piece(1, "kyo", (2,)), FINISHED],
            [DevicesReply(1, (device,))],
            [DrainReply(1)],
        ]
        await asyncio.to_thread(listen, [str(tv.listener.address), str(phone.listener.address)])
        assert phone.asked[2] == DrainRequest(1, is_forced=False)
