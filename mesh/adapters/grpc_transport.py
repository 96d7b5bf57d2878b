"""Transport over gRPC: one bidirectional stream of envelopes for each channel.

Owns the mapping of gRPC's errors to ours, and the options of its connections. Must not know what the
messages mean: they pass as bytes, encoded by `mesh.wire`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator

import grpc
import grpc.aio

from mesh.config import MAX_MESSAGE_BYTES
from mesh.errors import AddressInUse, BadSetting, ChannelClosed, MeshError, NotAMesh, PeerUnreachable
from mesh.inbox import Inbox
from mesh.ports import check_message_size
from mesh.types import Address
from mesh.wire.envelope_pb2 import DESCRIPTOR

_SERVICE = DESCRIPTOR.services_by_name["Mesh"]
_METHOD = _SERVICE.methods_by_name["Open"]

_GREETING = ("mesh-wire", "open")  # initial metadata by which a dialler knows one of us

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A dial is one attempt: without this, connections of a process are shared by address, and a node
    # that restarts is met with the waiting time of its predecessor's failures.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.so_reuseport", 0),
)

_INBOX = 16  # messages read ahead of the role; beyond it HTTP/2 flow control slows the sender
_BACKLOG = 64  # channels accepted and not yet taken up by the node


class GrpcTransport:
    """The Transport port on grpc.aio."""

    async def listen(self, address: Address) -> GrpcListener:
        """Start listening; see the port."""
        _check_free(address)
        listener = GrpcListener()
        server = grpc.aio.server(options=_OPTIONS)
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(listener.serve)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(_SERVICE.full_name, {_METHOD.name: handler}),)
        )
        try:
            port = server.add_insecure_port(str(address))
        except RuntimeError as error:
            raise AddressInUse(f"cannot listen on {address}; is another program there?") from error
        await server.start()
        listener.started(server, Address(address.host, port))
        return listener

    async def dial(self, address: Address) -> GrpcChannel:
        """Open a channel; see the port."""
        connection = grpc.aio.insecure_channel(str(address), options=_OPTIONS)
        path = f"/{_SERVICE.full_name}/{_METHOD.name}"
        call: grpc.aio.StreamStreamCall[bytes, bytes] = connection.stream_stream(path)()
        try:
            with _refused(address):
                await call.wait_for_connection()
                # A server without our service connects too, and tells only the first read.
                if _GREETING not in ((key, value) for key, value in await call.initial_metadata() or ()):
                    await call.read()
        except BaseException:
            await connection.close()
            raise
        return GrpcChannel(connection, call)


class GrpcChannel:
    """The dialler's end of a channel."""

    def __init__(self, connection: grpc.aio.Channel, call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        self._connection = connection
        self._call = call
        self._reading: asyncio.Future[object] | None = None
        self._writing = asyncio.Lock()  # gRPC ends a call in which two write at once
        self._closed = False

    async def send(self, message: bytes) -> None:
        """Hand over one message; see the port."""
        check_message_size(message)  # gRPC lets a writer above its limit wait for ever (seen with 1.85)
        async with self._writing:
            with _closed_where_broken():
                await self._call.write(message)

    async def receive(self) -> bytes:
        """Return the next message; see the port."""
        if self._reading is None:
            # A read that is cancelled ends the whole call, so it is this channel's own task, and whoever
            # stops waiting leaves it to the next who waits.
            self._reading = asyncio.ensure_future(self._call.read())  # noqa: TID251
            self._reading.add_done_callback(_note_failure)
        with _closed_where_broken():
            message = await asyncio.shield(self._reading)
        self._reading = None
        if not isinstance(message, bytes):
            raise ChannelClosed("the peer closed the channel")
        return message

    async def close(self) -> None:
        """Half-close, so that what was sent arrives, then end the call; see the port."""
        if self._closed:
            return
        self._closed = True
        if self._reading is not None:
            self._reading.cancel()
        with contextlib.suppress(Exception):
            await self._call.done_writing()
        await self._connection.close(grace=0.2)


class GrpcListener:
    """The Listener port on a grpc.aio server."""

    def __init__(self) -> None:
        self._accepted: Inbox[_ServedChannel] = Inbox(_BACKLOG)
        self._open: dict[int, _ServedChannel] = {}
        self._server: grpc.aio.Server | None = None
        self._address = Address("unset", 0)

    def started(self, server: grpc.aio.Server, address: Address) -> None:
        """Take over the running server."""
        self._server = server
        self._address = address

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._address

    async def serve(self, _requests: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        """Run one call: hand it to the node as a channel and read for it until either side ends it."""
        if self._accepted.is_closed or len(self._accepted) >= _BACKLOG:
            return
        channel = _ServedChannel(context)
        self._open[id(channel)] = channel
        try:
            # At once, so that the dialler knows that it reached a mesh.
            await context.send_initial_metadata((_GREETING,))
            await self._accepted.put(channel)
            await channel.pump()
        finally:
            channel.end("the peer closed the channel")
            del self._open[id(channel)]

    async def accept(self) -> _ServedChannel:
        """Return the next channel; see the port."""
        return await self._accepted.get()

    async def close(self) -> None:
        """Stop listening; see the port."""
        if self._accepted.is_closed or self._server is None:
            return
        self._accepted.close("the listener is closed")
        self._accepted.clear()
        for channel in tuple(self._open.values()):
            await channel.close()
        await self._server.stop(grace=0.2)


class _ServedChannel:
    """The listener's end of a channel.

    gRPC cancels the handler when the dialler is gone, so the handler does the reading and fills an inbox;
    whoever waits in `receive` is then woken by the inbox's end.
    """

    def __init__(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        self._context = context
        self._inbox: Inbox[bytes] = Inbox(_INBOX)
        self._writing = asyncio.Lock()  # gRPC fails the second of two that write at once
        self._over = asyncio.Event()

    async def pump(self) -> None:
        """Read until the dialler or we close."""
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(self._read())
            await self._over.wait()
            reader.cancel()

    async def _read(self) -> None:
        with contextlib.suppress(grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError, ChannelClosed):
            while isinstance(message := await self._context.read(), bytes):
                await self._inbox.put(message)
        self.end("the peer closed the channel")

    def end(self, reason: str) -> None:
        """Take no more messages and wake whoever waits for one."""
        self._inbox.close(reason)
        self._over.set()

    async def send(self, message: bytes) -> None:
        """Hand over one message; see the port."""
        check_message_size(message)  # gRPC lets a writer above its limit wait for ever (seen with 1.85)
        async with self._writing:
            if self._inbox.is_closed:
                raise ChannelClosed("the peer closed the channel")
            with _closed_where_broken():
                await self._context.write(message)

    async def receive(self) -> bytes:
        """Return the next message; see the port."""
        return await self._inbox.get()

    async def close(self) -> None:
        """End the call; see the port."""
        self.end("the channel was closed")


@contextlib.contextmanager
def _closed_where_broken() -> Iterator[None]:
    """Turn what gRPC raises on a dead stream into ChannelClosed."""
    try:
        yield
    except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError) as error:
        raise ChannelClosed(f"the channel broke: {_details(error)}") from error
    except asyncio.CancelledError:
        # gRPC raises this also where the call was cancelled and not the task that waits for it.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise ChannelClosed("the channel was closed") from None


def _note_failure(reading: asyncio.Future[object]) -> None:
    """Look at how a read ended, so that one that nobody waits for any more is not reported as forgotten."""
    if not reading.cancelled():
        reading.exception()


@contextlib.contextmanager
def _refused(address: Address) -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise _dial_error(address, error) from error


def _details(error: BaseException) -> str:
    details = error.details() if isinstance(error, grpc.aio.AioRpcError) else None
    return details or str(error) or type(error).__name__


def _dial_error(address: Address, error: grpc.aio.AioRpcError) -> MeshError:
    """Tell an empty address from one where something else answers.

    gRPC has one status for both; its text tells them apart (seen with 1.66 and 1.85).
    """
    details = _details(error)
    other_program = error.code() is grpc.StatusCode.UNIMPLEMENTED or "http" in details.lower()
    if other_program:
        return NotAMesh(f"{address} answers, but does not speak the mesh's protocol; is it another program?")
    return PeerUnreachable(
        f"nobody answers at {address} ({details.rpartition(': ')[2]}); does an agent run there?"
    )


def _check_free(address: Address) -> None:
    """Raise where the address cannot be listened on; gRPC's own error does not say why."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise BadSetting(f"cannot listen on {address}: no such host ({error.strerror})") from error
    family, kind, _, _, target = found[0]
    with socket.socket(family, kind) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(target)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(f"another program listens on {address}; choose another port") from error
            raise BadSetting(f"cannot listen on {address}: {error.strerror}") from error
