"""What the network in memory can do that a real one cannot: unplug a host."""

from __future__ import annotations

import asyncio

import pytest

from mesh.errors import ChannelClosed, PeerUnreachable
from mesh.types import Address
from simulator.loop import run
from simulator.network import MemoryChannel, MemoryNetwork

TV, PHONE, CAR = "10.0.0.1", "10.0.0.2", "10.0.0.3"


async def connected(network: MemoryNetwork, dialler: str = PHONE) -> tuple[MemoryChannel, MemoryChannel]:
    listener = await network.transport(TV).listen(Address(TV, 0))
    channel = await network.transport(dialler).dial(listener.address)
    return channel, await listener.accept()


@pytest.mark.parametrize("unplugged", [TV, PHONE])
def test_unplugging_a_host_breaks_its_channels_at_both_ends(unplugged: str) -> None:
    async def main() -> None:
        network = MemoryNetwork()
        ends = await connected(network)
        await ends[0].send(b"under way")
        network.unplug(unplugged)
        for end in ends:
            with pytest.raises(ChannelClosed, match="the path to the peer broke"):
                await end.receive()
            with pytest.raises(ChannelClosed):
                await end.send(b"x")

    run(main())


def test_unplugging_wakes_who_waits() -> None:
    async def expect_the_end(channel: MemoryChannel) -> None:
        with pytest.raises(ChannelClosed):
            await channel.receive()

    async def main() -> None:
        network = MemoryNetwork()
        ends = await connected(network)
        async with asyncio.TaskGroup() as tasks:
            for end in ends:
                tasks.create_task(expect_the_end(end))
            await asyncio.sleep(1)
            network.unplug(TV)

    run(main())


def test_channels_of_other_hosts_go_on() -> None:
    async def main() -> None:
        network = MemoryNetwork()
        dialled, accepted = await connected(network)
        network.unplug(CAR)
        await dialled.send(b"still here")
        assert await accepted.receive() == b"still here"

    run(main())


def test_an_unplugged_host_neither_dials_nor_is_dialled_until_it_is_back() -> None:
    async def main() -> None:
        network = MemoryNetwork()
        listeners = {h: await network.transport(h).listen(Address(h, 7070)) for h in (TV, PHONE)}
        network.unplug(TV)
        for dialler, other in ((TV, PHONE), (PHONE, TV)):
            with pytest.raises(PeerUnreachable, match=f"nobody answers at {other}:7070"):
                await network.transport(dialler).dial(listeners[other].address)
        network.plug_in(TV)
        channel = await network.transport(PHONE).dial(listeners[TV].address)
        await channel.send(b"hello")
        assert await (await listeners[TV].accept()).receive() == b"hello"

    run(main())


def test_a_listener_that_takes_nothing_up_is_full_at_last() -> None:
    async def main() -> None:
        network = MemoryNetwork()
        listener = await network.transport(TV).listen(Address(TV, 0))
        for _ in range(64):
            await network.transport(PHONE).dial(listener.address)
        with pytest.raises(PeerUnreachable, match="takes no more channels"):
            await network.transport(PHONE).dial(listener.address)
        await listener.accept()
        await network.transport(PHONE).dial(listener.address)

    run(main())


def test_closing_a_listener_closes_channels_that_nobody_took_up() -> None:
    async def main() -> None:
        network = MemoryNetwork()
        listener = await network.transport(TV).listen(Address(TV, 0))
        channel = await network.transport(PHONE).dial(listener.address)
        await listener.close()
        with pytest.raises(ChannelClosed):
            await channel.receive()

    run(main())
