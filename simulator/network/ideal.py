"""A network that costs nothing, for tests of other things: every address is a host, and all hosts are near.

Owns nothing but the making of hosts when they are first named.
"""

from __future__ import annotations

from simulator.network.discovery import VirtualDiscovery, VirtualMdns
from simulator.network.hosts import IDEAL, Host
from simulator.network.network import VirtualNetwork
from simulator.network.rules import Way
from simulator.network.transport import VirtualTransport

_LAN = "ideal"


class IdealNetwork(VirtualNetwork):
    """One local network without delay, on which hosts are named by their addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.add_lan(_LAN)
        self.mdns = VirtualMdns(self)

    def host(self, address: str) -> Host:
        """Return the host with an address."""
        return self.hosts.get(address) or self.add_host(address, address, _LAN, IDEAL)

    def transport_at(self, address: str) -> VirtualTransport:
        """Return the Transport of a host."""
        return VirtualTransport(self, self.host(address))

    def discovery_at(self, address: str) -> VirtualDiscovery:
        """Return the Discovery of a host."""
        return self.mdns.discovery(self.host(address))

    def unplug(self, address: str) -> None:
        """Take a host off the network; its channels break at both ends."""
        self.host(address).is_on = False
        self.reset_all(Way(frozenset({address}), frozenset()))

    def plug_in(self, address: str) -> None:
        """Put a host back on the network."""
        self.host(address).is_on = True
        self.look_again()
