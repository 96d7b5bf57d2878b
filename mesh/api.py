"""The way into a mesh for an app: `mesh.connect`.

Owns how a gateway is found. The name of this module is not `connect`, because importing a module of that
name would put it in the place of the function `mesh.connect`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial

from mesh.adapters.grpc_transport import GrpcTransport
from mesh.adapters.zeroconf_discovery import ZeroconfDiscovery
from mesh.client import Client
from mesh.config import DEFAULT_MESH, Timing
from mesh.errors import MeshError, NoDevices, NotAMesh, PeerUnreachable
from mesh.link import Link, open_link
from mesh.messages import PROTOCOL, Hello
from mesh.ports import Appeared, Discovery, Transport
from mesh.types import Address

_LOOPBACK_SHARE = 0.75  # of the waiting time, for agents of this machine, before the network is asked
# (an agent that has answered another client within the second answers a second later: RFC 6762, 6)


@asynccontextmanager
async def connect(
    peer: str | None = None, *, mesh: str = DEFAULT_MESH, wait_s: float = 2.0
) -> AsyncIterator[Client]:
    """Connect to a mesh through one of its nodes.

    `peer` names a node as HOST:PORT. Without it a node is discovered: on this machine first, then on the
    local network, for `wait_s` seconds in all. Raises NoDevices when nobody is found, or what is wrong
    with the node that was.
    """
    search = _Search(Hello(PROTOCOL, mesh, None), GrpcTransport())
    address = Address.parse(peer) if peer else None
    link, address = (await search.visit(address), address) if address else await search.find(wait_s)
    await link.close()
    if link.node is None:
        raise NotAMesh(f"{address} answers, but is no node of a mesh")

    yield Client(link.node.at(address), partial(search.visit, address), random.Random())


class _Search:
    """Looks for a node that answers."""

    def __init__(self, hello: Hello, transport: Transport) -> None:
        self._hello = hello
        self._transport = transport
        self._failure: MeshError | None = None

    async def visit(self, address: Address) -> Link:
        """Open a link to a node."""
        return await open_link(self._transport, address, self._hello, Timing().dial_s)

    async def find(self, wait_s: float) -> tuple[Link, Address]:
        """Open a link to the first node that is discovered and answers."""
        for loopback_only, share in ((True, _LOOPBACK_SHARE), (False, 1 - _LOOPBACK_SHARE)):
            with suppress(TimeoutError, OSError):  # OSError: this machine is on no network
                async with asyncio.timeout(wait_s * share):
                    return await self._discover(ZeroconfDiscovery(loopback_only=loopback_only))
        raise self._failure or NoDevices(
            f"no device of mesh '{self._hello.mesh}' was found within {wait_s:g} s; "
            "start one with `mesh up`, or name one with --peer HOST:PORT"
        )

    async def _discover(self, discovery: Discovery) -> tuple[Link, Address]:
        """Visit every node that appears, all at once, because one may be frozen; the first to answer wins."""
        first: asyncio.Future[tuple[Link, Address]] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._visit_all(discovery, first))
                answer = await first
                watching.cancel()
        finally:
            await discovery.close()
        return answer

    async def _visit_all(self, discovery: Discovery, first: asyncio.Future[tuple[Link, Address]]) -> None:
        async with aclosing(discovery.watch()) as sightings, asyncio.TaskGroup() as visits:
            async for sighting in sightings:
                if isinstance(sighting, Appeared) and sighting.record.mesh == self._hello.mesh:
                    visits.create_task(self._try(sighting.record.address, first))

    async def _try(self, address: Address, first: asyncio.Future[tuple[Link, Address]]) -> None:
        try:
            link = await self.visit(address)
        except PeerUnreachable:
            return  # an announcement that outlived its node
        except MeshError as error:
            self._failure = error
            return
        if first.done():
            await link.close()  # another was faster
        else:
            first.set_result((link, address))
