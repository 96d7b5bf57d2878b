"""Nodes stay in touch: over one link each pair, with few bytes, whoever can reach whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import combinations

import pytest

from mesh.config import Timing
from mesh.link import open_link
from mesh.messages import PROTOCOL, Goodbye, Heartbeat, HeartbeatReply, Hello
from mesh.types import Address, DeviceClass, NodeId, NodeRecord, NodeState
from simulator.loop import run
from tests.roles.wires import Wires
from tests.roles.world import Home

ALIVE, SUSPECT, LOST = NodeState.ALIVE, NodeState.SUSPECT, NodeState.LOST
FIVE = ("car", "hub", "phone", "tv", "watch")
HOSTS = tuple(f"10.0.0.{number + 1}" for number in range(5))
TIMING = Timing()


@asynccontextmanager
async def a_wired_home(monkeypatch: pytest.MonkeyPatch, *names: str) -> AsyncIterator[tuple[Home, Wires]]:
    """Nodes by name; their hosts are HOSTS and their ids are in the same order, so the first dials all."""
    async with asyncio.TaskGroup() as tasks:
        home = Home(tasks)
        wires = Wires(home.network.transport_at)
        monkeypatch.setattr(home.network, "transport_at", wires.transport)
        for name in names:
            await home.start(name)
        try:
            yield home, wires
        finally:
            for node in home.started:
                node.node.stop()


async def lists(home: Home) -> list[dict[str, NodeState]]:
    """What each node believes, without a word on the wires."""
    return [
        {device.record.name: device.state for device in await home.client(name).devices()}
        for name in home.nodes
    ]


def everybody(*names: str, **others: NodeState) -> dict[str, NodeState]:
    return dict.fromkeys(names, ALIVE) | others


def test_a_home_of_five_has_one_link_a_pair_dialled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with a_wired_home(monkeypatch, *FIVE) as (home, wires):
            await asyncio.sleep(1)
            pairs = list(combinations(HOSTS, 2))
            assert sorted(wires.dials) == pairs
            dials = [way for way in wires.dials if way[0] in HOSTS]
            assert await lists(home) == [everybody(*FIVE)] * 5
            await asyncio.sleep(300)
            assert [way for way in wires.dials if way[0] in HOSTS] == dials
            assert all(len(wires.between(*pair)) == 1 for pair in pairs)

    run(main())


def test_an_idle_pair_says_two_bytes_each_way_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with a_wired_home(monkeypatch, *FIVE) as (_, wires):
            await asyncio.sleep(3.5)
            wires.num_messages = wires.num_bytes = 0
            await asyncio.sleep(100)
            num_pairs = 10
            assert wires.num_messages == 2 * num_pairs * 100
            assert wires.num_bytes == 2 * wires.num_messages

    run(main())


@pytest.mark.parametrize("leaver", ["car", "watch"])  # it dialled the others, or was dialled by them
def test_a_goodbye_reaches_everybody_at_once_over_the_link_there_is(
    monkeypatch: pytest.MonkeyPatch, leaver: str
) -> None:
    async def main() -> None:
        async with a_wired_home(monkeypatch, *FIVE) as (home, _):
            await asyncio.sleep(2.3)
            monkeypatch.setattr(home.network.mdns, "remove", lambda host: None)  # discovery tells nothing
            home.nodes[leaver].node.stop()
            await asyncio.sleep(0.01)
            del home.nodes[leaver]
            assert await lists(home) == [everybody(*set(FIVE) - {leaver})] * 4

    run(main())


@pytest.mark.parametrize("dialler", [0, 1])
def test_one_direction_that_can_be_dialled_is_enough(monkeypatch: pytest.MonkeyPatch, dialler: int) -> None:
    async def main() -> None:
        names = ("phone", "tv")
        async with a_wired_home(monkeypatch) as (home, wires):
            wires.refused.add((HOSTS[1 - dialler], HOSTS[dialler]))
            for name in names:
                await home.start(name)
            await asyncio.sleep(1)
            assert await lists(home) == [everybody(*names)] * 2
            home.power_cut(names[dialler])
            await asyncio.sleep(3.1)
            home.power_on(names[dialler])
            assert await lists(home) == [everybody("phone", tv=LOST), everybody("tv", phone=LOST)]
            await asyncio.sleep(TIMING.lost_after_s)
            assert await lists(home) == [everybody(*names)] * 2
            dials = len(wires.dials)
            await asyncio.sleep(60)
            assert len(wires.dials) == dials

    run(main())


def test_where_both_dialled_one_link_stays_and_nobody_is_suspected(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with a_wired_home(monkeypatch) as (home, wires):
            wires.slow_s[HOSTS[0], HOSTS[1]] = 0.7  # the other has lost patience by then
            for name in ("phone", "tv"):
                await home.start(name)
            for second in (0.6, 0.2, 5.0):
                await asyncio.sleep(second)
                assert await lists(home) == [everybody("phone", "tv")] * 2
            assert wires.dials[:2] == [HOSTS[:2], HOSTS[1::-1]]
            assert [wire.dialler for wire in wires.between(*HOSTS[:2])] == [HOSTS[0]]

    run(main())


def test_a_link_that_takes_and_brings_nothing_costs_one_node_not_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of a device that stands still: its channels hold, until it goes on."""

    async def main() -> None:
        async with a_wired_home(monkeypatch, *FIVE) as (home, wires):
            await asyncio.sleep(2.5)
            held = [wire for host in HOSTS[1:] for wire in wires.between(HOSTS[1], host)]
            held += wires.between(HOSTS[0], HOSTS[1])
            for wire in held:
                wire.passes.clear()
            for way in combinations(HOSTS, 2):
                if HOSTS[1] in way:
                    wires.refused |= {way, way[::-1]}
            await asyncio.sleep(2.1)
            del home.nodes["hub"]
            rest = set(FIVE) - {"hub"}
            assert await lists(home) == [everybody(*rest, hub=SUSPECT)] * 4
            await asyncio.sleep(1)
            assert await lists(home) == [everybody(*rest, hub=LOST)] * 4
            wires.refused.clear()
            for wire in held:
                wire.passes.set()
            await asyncio.sleep(TIMING.lost_after_s)
            assert await lists(home) == [everybody(*FIVE)] * 4
            assert all(len(wires.between(*pair)) == 1 for pair in combinations(HOSTS, 2))

    run(main())


