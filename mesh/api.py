"""The way into a mesh for an app: `mesh.connect`.

Owns how a gateway is found. The name of this module is not `connect`, because importing a module of that
name would put it in the place of the function `mesh.connect`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial

from mesh.adapters.grpc_transport import GrpcTransport
from mesh.adapters.zeroconf_discovery import ZeroconfDiscovery
from mesh.client import Client
from mesh.config import DEFAULT_MESH, Timing
from mesh.errors import MeshError, NoDevices, NotAMesh, PeerUnreachable
from mesh.gateways import Reached, Way, first_reached
from mesh.link import Link, open_link
from mesh.messages import PROTOCOL, Hello
from mesh.ports import Appeared, Discovery, Transport
from mesh.types import Address, NodeId, NodeRecord

_LOOPBACK_SHARE = 0.75  # of the waiting time, for agents of this machine, before the network is asked
# (an agent that has answered another client within the second answers a second later: RFC 6762, 6)


@asynccontextmanager
async def connect(
    peer: str | Sequence[str] | None = None, *, mesh: str = DEFAULT_MESH, wait_s: float = 2.0
) -> AsyncIterator[Client]:
    """Connect to a mesh through one of its nodes.

    `peer` names a node as HOST:PORT, or several in a sequence: the first that answers is asked, and where
    that is lost another. Without it a node is discovered: on this machine first, then on the local network,
    for `wait_s` seconds in all. Raises NoDevices when nobody is found, PeerUnreachable when none of several
    answers, or what is wrong with the node that was found.

    What may not leave this device (privacy `device`) is asked of a node on it, or of one that `peer` names.

    Where the node that is asked is lost in mid-answer, the answer goes on at another: one that it has named,
    one of `peer`, or one that is discovered in the same way.
    """
    search = _Search(Hello(PROTOCOL, mesh, None), GrpcTransport(), wait_s)
    given = tuple(search.way(Address.parse(text)) for text in _texts(peer))
    discovery = Way("the local network", search.discover)

    reached = await first_reached(given or (discovery,))
    await reached.link.close()
    client = Client(reached.record, reached.open, random.Random(), search.visit_node, (*given, discovery))
    client.is_elsewhere = search.went_out  # with a `peer`, nothing was discovered
    yield client


def _texts(peer: str | Sequence[str] | None) -> Sequence[str]:
    return (peer,) if isinstance(peer, str) and peer else peer or ()


class _Search:
    """Looks for a node that answers."""

    def __init__(self, hello: Hello, transport: Transport, wait_s: float) -> None:
        self._hello = hello
        self._transport = transport
        self._wait_s = wait_s
        self._failure: MeshError | None = None
        self.went_out = False
        """Whether what was discovered last was not found on this machine."""

    def way(self, address: Address) -> Way:
        """Return the way to a node at an address."""

        async def reach(_: Collection[NodeId]) -> Reached:
            return await self._reach(address)

        return Way(str(address), reach)

    async def visit_node(self, record: NodeRecord) -> Link:
        """Open a link to a node where its record says that it is."""
        return await self._visit(record.address)

    async def discover(self, unwanted: Collection[NodeId]) -> Reached:
        """Reach the first node that is discovered and answers, and is none of those."""
        self._failure = None
        for loopback_only, share in ((True, _LOOPBACK_SHARE), (False, 1 - _LOOPBACK_SHARE)):
            self.went_out = not loopback_only
            with suppress(TimeoutError, OSError):  # OSError: this machine is on no network
                async with asyncio.timeout(self._wait_s * share):
                    return await self._discover(ZeroconfDiscovery(loopback_only=loopback_only), unwanted)
        raise self._failure or NoDevices(
            f"no device of mesh '{self._hello.mesh}' was found within {self._wait_s:g} s; "
            "start one with `mesh up`, or name one with --peer HOST:PORT"
        )

    async def _visit(self, address: Address) -> Link:
        return await open_link(self._transport, address, self._hello, Timing().dial_s)

    async def _reach(self, address: Address) -> Reached:
        link = await self._visit(address)
        if link.node is None:
            await link.close()
            raise NotAMesh(f"{address} answers, but is no node of a mesh")
        return Reached(link.node.at(address), link, partial(self._visit, address))

    async def _discover(self, discovery: Discovery, unwanted: Collection[NodeId]) -> Reached:
        """Visit every node that appears, all at once, because one may be frozen; the first to answer wins."""
        first: asyncio.Future[Reached] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._visit_all(self._wanted(discovery, unwanted), first))
                answer = await first
                watching.cancel()
        except BaseException:
            if first.done() and not first.cancelled():
                await first.result().link.close()
            raise
        finally:
            await discovery.close()
        return answer

    async def _wanted(self, discovery: Discovery, unwanted: Collection[NodeId]) -> AsyncGenerator[Address]:
        async with aclosing(discovery.watch()) as sightings:
            async for sighting in sightings:
                if not isinstance(sighting, Appeared):
                    continue
                record = sighting.record
                if record.mesh == self._hello.mesh and record.node_id not in unwanted:
                    yield record.address

    async def _visit_all(self, found: AsyncGenerator[Address], first: asyncio.Future[Reached]) -> None:
        async with aclosing(found) as addresses, asyncio.TaskGroup() as visits:
            async for address in addresses:
                visits.create_task(self._try(address, first))

    async def _try(self, address: Address, first: asyncio.Future[Reached]) -> None:
        try:
            reached = await self._reach(address)
        except PeerUnreachable:
            return  # an announcement that outlived its node
        except MeshError as error:
            self._failure = error
            return
        if first.done():
            await reached.link.close()  # another was faster
        else:
            first.set_result(reached)
