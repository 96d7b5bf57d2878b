"""Outgoing links: dialled once, in order, and what breaks is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from mesh.config import Timing
from mesh.errors import ChannelClosed, InternalError, MeshError, PeerUnreachable, VersionMismatch
from mesh.link import Link, welcome_link
from mesh.messages import PROTOCOL, CancelRequest, Hello, Message
from mesh.roles.peers import Peers
from mesh.types import Address, ProtocolVersion
from simulator.loop import run
from simulator.network.ideal import IdealNetwork
from tests.roles.world import Listening, listening

HERE, THERE = "10.0.0.1", "10.0.0.50"
NOWHERE = Address("10.0.0.7", 7070)
CLIENT = Hello(PROTOCOL, "home", None)


@dataclass(slots=True)
class Bench:
    """Peers with one who listens, and what they told."""

    network: IdealNetwork
    peers: Peers
    there: Listening
    broken: list[tuple[Address, MeshError]] = field(default_factory=list)
    came: list[Message] = field(default_factory=list)


@asynccontextmanager
async def a_bench() -> AsyncIterator[Bench]:
    network = IdealNetwork()
    async with listening(network, THERE) as there, asyncio.TaskGroup() as links:
        peers = Peers(network.transport_at(HERE), CLIENT, Timing(), links)
        bench = Bench(network, peers, there)
        peers.on_broken(lambda address, error: bench.broken.append((address, error)))
        yield bench
        network.unplug(HERE)  # ends the links, so that their owner can end


def test_messages_go_over_one_link_in_order() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            messages = [CancelRequest(number) for number in range(200)]
            for message in messages:
                await bench.peers.post(bench.there.address, message)
            await asyncio.sleep(1)
            assert bench.there.heard == messages
            assert bench.there.num_links == 1
            assert bench.broken == []

    run(main())


def test_nothing_is_dialled_before_it_is_needed() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await asyncio.sleep(10)
            assert bench.there.num_links == 0

    run(main())


def test_nobody_there_is_told_once_and_the_next_message_dials_anew() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.peers.post(NOWHERE, CancelRequest(1))
            await bench.peers.post(NOWHERE, CancelRequest(2))
            await asyncio.sleep(1)
            ((address, error),) = bench.broken
            assert address == NOWHERE
            assert isinstance(error, PeerUnreachable)
            async with listening(bench.network, NOWHERE.host) as there:
                await bench.peers.post(NOWHERE, CancelRequest(3))
                await asyncio.sleep(1)
                assert there.heard == [CancelRequest(3)]

    run(main())


def test_a_link_that_breaks_is_told_once_though_nothing_is_sent() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.peers.post(bench.there.address, CancelRequest(1))
            await asyncio.sleep(1)
            bench.network.unplug(THERE)
            await asyncio.sleep(1)
            assert [address for address, _ in bench.broken] == [bench.there.address]
            bench.network.plug_in(THERE)
            await bench.peers.post(bench.there.address, CancelRequest(2))
            await asyncio.sleep(1)
            assert bench.there.heard == [CancelRequest(1), CancelRequest(2)]

    run(main())


def test_who_posts_to_a_peer_that_hears_nothing_waits_until_it_breaks() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            deaf = await bench.network.transport_at("10.0.0.8").listen(Address("10.0.0.8", 7070))
            for number in range(64):
                await bench.peers.post(deaf.address, CancelRequest(number))
            assert asyncio.get_running_loop().time() == 0
            with pytest.raises(ChannelClosed, match="did not answer within 3 s"):
                await bench.peers.post(deaf.address, CancelRequest(64))
            assert asyncio.get_running_loop().time() == pytest.approx(Timing().dial_s)
            await deaf.close()

    run(main())


def test_one_peer_that_hears_nothing_does_not_hold_up_another() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            deaf = await bench.network.transport_at("10.0.0.8").listen(Address("10.0.0.8", 7070))
            await bench.peers.post(deaf.address, CancelRequest(1))
            await bench.peers.post(bench.there.address, CancelRequest(2))
            await asyncio.sleep(0.1)
            assert bench.there.heard == [CancelRequest(2)]
            await deaf.close()

    run(main())


async def answer_from(
    network: IdealNetwork, address: Address, talk: Callable[[Link], Awaitable[None]]
) -> None:
    listener = await network.transport_at(address.host).listen(address)
    link = await welcome_link(await listener.accept(), CLIENT)
    await talk(link)
    await asyncio.sleep(1)
    await listener.close()


def test_what_a_peer_sends_back_is_passed_on() -> None:
    async def main() -> None:
        async with a_bench() as bench, asyncio.TaskGroup() as tasks:

            async def keep(message: Message, link: Link) -> None:
                bench.came.append(message)
                await link.send(CancelRequest(99))

            async def talk(link: Link) -> None:
                await link.send(CancelRequest(5))
                assert [await link.receive(), await link.receive()] == [CancelRequest(1), CancelRequest(99)]

            bench.peers.on_message(keep)
            tasks.create_task(answer_from(bench.network, NOWHERE, talk))
            await asyncio.sleep(0.1)
            await bench.peers.post(NOWHERE, CancelRequest(1))
            await asyncio.sleep(0.5)
            assert bench.came == [CancelRequest(5)]

    run(main())


@pytest.mark.parametrize(
    ("raised", "told"),
    [(ZeroDivisionError("oh"), InternalError("ZeroDivisionError: oh")), (PeerUnreachable("x"), None)],
)
def test_a_message_that_cannot_be_taken_breaks_that_link_alone(
    raised: Exception, told: MeshError | None
) -> None:
    async def main() -> None:
        async with a_bench() as bench, asyncio.TaskGroup() as tasks:

            async def stumble(message: Message, link: Link) -> None:
                raise raised

            bench.peers.on_message(stumble)
            tasks.create_task(answer_from(bench.network, NOWHERE, lambda link: link.send(CancelRequest(5))))
            await asyncio.sleep(0.1)
            await bench.peers.post(NOWHERE, CancelRequest(1))
            await bench.peers.post(bench.there.address, CancelRequest(2))
            await asyncio.sleep(0.5)
            ((address, error),) = bench.broken
            assert address == NOWHERE
            assert str(told or raised) in str(error)
            await bench.peers.post(bench.there.address, CancelRequest(3))
            await asyncio.sleep(0.5)
            assert bench.there.heard == [CancelRequest(2), CancelRequest(3)]

    run(main())


def test_a_peer_of_another_version_is_told_as_such() -> None:
    async def main() -> None:
        async with a_bench() as bench, asyncio.TaskGroup() as tasks:
            newer = Hello(ProtocolVersion(2, 0), "home", None)
            listener = await bench.network.transport_at(NOWHERE.host).listen(NOWHERE)

            async def refuse() -> None:
                with pytest.raises(VersionMismatch):
                    await welcome_link(await listener.accept(), newer)

            tasks.create_task(refuse())
            await bench.peers.post(NOWHERE, CancelRequest(1))
            await asyncio.sleep(1)
            ((_, error),) = bench.broken
            assert isinstance(error, VersionMismatch)

    run(main())


def test_a_message_that_the_wire_cannot_carry_breaks_its_link_and_nothing_else() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.peers.post(bench.there.address, CancelRequest(-1))
            await asyncio.sleep(1)
            assert [address for address, _ in bench.broken] == [bench.there.address]

    run(main())
