"""A channel on which both ends know each other, carrying messages instead of bytes.

Owns the handshake: versions and mesh names are compared before anything else is said. Must not know what
the messages are for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from mesh.errors import (
    ChannelClosed,
    MalformedMessage,
    MeshError,
    OtherMesh,
    PeerUnreachable,
    VersionMismatch,
)
from mesh.errors import from_code as error_from_code
from mesh.messages import Hello, Message, Refusal
from mesh.ports import Channel, Transport
from mesh.types import Address, NodeRecord
from mesh.wire.codec import decode, encode


class Link:
    """One end of a channel after the handshake."""

    __slots__ = ("_channel", "peer")

    def __init__(self, channel: Channel, peer: Hello) -> None:
        self._channel = channel
        self.peer = peer

    @property
    def node(self) -> NodeRecord | None:
        """The peer's record; None for a client."""
        return self.peer.node

    async def send(self, message: Message) -> None:
        """Hand over one message; raises as Channel.send does."""
        await self._channel.send(encode(message))

    def send_encoded(self, data: bytes) -> Coroutine[object, object, None]:
        """Hand over one message that is encoded already, for instance once for many peers; awaited."""
        return self._channel.send(data)

    def receive(self) -> Coroutine[object, object, Message]:
        """Await the next message that this version knows; raise ChannelClosed or MalformedMessage."""
        return _receive(self._channel)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


async def open_link(transport: Transport, address: Address, hello: Hello, within_s: float) -> Link:
    """Dial, introduce ourselves and hear who answers, all within a time.

    Raises PeerUnreachable, NotAMesh, MalformedMessage, VersionMismatch (both versions named) or OtherMesh.
    """
    try:
        async with asyncio.timeout(within_s):
            return await _introduce(await transport.dial(address), address, hello)
    except TimeoutError as error:
        raise PeerUnreachable(
            f"{address} did not answer within {within_s:g} s; does an agent run there?"
        ) from error


async def _introduce(channel: Channel, address: Address, hello: Hello) -> Link:
    try:
        await channel.send(encode(hello))
        answer = await _receive(channel)
        if isinstance(answer, Refusal):
            raise error_from_code(answer.code, answer.message)
        if not isinstance(answer, Hello):
            raise MalformedMessage(f"{address} began with {type(answer).__name__} instead of Hello")
        _check(answer, hello)
    except ChannelClosed as error:
        await channel.close()
        raise PeerUnreachable(f"{address} hung up before it said who it is") from error
    except BaseException:
        await channel.close()
        raise
    return Link(channel, answer)


async def welcome_link(channel: Channel, hello: Hello) -> Link:
    """Hear who dialled and answer, or refuse and say why.

    The caller sets the deadline and closes the channel on any error. Raises what the dialler is told.
    """
    theirs = await _receive(channel)
    if not isinstance(theirs, Hello):
        raise MalformedMessage(f"a dialler began with {type(theirs).__name__} instead of Hello")
    try:
        _check(theirs, hello)
    except MeshError as error:
        await channel.send(encode(Refusal(error.code, str(error))))
        raise
    await channel.send(encode(hello))
    return Link(channel, theirs)


def _check(theirs: Hello, ours: Hello) -> None:
    # Both ends read the same text, so it names both and says neither 'we' nor 'they'.
    their_name, our_name = (hello.node.name if hello.node else "a client" for hello in (theirs, ours))
    if theirs.version.major != ours.version.major:
        raise VersionMismatch(
            f"{their_name} speaks version {theirs.version} of the mesh's protocol and "
            f"{our_name} speaks {ours.version}; update the older one"
        )
    if theirs.mesh != ours.mesh:
        raise OtherMesh(
            f"{their_name} belongs to mesh '{theirs.mesh}' and {our_name} to '{ours.mesh}'; see --mesh"
        )


async def _receive(channel: Channel) -> Message:
    while (message := decode(await channel.receive())) is None:
        pass  # of a newer minor version: passed over
    return message
