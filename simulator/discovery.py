"""Announcements in memory: the Discovery port without multicast.

Owns who is announced on one virtual local network. It knows no time yet: news is there at once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from mesh.errors import ChannelClosed
from mesh.inbox import Inbox
from mesh.ports import Appeared, Sighting, Vanished
from mesh.types import NodeId, NodeRecord

_UNREAD = 1024  # sightings that a watcher has not taken yet


class MemoryLan:
    """One local network on which nodes announce themselves."""

    def __init__(self) -> None:
        self._records: dict[NodeId, NodeRecord] = {}
        self._watchers: list[Inbox[Sighting]] = []

    def discovery(self) -> MemoryDiscovery:
        """Return the Discovery of one node."""
        return MemoryDiscovery(self)

    def put(self, record: NodeRecord) -> None:
        """Announce, or replace; says nothing where nothing changed."""
        if self._records.get(record.node_id) != record:
            self._records[record.node_id] = record
            self._tell(Appeared(record))

    def remove(self, node_id: NodeId) -> None:
        """Withdraw."""
        if self._records.pop(node_id, None) is not None:
            self._tell(Vanished(node_id))

    def watcher(self) -> Inbox[Sighting]:
        """Return a stream of sightings that starts with all that is announced now."""
        inbox: Inbox[Sighting] = Inbox(_UNREAD)
        for record in self._records.values():
            inbox.put_nowait(Appeared(record))
        self._watchers.append(inbox)
        return inbox

    def _tell(self, sighting: Sighting) -> None:
        self._watchers = [inbox for inbox in self._watchers if not inbox.is_closed]
        for inbox in self._watchers:
            inbox.put_nowait(sighting)


class MemoryDiscovery:
    """The Discovery port of one virtual node."""

    def __init__(self, lan: MemoryLan) -> None:
        self._lan = lan
        self._announced: NodeId | None = None
        self._watches: list[Inbox[Sighting]] = []

    async def announce(self, record: NodeRecord) -> None:
        """Make the node known; see the port."""
        if self._announced not in (None, record.node_id):
            await self.withdraw()
        self._announced = record.node_id
        self._lan.put(record)

    async def withdraw(self) -> None:
        """Say goodbye; see the port."""
        if self._announced is not None:
            self._lan.remove(self._announced)
            self._announced = None

    async def watch(self) -> AsyncGenerator[Sighting]:
        """Yield sightings; see the port."""
        inbox = self._lan.watcher()
        self._watches.append(inbox)
        try:
            while True:
                yield await inbox.get()
        except ChannelClosed:
            return
        finally:
            inbox.close("the watch is over")

    async def close(self) -> None:
        """Withdraw and end every watch; see the port."""
        await self.withdraw()
        for inbox in self._watches:
            inbox.clear()
            inbox.close("discovery is closed")
