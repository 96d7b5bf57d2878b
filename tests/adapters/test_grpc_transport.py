"""What only gRPC can get wrong: other programs on the port, messages too large, errors mapped."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from mesh.adapters.grpc_transport import GrpcTransport
from mesh.config import MAX_MESSAGE_BYTES
from mesh.errors import BadSetting, ChannelClosed, NotAMesh, PeerUnreachable
from mesh.types import Address

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def other_program(serve: Serve) -> AsyncIterator[Address]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()


async def ssh(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    await writer.drain()
    writer.close()


async def http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    writer.close()


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize("serve", [ssh, http1])
async def test_another_program_on_the_port_is_named_as_such(serve: Serve) -> None:
    async with other_program(serve) as address:
        with pytest.raises(NotAMesh, match="does not speak the mesh's protocol"):
            await GrpcTransport().dial(address)


async def test_a_program_that_hangs_up_is_unreachable() -> None:
    async with other_program(hang_up) as address:
        with pytest.raises(PeerUnreachable, match="nobody answers at 127"):
            await GrpcTransport().dial(address)


async def test_another_grpc_service_is_not_a_mesh() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with pytest.raises(NotAMesh):
        await GrpcTransport().dial(Address("127.0.0.1", port))
    await server.stop(None)


async def test_a_program_that_says_nothing_is_left_when_the_callers_time_is_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await GrpcTransport().dial(Address("127.0.0.1", silent.getsockname()[1]))


async def test_a_peer_that_sends_too_much_loses_its_channel_and_harms_nobody() -> None:
    listener = await GrpcTransport().listen(Address("127.0.0.1", 0))
    unlimited = [("grpc.max_send_message_length", -1)]
    rude = grpc.aio.insecure_channel(str(listener.address), options=unlimited)
    call: grpc.aio.StreamStreamCall[bytes, bytes] = rude.stream_stream("/mesh.wire.Mesh/Open")()
    await call.wait_for_connection()
    served = await listener.accept()
    await call.write(bytes(MAX_MESSAGE_BYTES + 1))
    with pytest.raises(ChannelClosed):
        await served.receive()
    polite = await GrpcTransport().dial(listener.address)
    await polite.send(b"alive")
    assert await (await listener.accept()).receive() == b"alive"
    await rude.close()
    for end in (polite, listener):
        await end.close()


async def test_no_such_host_is_a_bad_setting() -> None:
    with pytest.raises(BadSetting, match="no such host"):
        await GrpcTransport().listen(Address("no.such.host.invalid", 0))
