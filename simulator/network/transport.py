"""The Transport port on the virtual network.

Owns dialling and listening of one host. A dial takes three round trips, as gRPC's does (measured over a
shaped link): for the connection, for HTTP/2's settings, and for the greeting of the mesh's service.
"""

from __future__ import annotations

import asyncio

from mesh.errors import BadSetting, PeerUnreachable
from mesh.inbox import Inbox
from mesh.types import Address
from simulator.network.channel import VirtualChannel
from simulator.network.hosts import Host
from simulator.network.network import VirtualNetwork

_ROUND_TRIPS = 3  # of a dial
_BACKLOG = 64  # channels that a listener has not taken up yet
_FIRST_TRY_S = 1.0  # a system asks again after 1, 3, 7, ... seconds (RFC 6298's initial timeout)


class VirtualListener:
    """The Listener port of one virtual address."""

    def __init__(self, network: VirtualNetwork, host: Host, address: Address) -> None:
        self._network = network
        self._host = host
        self._address = address
        self._accepted: Inbox[VirtualChannel] = Inbox(_BACKLOG)
        self._channels: list[VirtualChannel] = []

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._address

    def take(self, source: Host) -> VirtualChannel:
        """Make a channel for a dialler and queue its other end for `accept`."""
        if len(self._accepted) >= _BACKLOG:
            raise PeerUnreachable(f"{self._address} takes no more channels")
        dialled, served = self._network.connect(source, self._host)
        self._channels = [channel for channel in self._channels if not channel.is_over]
        self._channels.append(served)
        self._accepted.put_nowait(served)
        return dialled

    async def accept(self) -> VirtualChannel:
        """Return the next channel; see the port."""
        return await self._accepted.get()

    async def close(self) -> None:
        """Stop listening; see the port."""
        if self._network.doors.get(self._address) is self:
            del self._network.doors[self._address]
        self._accepted.close("the listener is closed")
        self._accepted.clear()
        for channel in self._channels:
            await channel.close()


class VirtualTransport:
    """The Transport port of one life of a host's agent."""

    def __init__(self, network: VirtualNetwork, host: Host) -> None:
        self._network = network
        self._host = host
        self._boot = host.boot

    async def listen(self, address: Address) -> VirtualListener:
        """Start listening; see the port."""
        if address.host != self._host.address:
            raise BadSetting(f"cannot listen on {address}: this host is {self._host.address}")
        free = self._network.free_address(self._host, address.port)
        listener = VirtualListener(self._network, self._host, free)
        self._network.doors[free] = listener
        return listener

    async def dial(self, address: Address) -> VirtualChannel:
        """Open a channel; see the port."""
        network, source = self._network, self._host
        target = network.hosts.get(address.host)
        if target is None:
            raise PeerUnreachable(f"nobody answers at {address}")
        await self._reach(target)
        there, back = network.path(source, target), network.path(target, source)
        overhead_s = 2 * (source.message_overhead_s + target.message_overhead_s)
        await asyncio.sleep(_ROUND_TRIPS * (there.delay_s + back.delay_s) + overhead_s)
        door = network.doors.get(address)
        if door is None or source.boot != self._boot:
            raise PeerUnreachable(f"nobody answers at {address}")
        return door.take(source)

    async def _reach(self, target: Host) -> None:
        """Wait until the way is free and the process answers, as a system does that tries again and again."""
        wait_s = _FIRST_TRY_S
        while self._network.is_blocked(self._host, target) or self._network.is_blocked(target, self._host):
            await asyncio.sleep(wait_s)
            wait_s *= 2
        await target.standstill.over()
