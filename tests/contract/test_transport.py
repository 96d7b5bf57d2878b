"""What every Transport promises, real and simulated."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from mesh.adapters.grpc_transport import GrpcTransport
from mesh.config import MAX_MESSAGE_BYTES
from mesh.errors import AddressInUse, BadSetting, ChannelClosed, MalformedMessage, PeerUnreachable
from mesh.ports import Channel, Listener, Transport
from mesh.types import Address
from simulator.network.ideal import IdealNetwork

HERE = Address("127.0.0.1", 0)


@pytest.fixture(params=["grpc", "memory"])
def transport(request: pytest.FixtureRequest) -> Transport:
    makers: dict[str, Callable[[], Transport]] = {
        "grpc": GrpcTransport,
        "memory": lambda: IdealNetwork().transport_at("127.0.0.1"),
    }
    return makers[request.param]()


@asynccontextmanager
async def channel_pair(transport: Transport) -> AsyncIterator[tuple[Channel, Channel, Listener]]:
    listener = await transport.listen(HERE)
    dialled = await transport.dial(listener.address)
    accepted = await listener.accept()
    try:
        async with asyncio.timeout(10):
            yield dialled, accepted, listener
    finally:
        await dialled.close()
        await accepted.close()
        await listener.close()


async def test_messages_arrive_whole_and_in_order_both_ways(transport: Transport) -> None:
    async with channel_pair(transport) as (dialled, accepted, _):
        for end, other in ((dialled, accepted), (accepted, dialled)):
            for index in range(10):
                await end.send(b"%d" % index * (index + 1))
            assert [await other.receive() for _ in range(10)] == [b"%d" % i * (i + 1) for i in range(10)]


async def test_who_sends_at_once_loses_nothing_and_no_order(transport: Transport) -> None:
    messages = [b"a", b"b" * 200_000, b"c", b"d"]
    async with channel_pair(transport) as (dialled, accepted, _):
        for end, other in ((dialled, accepted), (accepted, dialled)):
            async with asyncio.TaskGroup() as tasks:
                for message in messages:
                    tasks.create_task(end.send(message))
            assert [await other.receive() for _ in messages] == messages


async def test_an_empty_message_is_a_message(transport: Transport) -> None:
    async with channel_pair(transport) as (dialled, accepted, _):
        await dialled.send(b"")
        await dialled.send(b"after")
        assert [await accepted.receive(), await accepted.receive()] == [b"", b"after"]


@pytest.mark.slow
async def test_a_message_of_the_largest_size_passes(transport: Transport) -> None:
    async with channel_pair(transport) as (dialled, accepted, _):
        await dialled.send(bytes(MAX_MESSAGE_BYTES))
        assert len(await accepted.receive()) == MAX_MESSAGE_BYTES


async def test_a_message_above_the_limit_is_refused_and_harms_nothing(transport: Transport) -> None:
    async with channel_pair(transport) as (dialled, accepted, _):
        for end, other in ((dialled, accepted), (accepted, dialled)):
            with pytest.raises(MalformedMessage, match="16777217 bytes is above the 16777216 allowed"):
                await end.send(bytes(MAX_MESSAGE_BYTES + 1))
            await end.send(b"next")
            assert await other.receive() == b"next"


async def test_port_zero_takes_a_free_port_and_says_which(transport: Transport) -> None:
    first, second = await transport.listen(HERE), await transport.listen(HERE)
    assert first.address.port != 0
    assert first.address != second.address
    await first.close()
    await second.close()


async def test_what_was_sent_before_closing_is_received_then_the_end(transport: Transport) -> None:
    async with channel_pair(transport) as (dialled, accepted, _):
        await dialled.send(b"last words")
        await dialled.close()
        assert await accepted.receive() == b"last words"
        with pytest.raises(ChannelClosed):
            await accepted.receive()


async def test_the_listeners_last_words_arrive_too(transport: Transport) -> None:
    async with channel_pair(transport) as (dialled, accepted, _):
        await accepted.send(b"last words")
        await accepted.close()
        assert await dialled.receive() == b"last words"
        with pytest.raises(ChannelClosed):
            await dialled.receive()


async def test_a_receive_that_is_given_up_loses_nothing(transport: Transport) -> None:
    async with channel_pair(transport) as (dialled, accepted, _):
        for end, other in ((dialled, accepted), (accepted, dialled)):
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await end.receive()
            await other.send(b"late")
            assert await end.receive() == b"late"


@pytest.mark.parametrize("who_closes", ["dialler", "listener's end", "listener"])
async def test_closing_wakes_a_peer_that_waits(transport: Transport, who_closes: str) -> None:
    async with channel_pair(transport) as (dialled, accepted, listener):
        waiting = accepted if who_closes == "dialler" else dialled

        async def wait_for_the_end() -> None:
            with pytest.raises(ChannelClosed):
                await waiting.receive()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(wait_for_the_end())
            await asyncio.sleep(0)
            closers: dict[str, Channel | Listener] = {
                "dialler": dialled,
                "listener's end": accepted,
                "listener": listener,
            }
            await closers[who_closes].close()


async def test_closing_wakes_our_own_receive(transport: Transport) -> None:
    async with channel_pair(transport) as (dialled, accepted, _):

        async def wait_for_the_end(end: Channel) -> None:
            with pytest.raises(ChannelClosed):
                await end.receive()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(wait_for_the_end(dialled))
            tasks.create_task(wait_for_the_end(accepted))
            await asyncio.sleep(0)
            await dialled.close()
            await accepted.close()


async def test_sending_to_a_closed_peer_fails_at_last(transport: Transport) -> None:
    async with channel_pair(transport) as (dialled, accepted, _):
        await accepted.close()

        async def send_on() -> None:
            while True:
                await dialled.send(b"x" * 1000)
                await asyncio.sleep(0)

        with pytest.raises(ChannelClosed):
            await send_on()


async def test_sending_after_our_own_close_fails(transport: Transport) -> None:
    async with channel_pair(transport) as (dialled, accepted, _):
        for end in (dialled, accepted):
            await end.close()
            with pytest.raises(ChannelClosed):
                await end.send(b"too late")


async def test_a_slow_receiver_slows_the_sender(transport: Transport) -> None:
    async with channel_pair(transport) as (dialled, accepted, _):
        sent = 0

        async def flood() -> None:
            nonlocal sent
            for sent in range(10_000):  # noqa: B007
                await dialled.send(bytes(10_000))

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await flood()
        assert 0 < sent < 9_999
        assert len(await accepted.receive()) == 10_000


async def test_nobody_at_the_address(transport: Transport) -> None:
    listener = await transport.listen(HERE)
    await listener.close()
    with pytest.raises(PeerUnreachable, match="nobody answers at"):
        await transport.dial(listener.address)


async def test_an_address_in_use(transport: Transport) -> None:
    listener = await transport.listen(HERE)
    with pytest.raises(AddressInUse, match="another program listens on"):
        await transport.listen(listener.address)
    await listener.close()


async def test_an_address_can_be_used_again_after_closing(transport: Transport) -> None:
    first = await transport.listen(HERE)
    channel = await transport.dial(first.address)
    await first.close()
    second = await transport.listen(first.address)
    again = await transport.dial(first.address)
    await (await second.accept()).send(b"new")
    assert await again.receive() == b"new"
    for end in (channel, again, second):
        await end.close()


async def test_an_address_of_another_machine_cannot_be_listened_on(transport: Transport) -> None:
    with pytest.raises(BadSetting, match=r"cannot listen on 192\.0\.2\.1:7070"):
        await transport.listen(Address("192.0.2.1", 7070))


async def test_a_closed_listener_accepts_nothing(transport: Transport) -> None:
    listener = await transport.listen(HERE)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(_accept_nothing(listener))
        await asyncio.sleep(0)
        await listener.close()
        await listener.close()
    assert waiting.result()


async def _accept_nothing(listener: Listener) -> bool:
    with pytest.raises(ChannelClosed):
        await listener.accept()
    return True


def test_sockets_are_released() -> None:
    """Only the real transport holds sockets: the port is free for another program afterwards."""

    async def listen_and_close() -> Address:
        listener = await GrpcTransport().listen(HERE)
        await listener.close()
        return listener.address

    address = asyncio.run(listen_and_close())
    with socket.socket() as trial:
        trial.bind((address.host, address.port))
