"""A Transport between the roles and the network in memory, that counts, refuses and holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from mesh.errors import PeerUnreachable
from mesh.messages import Echo, EchoReply, Heartbeat
from mesh.ports import Channel, Listener, Transport
from mesh.types import Address
from mesh.wire.codec import decode


@dataclass(slots=True)
class Wires:
    """What tests see of the channels between hosts, and do to them."""

    inner: Callable[[str], Transport]
    dials: list[tuple[str, str]] = field(default_factory=list)
    """Dialler and dialled, also those that came to nothing."""
    refused: set[tuple[str, str]] = field(default_factory=set)
    slow_s: dict[tuple[str, str], float] = field(default_factory=dict)
    open: list[Wire] = field(default_factory=list)
    num_messages: int = 0
    """Without those that measure the ways."""
    num_bytes: int = 0
    num_statuses: int = 0
    """Messages with a status."""
    num_echoes: int = 0
    """Questions and answers that measure the ways."""
    num_echo_bytes: int = 0

    def transport(self, host: str) -> Transport:
        """The Transport of one host."""
        return _Transport(self, self.inner(host), host)

    def between(self, one: str, other: str) -> list[Wire]:
        """The channels that are open between two hosts."""
        return [wire for wire in self.open if {wire.dialler, wire.listener} == {one, other}]

    def counted(self, message: bytes) -> bytes:
        decoded = decode(message)
        if isinstance(decoded, Echo | EchoReply):
            self.num_echoes += 1
            self.num_echo_bytes += len(message)
        else:
            self.num_messages += 1
            self.num_bytes += len(message)
            self.num_statuses += isinstance(decoded, Heartbeat) and decoded.status is not None
        return message


@dataclass(slots=True)
class _Transport:
    wires: Wires
    inner: Transport
    host: str

    async def listen(self, address: Address) -> Listener:
        return await self.inner.listen(address)

    async def dial(self, address: Address) -> Channel:
        way = (self.host, address.host)
        self.wires.dials.append(way)
        if way in self.wires.refused:
            raise PeerUnreachable(f"nobody answers at {address}")
        await asyncio.sleep(self.wires.slow_s.get(way, 0))
        wire = Wire(self.wires, await self.inner.dial(address), *way)
        self.wires.open.append(wire)
        return wire


@dataclass(slots=True, eq=False)
class Wire:
    """The dialler's end of a channel."""

    wires: Wires
    inner: Channel
    dialler: str
    listener: str
    passes: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.passes.set()

    async def send(self, message: bytes) -> None:
        await self.passes.wait()
        await self.inner.send(self.wires.counted(message))

    async def receive(self) -> bytes:
        message = await self.inner.receive()
        await self.passes.wait()
        return self.wires.counted(message)

    async def close(self) -> None:
        if self in self.wires.open:
            self.wires.open.remove(self)
        await self.inner.close()