def test_a_link_that_died_without_a_word_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a router forgot the connection: nothing passes, and neither end is told."""

    async def main() -> None:
        async with a_wired_home(monkeypatch, "phone", "tv") as (home, wires):
            await asyncio.sleep(2.5)
            (dead,) = wires.between(*HOSTS[:2])
            dead.passes.clear()
            await asyncio.sleep(TIMING.lost_after_s + TIMING.heartbeat_interval_s)
            assert await lists(home) == [everybody("phone", "tv")] * 2
            (fresh,) = wires.between(*HOSTS[:2])
            assert fresh is not dead

    run(main())


def test_a_lost_node_that_is_announced_anew_is_dialled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with a_wired_home(monkeypatch, "phone", "tv") as (home, _):
            await asyncio.sleep(2)
            for outage_s in (20.0, 20.7, 21.4, 22.1):
                home.network.mdns.remove(home.host("tv"))
                home.power_cut("tv")
                await asyncio.sleep(outage_s)
                assert (await home.states("phone"))["tv"] is LOST
                home.power_on("tv")
                home.network.mdns.put(home.host("tv"), home.nodes["tv"].record)
                await asyncio.sleep(0.2)
                assert (await home.states("phone"))["tv"] is ALIVE

    run(main())


def test_a_crash_and_a_new_start_at_the_same_address_are_one_new_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with a_wired_home(monkeypatch, "phone", "tv") as (home, _):
            await asyncio.sleep(2)
            record, listener = home.nodes["tv"].record, home.nodes["tv"].listener
            home.power_cut("tv")
            home.nodes["tv"].node.stop()
            await home.nodes["tv"].task
            await listener.close()
            home.power_on("tv")
            monkeypatch.setattr(home, "started", home.started[:1])
            await home.start("tv", node_id=record.node_id, incarnation=2)
            assert home.nodes["tv"].record.address == record.address
            await asyncio.sleep(1)
            assert await lists(home) == [everybody("phone", "tv")] * 2
            (tv,) = [d for d in await home.client("phone").devices() if d.record.name == "tv"]
            assert tv.record.incarnation == 2
            assert tv.status is not None

    run(main())


def test_a_changed_status_reaches_everybody_within_one_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with a_wired_home(monkeypatch, *FIVE) as (home, _):
            await asyncio.sleep(2.4)
            await home.client("hub").chat("hi").text()  # loads the model there
            await asyncio.sleep(1)  # from then on it is idle
            await asyncio.sleep(TIMING.heartbeat_interval_s + 0.01)
            told = set()
            for viewer in FIVE:
                told |= {
                    d.status for d in await home.client(viewer).devices() if d.status and d.status.stages
                }
            (status,) = told
            assert status.used_bytes > 0

    run(main())


def test_two_that_forgot_each_other_are_told_of_each_other_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """No discovery: each knows the other from the hub alone, which has told them before."""

    async def main() -> None:
        async with a_wired_home(monkeypatch) as (home, wires):
            hub = await home.start("hub", has_mdns=False)
            for name in ("phone", "tv"):
                await home.start(name, has_mdns=False, peers=(hub.record.address,))
            await asyncio.sleep(4)
            assert await lists(home) == [everybody("hub", "phone", "tv")] * 3
            wires.refused |= {(HOSTS[1], HOSTS[2]), (HOSTS[2], HOSTS[1])}
            for wire in wires.between(*HOSTS[1:3]):
                await wire.close()
            await asyncio.sleep(TIMING.lost_after_s + TIMING.forget_after_s + 2)
            wires.refused.clear()
            await asyncio.sleep(TIMING.forget_after_s)
            assert await lists(home) == [everybody("hub", "phone", "tv")] * 3

    run(main())


RECORD = NodeRecord(
    NodeId("0" * 32), "fridge", DeviceClass.FRIDGE, Address("10.0.0.60", 7070), "home", PROTOCOL, 1
)


def test_a_first_heartbeat_is_met_by_all_there_is_to_tell_and_later_ones_by_none() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            home = Home(tasks)
            tv = await home.start("tv")
            await asyncio.sleep(1.5)
            transport = home.network.transport_at(RECORD.address.host)
            link = await open_link(transport, tv.record.address, Hello(PROTOCOL, "home", RECORD), 1.0)
            await link.send(Heartbeat())
            async with asyncio.timeout(0.01):
                first = await link.receive()
            assert isinstance(first, Heartbeat)
            assert first.status is not None
            await link.send(Heartbeat())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.4):
                    await link.receive()
            async with asyncio.timeout(0.2):
                assert await link.receive() == Heartbeat(None, (RECORD,))
            tv.node.stop()
            notice = await link.receive()
            assert isinstance(notice, Heartbeat)
            assert notice.status is not None
            assert notice.status.leaving is not None
            assert isinstance(await link.receive(), Goodbye)
            await link.close()

    run(main())


def test_a_client_that_asks_is_answered() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            home = Home(tasks)
            tv = await home.start("tv")
            link = await home.link(tv.record)
            await link.send(Heartbeat())
            assert await link.receive() == HeartbeatReply()
            await link.close()
            tv.node.stop()

    run(main())


def test_who_says_another_address_than_we_know_is_dialled_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says over its own link does not count: requests would go to an address that is dead."""

    async def main() -> None:
        async with a_wired_home(monkeypatch, "phone", "tv") as (home, wires):
            await asyncio.sleep(2)
            home.network.mdns.put(home.host("tv"), home.nodes["tv"].record.at(Address("10.0.0.77", 7070)))
            await asyncio.sleep(6)
            assert (HOSTS[1], HOSTS[0]) in wires.dials
            assert (await home.states("phone"))["tv"] is LOST

    run(main())
