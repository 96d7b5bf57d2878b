"""Small networks for tests, and a way to time what passes."""

from __future__ import annotations

import asyncio

from mesh.ports import Channel
from simulator.network.hosts import Host
from simulator.network.network import VirtualNetwork
from simulator.network.transport import VirtualTransport
from simulator.script import LinkScript

CABLE = LinkScript("cable", is_shared=False, up_rate_bps=8e6, down_rate_bps=8e6, delay_s=0.005)
"""A million bytes a second, 5 ms."""

RADIO = LinkScript("radio", is_shared=True, up_rate_bps=8e6, down_rate_bps=8e6, delay_s=0.005)


def a_lan(*names: str, link: LinkScript = CABLE) -> VirtualNetwork:
    """One access point with hosts on it."""
    network = VirtualNetwork("test")
    network.add_lan("home")
    for name in names:
        add(network, name, link)
    return network


def add(network: VirtualNetwork, name: str, link: LinkScript = CABLE, lan: str = "home") -> Host:
    return network.add_host(name, f"10.0.0.{len(network.hosts) + 1}", lan, link)


def host(network: VirtualNetwork, name: str) -> Host:
    return next(host for host in network.hosts.values() if host.name == name)


async def joined(network: VirtualNetwork, source: str, target: str) -> tuple[Channel, Channel]:
    """Open a channel and return both its ends, the dialler's first."""
    there = host(network, target)
    listener = await VirtualTransport(network, there).listen(there.at(0))
    dialled = await VirtualTransport(network, host(network, source)).dial(listener.address)
    return dialled, await listener.accept()


def now() -> float:
    return asyncio.get_running_loop().time()


async def arrivals(channel: Channel, num_messages: int = 1) -> list[tuple[int, float]]:
    """Wait for messages; return the length of each and when it came."""
    came = []
    for _ in range(num_messages):
        message = await channel.receive()
        came.append((len(message), now()))
    return came


async def together(*channels: Channel) -> list[float]:
    """Wait for one message on each of several channels at once; return when each came."""
    async with asyncio.TaskGroup() as tasks:
        waits = [tasks.create_task(arrivals(channel)) for channel in channels]
    return [wait.result()[0][1] for wait in waits]
