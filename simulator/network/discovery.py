"""The Discovery port on the virtual network: mDNS as hosts of one local network see it.

Owns who is announced on each local network and what each watcher has seen. An announcement reaches who can be
reached when it is made; a watcher also asks, after 1, 3, 7, ... seconds, and hears from all that it can reach
and does not know yet (RFC 6762, 5.2 and 7.1). So a node that was cut off is found later, as in life. Records
outlive a node that vanishes: for hours, as its pointer does in zeroconf, which no run lasts.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from mesh.errors import ChannelClosed
from mesh.inbox import Inbox
from mesh.ports import Appeared, Sighting, Vanished
from mesh.types import NodeId, NodeRecord
from simulator.network.hosts import Host, Lan
from simulator.network.network import VirtualNetwork

_UNREAD = 1024  # sightings that a watcher has not taken yet
_ANSWER_S = (0.02, 0.12)  # a shared record is answered after 20 to 120 ms (RFC 6762, 6)
_FIRST_GAP_S = 1.0  # between a watcher's first questions; each gap is twice the one before
_LAST_GAP_S = 3600.0


class VirtualMdns:
    """Who is announced, by local network."""

    def __init__(self, network: VirtualNetwork) -> None:
        self.network = network
        self._announced: dict[Lan, dict[Host, NodeRecord]] = {}
        self._watches: dict[Lan, dict[Watch, None]] = {}

    def discovery(self, host: Host) -> VirtualDiscovery:
        """Return the Discovery of one life of a host's agent."""
        return VirtualDiscovery(self, host)

    def put(self, host: Host, record: NodeRecord) -> None:
        """Announce, or replace, and let everybody know who can be reached."""
        records = self._announced.setdefault(host.lan, {})
        before = records.get(host)
        if before != record:
            if before is not None and before.node_id != record.node_id:
                self._say_goodbye(host, before)
            records[host] = record
            for watch in self._watches.get(host.lan, ()):
                self.answer(host, watch)

    def remove(self, host: Host) -> None:
        """Withdraw, and say goodbye to everybody who can be reached."""
        record = self.forget(host)
        if record is not None:
            self._say_goodbye(host, record)

    def _say_goodbye(self, host: Host, record: NodeRecord) -> None:
        for watch in self._watches.get(host.lan, ()):
            self._pass(host, watch, 0.0, Vanished(record.node_id))

    def forget(self, host: Host) -> NodeRecord | None:
        """Announce a host no more and tell nobody: it is gone."""
        return self._announced.get(host.lan, {}).pop(host, None)

    def add(self, watch: Watch) -> None:
        """Keep a watcher informed."""
        self._watches.setdefault(watch.host.lan, {})[watch] = None

    def drop(self, watch: Watch) -> None:
        """Tell a watcher no more."""
        self._watches.get(watch.host.lan, {}).pop(watch, None)

    def ask(self, watch: Watch) -> None:
        """Have all that a watcher can reach, and does not know, tell it of themselves."""
        for host, record in self._announced.get(watch.host.lan, {}).items():
            if watch.seen.get(record.node_id) != record and not self.network.is_blocked(watch.host, host):
                self.answer(host, watch)

    def answer(self, host: Host, watch: Watch) -> None:
        """Have a host tell a watcher of itself after the time that hosts leave each other."""
        record = self._announced[host.lan][host]
        delay_s = 0.0 if watch.host is host else self.network.dice(host, watch.host).uniform(*_ANSWER_S)
        self._pass(host, watch, delay_s, Appeared(record))

    def _pass(self, host: Host, watch: Watch, delay_s: float, sighting: Sighting) -> None:
        network = self.network
        path = network.path(host, watch.host)
        is_lost = path.loss and network.dice(host, watch.host).random() < path.loss
        if not is_lost and not network.is_blocked(host, watch.host):
            network.at(network.now() + delay_s + path.delay_s, watch.take, sighting)


class Watch:
    """One watcher and what it has seen."""

    __slots__ = ("host", "inbox", "mdns", "seen")

    def __init__(self, mdns: VirtualMdns, host: Host) -> None:
        self.mdns = mdns
        self.host = host
        self.inbox: Inbox[Sighting] = Inbox(_UNREAD)
        self.seen: dict[NodeId, NodeRecord] = {}

    def take(self, sighting: Sighting) -> None:
        """Take news, unless it is none."""
        if self.inbox.is_closed:
            return
        match sighting:
            case Appeared(record):
                if self.seen.get(record.node_id) == record:
                    return
                self.seen[record.node_id] = record
            case Vanished(node_id):
                if self.seen.pop(node_id, None) is None:
                    return
        self.inbox.put_nowait(sighting)

    def ask(self, gap_s: float) -> None:
        """Ask now, and again after a gap, until the watch is over."""
        if not self.inbox.is_closed:
            network = self.mdns.network
            if not self.host.standstill.is_still:
                self.mdns.ask(self)
            network.at(network.now() + gap_s, self.ask, min(2 * gap_s, _LAST_GAP_S))


class VirtualDiscovery:
    """The Discovery port of one life of a host's agent."""

    def __init__(self, mdns: VirtualMdns, host: Host) -> None:
        self._mdns = mdns
        self._host = host
        self._boot = host.boot
        self._is_announced = False
        self._watches: list[Watch] = []

    async def announce(self, record: NodeRecord) -> None:
        """Make the node known; see the port."""
        self._is_announced = True
        self._mdns.put(self._host, record)

    async def withdraw(self) -> None:
        """Say goodbye; see the port."""
        if self._is_announced and self._host.boot == self._boot:
            self._mdns.remove(self._host)
        self._is_announced = False

    async def watch(self) -> AsyncGenerator[Sighting]:
        """Yield sightings; see the port."""
        watch = Watch(self._mdns, self._host)
        self._watches.append(watch)
        self._mdns.add(watch)
        watch.ask(_FIRST_GAP_S)
        try:
            while True:
                yield await watch.inbox.get()
        except ChannelClosed:
            return
        finally:
            self._end(watch)

    async def close(self) -> None:
        """Withdraw and end every watch; see the port."""
        await self.withdraw()
        for watch in self._watches:
            watch.inbox.clear()
            self._end(watch)

    def _end(self, watch: Watch) -> None:
        watch.inbox.close("the watch is over")
        self._mdns.drop(watch)
