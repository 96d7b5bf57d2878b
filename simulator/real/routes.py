"""A Transport that dials others where the shaper listens for them.

Owns the translation of addresses. Nodes tell each other their real addresses; on this machine the way to
them leads through a proxy that stands for the network in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from mesh.errors import PeerUnreachable
from mesh.ports import Channel, Listener, Transport
from mesh.types import Address


class RoutedTransport:
    """The Transport port of one device."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self._ways: dict[Address, Address | None] = {}
        self._news = asyncio.Event()

    def add(self, ways: Mapping[Address, Address | None]) -> None:
        """Learn ways; None where no path leads."""
        self._ways.update(ways)
        self._news.set()
        self._news = asyncio.Event()

    async def listen(self, address: Address) -> Listener:
        """Start listening; see the port."""
        return await self._inner.listen(address)

    async def dial(self, address: Address) -> Channel:
        """Open a channel through the network; see the port.

        Waits for a way that is not known yet: news of a device may be faster than the household's.
        """
        while address not in self._ways:
            await self._news.wait()
        way = self._ways[address]
        if way is None:
            raise PeerUnreachable(f"no path leads to {address}")
        return await self._inner.dial(way)
