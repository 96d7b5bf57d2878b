"""What every Discovery promises, real (multicast on loopback) and simulated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count
from uuid import uuid4

import pytest

from mesh.adapters.zeroconf_discovery import ZeroconfDiscovery
from mesh.ports import Appeared, Discovery, Sighting, Vanished
from mesh.types import Address, DeviceClass, NodeId, NodeRecord, ProtocolVersion
from simulator.network.ideal import IdealNetwork

pytestmark = pytest.mark.slow


@pytest.fixture(params=["zeroconf", "memory"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], Discovery]]:
    """Make any number of nodes' discoveries on one network; all are closed at the end."""
    network = IdealNetwork()
    addresses = (f"10.0.0.{number}" for number in count(1))
    async with AsyncExitStack() as stack, asyncio.timeout(20):

        def make_one() -> Discovery:
            real = request.param == "zeroconf"
            discovery: Discovery = (
                ZeroconfDiscovery(loopback_only=True) if real else network.discovery_at(next(addresses))
            )
            stack.push_async_callback(discovery.close)
            return discovery

        yield make_one


def a_record(name: str = "tv") -> NodeRecord:
    return NodeRecord(
        node_id=NodeId(uuid4().hex),
        name=name,
        device_class=DeviceClass.TV,
        address=Address("127.0.0.1", 7070),
        mesh="home",
        version=ProtocolVersion(1, 0),
        incarnation=3,
    )


async def next_about(watch: AsyncIterator[Sighting], *node_ids: NodeId) -> Sighting:
    """Skip what other programs of this machine announce."""
    async for sighting in watch:
        about = sighting.record.node_id if isinstance(sighting, Appeared) else sighting.node_id
        if about in node_ids:
            return sighting
    raise AssertionError("the watch ended")


async def test_a_record_arrives_with_every_field(make: Callable[[], Discovery]) -> None:
    record = a_record("Wohnzimmer-TV é")
    watch = make().watch()
    await make().announce(record)
    assert await next_about(watch, record.node_id) == Appeared(record)


async def test_who_watches_late_sees_who_is_there(make: Callable[[], Discovery]) -> None:
    record = a_record()
    await make().announce(record)
    assert await next_about(make().watch(), record.node_id) == Appeared(record)


async def test_our_own_announcement_is_seen_too(make: Callable[[], Discovery]) -> None:
    record, discovery = a_record(), make()
    await discovery.announce(record)
    assert await next_about(discovery.watch(), record.node_id) == Appeared(record)


async def test_two_nodes_of_one_name_stay_two(make: Callable[[], Discovery]) -> None:
    first, second = a_record("tv"), a_record("tv")
    watch = make().watch()
    for record in (first, second):
        await make().announce(record)
    ids = (first.node_id, second.node_id)
    seen = [await next_about(watch, *ids), await next_about(watch, *ids)]
    assert sorted(s.record.node_id for s in seen if isinstance(s, Appeared)) == sorted(ids)


async def test_a_changed_address_is_followed(make: Callable[[], Discovery]) -> None:
    record, announcer = a_record(), make()
    watch = make().watch()
    await announcer.announce(record)
    await next_about(watch, record.node_id)
    moved = replace(record, address=Address("127.0.0.2", 7071), incarnation=4)
    await announcer.announce(moved)
    last: Sighting | None = None
    while last != Appeared(moved):  # address and port may arrive one after the other
        last = await next_about(watch, record.node_id)
    assert last == Appeared(moved)


@pytest.mark.parametrize("how", ["withdraw", "close"])
async def test_goodbye_is_seen(make: Callable[[], Discovery], how: str) -> None:
    record, announcer = a_record(), make()
    watch = make().watch()
    await announcer.announce(record)
    await next_about(watch, record.node_id)
    await (announcer.withdraw() if how == "withdraw" else announcer.close())
    assert await next_about(watch, record.node_id) == Vanished(record.node_id)


async def test_a_node_that_comes_back_is_seen_again(make: Callable[[], Discovery]) -> None:
    record, announcer = a_record(), make()
    # As a node does: mDNS passes over packets that are the same as others of the last second.
    lives = [replace(record, incarnation=incarnation) for incarnation in (3, 4, 5)]
    watch = make().watch()
    seen: list[Sighting] = []
    for life in lives:
        await announcer.announce(life)
        seen.append(await next_about(watch, record.node_id))
        await announcer.withdraw()
        seen.append(await next_about(watch, record.node_id))
    vanished = Vanished(record.node_id)
    assert seen == [sighting for life in lives for sighting in (Appeared(life), vanished)]


async def test_closing_ends_a_watch_and_may_be_done_twice(make: Callable[[], Discovery]) -> None:
    discovery = make()

    async def watch_to_the_end() -> None:
        async for _ in discovery.watch():
            pass

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch_to_the_end())
        await asyncio.sleep(0)
        await discovery.close()
        await discovery.close()


async def test_withdrawing_nothing_is_allowed(make: Callable[[], Discovery]) -> None:
    await make().withdraw()
