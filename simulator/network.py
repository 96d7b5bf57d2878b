"""A network in memory: the Transport port without a real network.

Carries the same encoded bytes as the real one, in order, between virtual hosts of one event loop. Owns
which addresses are taken and which channels are open. It knows no time yet: a message is there as soon
as it is sent, and a channel holds a few messages before its sender must wait.
"""

from __future__ import annotations

from mesh.errors import AddressInUse, BadSetting, PeerUnreachable
from mesh.inbox import Inbox
from mesh.ports import check_message_size
from mesh.types import Address

_IN_FLIGHT = 16  # messages under way on one channel and direction
_BACKLOG = 64  # channels that a listener has not taken up yet
_FIRST_FREE_PORT = 49152  # where the range for ports chosen by the system starts (RFC 6335)


class MemoryNetwork:
    """Hosts and the channels between them."""

    def __init__(self) -> None:
        self._listeners: dict[Address, MemoryListener] = {}
        self._channels: list[tuple[str, str, MemoryChannel]] = []
        self._unplugged: set[str] = set()
        self._next_port = _FIRST_FREE_PORT

    def transport(self, host: str) -> MemoryTransport:
        """Return the Transport of one host, named by its address."""
        return MemoryTransport(self, host)

    def bind(self, address: Address) -> MemoryListener:
        """Take an address; port 0 takes a free one."""
        if address.port == 0:
            address = Address(address.host, self._next_port)
            self._next_port += 1
        if address in self._listeners:
            raise AddressInUse(f"another program listens on {address}; choose another port")
        listener = MemoryListener(address, self._listeners)
        self._listeners[address] = listener
        return listener

    def connect(self, host: str, address: Address) -> MemoryChannel:
        """Open a channel from a host to whoever listens there."""
        listener = self._listeners.get(address)
        if listener is None or not self._unplugged.isdisjoint((host, address.host)):
            raise PeerUnreachable(f"nobody answers at {address}")
        channel = listener.take()
        self._channels = [entry for entry in self._channels if not entry[2].is_closed]
        self._channels.append((host, address.host, channel))
        return channel

    def unplug(self, host: str) -> None:
        """Take a host off the network at once and without a word; its channels break at both ends."""
        self._unplugged.add(host)
        for dialler, listener, channel in self._channels:
            if host in (dialler, listener):
                channel.cut()

    def plug_in(self, host: str) -> None:
        """Put a host back on the network."""
        self._unplugged.discard(host)


class MemoryTransport:
    """The Transport port of one virtual host."""

    def __init__(self, network: MemoryNetwork, host: str) -> None:
        self._network = network
        self._host = host

    async def listen(self, address: Address) -> MemoryListener:
        """Start listening; see the port."""
        if address.host != self._host:
            raise BadSetting(f"cannot listen on {address}: this host is {self._host}")
        return self._network.bind(address)

    async def dial(self, address: Address) -> MemoryChannel:
        """Open a channel; see the port."""
        return self._network.connect(self._host, address)


class MemoryListener:
    """The Listener port of one virtual address."""

    def __init__(self, address: Address, taken: dict[Address, MemoryListener]) -> None:
        self._address = address
        self._taken = taken
        self._accepted: Inbox[MemoryChannel] = Inbox(_BACKLOG)
        self._channels: list[MemoryChannel] = []

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._address

    def take(self) -> MemoryChannel:
        """Make a channel for a dialler and queue its other end for `accept`."""
        if len(self._accepted) >= _BACKLOG:
            raise PeerUnreachable(f"{self._address} takes no more channels")
        there: Inbox[bytes] = Inbox(_IN_FLIGHT)
        here: Inbox[bytes] = Inbox(_IN_FLIGHT)
        served = MemoryChannel(outgoing=here, incoming=there)
        self._channels = [channel for channel in self._channels if not channel.is_closed]
        self._channels.append(served)
        self._accepted.put_nowait(served)
        return MemoryChannel(outgoing=there, incoming=here)

    async def accept(self) -> MemoryChannel:
        """Return the next channel; see the port."""
        return await self._accepted.get()

    async def close(self) -> None:
        """Stop listening; see the port."""
        self._taken.pop(self._address, None)
        self._accepted.close("the listener is closed")
        self._accepted.clear()
        for channel in self._channels:
            await channel.close()


class MemoryChannel:
    """One end of a channel."""

    def __init__(self, outgoing: Inbox[bytes], incoming: Inbox[bytes]) -> None:
        self._outgoing = outgoing
        self._incoming = incoming

    @property
    def is_closed(self) -> bool:
        """Whether either end has closed."""
        return self._outgoing.is_closed

    async def send(self, message: bytes) -> None:
        """Hand over one message; see the port."""
        check_message_size(message)
        await self._outgoing.put(message)

    async def receive(self) -> bytes:
        """Return the next message; see the port."""
        return await self._incoming.get()

    def cut(self) -> None:
        """Break the channel at both ends; what was under way is lost."""
        for direction in (self._outgoing, self._incoming):
            direction.clear()
            direction.close("the path to the peer broke")

    async def close(self) -> None:
        """Stop both directions; see the port."""
        self._outgoing.close("the peer closed the channel")
        self._incoming.close("the channel was closed")
        self._incoming.clear()
