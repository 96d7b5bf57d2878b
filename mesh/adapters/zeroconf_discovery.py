"""Discovery by multicast DNS (RFC 6762) and DNS service discovery (RFC 6763).

Owns the service type and the TXT record's keys. Must not know what the mesh does with a sighting.
A node's instance name is its id, so that two agents of one name stay two nodes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import cast

from zeroconf import DNSQuestionType, InterfaceChoice, IPVersion, ServiceInfo, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from mesh.errors import ChannelClosed, MeshError
from mesh.inbox import Inbox
from mesh.ports import Appeared, Sighting, Vanished
from mesh.types import Address, DeviceClass, NodeId, NodeRecord, ProtocolVersion

SERVICE_TYPE = "_ambient-mesh._tcp.local."

_RESOLVE_MS = 1000  # how long to ask for a record that came without its address
_CHANGES = 256  # changes not looked at yet; a burst beyond it waits in zeroconf's cache


@dataclass(frozen=True, slots=True)
class _Change:
    instance: str
    is_gone: bool


class ZeroconfDiscovery:
    """The Discovery port on zeroconf.

    `loopback_only` keeps every packet on this machine: for agents that listen on loopback alone.
    """

    def __init__(self, *, loopback_only: bool) -> None:
        interfaces = ["127.0.0.1"] if loopback_only else InterfaceChoice.All
        self._zeroconf = AsyncZeroconf(interfaces=interfaces, ip_version=IPVersion.V4Only)
        self._announced: ServiceInfo | None = None
        self._repeating: asyncio.Task[None] | None = None
        """Says it again some times in the second after an announcement."""
        self._watches: list[Inbox[_Change]] = []
        self._is_closed = False

    async def announce(self, record: NodeRecord) -> None:
        """Make the node known; see the port."""
        info = _to_info(record)
        self._repeat_no_more()
        if self._announced is not None and self._announced.name == info.name:
            repeating = await self._zeroconf.async_update_service(info)
        else:
            await self.withdraw()
            # No probe for the name, which takes most of a second: it is the node's id and unique.
            repeating = await self._zeroconf.async_register_service(info, cooperating_responders=True)
        self._announced, self._repeating = info, cast("asyncio.Task[None]", repeating)

    async def withdraw(self) -> None:
        """Say goodbye; see the port."""
        self._repeat_no_more()  # else the last announcement may come after the last goodbye
        if self._announced is not None:
            info, self._announced = self._announced, None
            await (await self._zeroconf.async_unregister_service(info))

    def _repeat_no_more(self) -> None:
        if self._repeating is not None:
            self._repeating.cancel()
            self._repeating = None

    async def watch(self) -> AsyncGenerator[Sighting]:
        """Yield sightings; see the port."""
        changes: Inbox[_Change] = Inbox(_CHANGES)
        self._watches.append(changes)
        browser = AsyncServiceBrowser(
            self._zeroconf.zeroconf,
            SERVICE_TYPE,
            handlers=[_note_into(changes)],
            # The usual first question asks for answers to this socket alone; where several programs of one
            # machine share the port, the system gives them to any one of the sockets.
            question_type=DNSQuestionType.QM,
        )
        try:
            async for sighting in self._sightings(changes):
                yield sighting
        finally:
            with contextlib.suppress(Exception):
                await browser.async_cancel()

    async def _sightings(self, changes: Inbox[_Change]) -> AsyncIterator[Sighting]:
        known: dict[str, NodeRecord] = {}
        while True:
            try:
                change = await changes.get()
            except ChannelClosed:
                return
            if change.is_gone:
                if gone := known.pop(change.instance, None):
                    yield Vanished(gone.node_id)
                continue
            record = await self._resolve(change.instance)
            if record is not None and known.get(change.instance) != record:
                known[change.instance] = record
                yield Appeared(record)

    async def _resolve(self, instance: str) -> NodeRecord | None:
        info = AsyncServiceInfo(SERVICE_TYPE, instance)
        if not info.load_from_cache(self._zeroconf.zeroconf):
            with contextlib.suppress(Exception):  # closing, or garbage from the network
                await info.async_request(self._zeroconf.zeroconf, _RESOLVE_MS)
        return _from_info(info)

    async def close(self) -> None:
        """Withdraw and free the network; see the port."""
        if self._is_closed:
            return
        self._is_closed = True
        for changes in self._watches:
            changes.clear()
            changes.close("discovery is closed")
        with contextlib.suppress(Exception):
            await self.withdraw()
        await self._zeroconf.async_close()


def _note_into(changes: Inbox[_Change]) -> Callable[[Zeroconf, str, str, ServiceStateChange], None]:
    """Make the function that zeroconf calls, on our loop, with each change."""

    def note(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        with contextlib.suppress(ChannelClosed):
            changes.put_nowait(_Change(name, state_change is ServiceStateChange.Removed))

    return note


def _to_info(record: NodeRecord) -> ServiceInfo:
    properties = {
        "id": record.node_id,
        "name": record.name,
        "class": record.device_class.value,
        "mesh": record.mesh,
        "v": str(record.version),
        "inc": str(record.incarnation),
    }
    return ServiceInfo(
        SERVICE_TYPE,
        f"{record.node_id}.{SERVICE_TYPE}",
        addresses=[_packed(record.address.host)],
        port=record.address.port,
        properties=properties,
        server=f"{record.node_id}.local.",
    )


def _from_info(info: ServiceInfo) -> NodeRecord | None:
    """Read an announcement; None for one that is not of our making."""
    text = {
        key.decode(errors="replace"): (value or b"").decode(errors="replace")
        for key, value in info.properties.items()
    }
    hosts = info.parsed_addresses(IPVersion.V4Only)
    if not hosts or not info.port:
        return None
    try:
        major, _, minor = text["v"].partition(".")
        return NodeRecord(
            node_id=NodeId(text["id"]),
            name=text["name"],
            device_class=DeviceClass(text["class"]),
            address=Address(hosts[0], info.port),
            mesh=text["mesh"],
            version=ProtocolVersion(int(major), int(minor)),
            incarnation=int(text["inc"]),
        )
    except (KeyError, ValueError, MeshError):
        return None


def _packed(host: str) -> bytes:
    try:
        return ipaddress.ip_address(host).packed
    except ValueError:
        return socket.inet_aton(socket.gethostbyname(host))
