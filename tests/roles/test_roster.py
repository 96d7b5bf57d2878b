"""Nodes find, watch and lose each other, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mesh.config import Timing
from mesh.errors import InsufficientMemory
from mesh.link import Link
from mesh.messages import PROTOCOL
from mesh.roles.roster import Roster
from mesh.types import (
    Address,
    DeviceClass,
    NodeId,
    NodeRecord,
    NodeState,
    NodeStatus,
    ProtocolVersion,
    Source,
)
from simulator.loop import run
from simulator.network.channel import VirtualChannel
from simulator.network.transport import VirtualTransport
from tests.roles.world import KB, ROOMY, Home, a_home

JOINED, ALIVE, SUSPECT, LOST, _ = NodeState


async def states_over(home: Home, viewer: str, subject: str, seconds: float) -> list[NodeState | None]:
    """Each state of one node that another sees in turn; None where it is not on the list."""
    seen: list[NodeState | None] = []
    for _tenth in range(round(seconds * 10)):
        state = (await home.states(viewer)).get(subject)
        if not seen or seen[-1] is not state:
            seen.append(state)
        await asyncio.sleep(0.1)
    return seen


async def sources(home: Home, viewer: str) -> dict[str, Source]:
    return {device.record.name: device.source for device in await home.client(viewer).devices()}


def test_two_nodes_find_each_other_by_discovery() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY, tv=ROOMY) as home:
            for viewer in ("phone", "tv"):
                assert await home.states(viewer) == {"phone": ALIVE, "tv": ALIVE}
            assert await sources(home, "phone") == {"phone": Source.MDNS, "tv": Source.MDNS}

    run(main())


def test_a_list_has_every_device_with_what_it_told() -> None:
    async def main() -> None:
        async with a_home(tv=ROOMY, car=700 * KB) as home:
            devices = await home.client("tv").devices()
            assert [device.record.name for device in devices] == ["car", "tv"]
            assert [device.record for device in devices] == [home.nodes[n].record for n in ("car", "tv")]
            assert [device.status and device.status.memory_bytes for device in devices] == [700 * KB, ROOMY]

    run(main())


def test_a_new_node_is_alive_within_a_second() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY) as home:
            await home.start("tv")
            await asyncio.sleep(1)
            assert (await home.states("phone"))["tv"] is ALIVE

    run(main())


def test_one_fixed_address_leads_to_the_whole_mesh() -> None:
    async def main() -> None:
        async with a_home() as home:
            hub = await home.start("hub", has_mdns=False)
            for name in ("phone", "tv"):
                await home.start(name, has_mdns=False, peers=(hub.record.address,))
            await asyncio.sleep(4)
            for viewer in ("hub", "phone", "tv"):
                assert await home.states(viewer) == {"hub": ALIVE, "phone": ALIVE, "tv": ALIVE}
            found = await sources(home, "phone")
            assert (found["hub"], found["tv"]) == (Source.PEER, Source.CONTACT)

    run(main())


def test_fixed_addresses_of_ourselves_and_two_of_one_node_come_to_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with a_home() as home:
            tv = (await home.start("tv", has_mdns=False)).record.address
            alias, own = Address("10.0.1.1", 7070), Address("10.0.0.2", 7070)
            dialled: list[Address] = []
            dial = VirtualTransport.dial

            async def noted(transport: VirtualTransport, address: Address) -> VirtualChannel:
                dialled.append(address)
                return await dial(transport, tv if address == alias else address)

            monkeypatch.setattr(VirtualTransport, "dial", noted)
            await home.start("phone", has_mdns=False, peers=(tv, alias, own))
            await asyncio.sleep(10)
            settled = tuple(dialled)
            assert {tv, alias, own} == set(settled)
            await asyncio.sleep(50)
            assert tuple(dialled) == settled
            assert await home.states("phone") == {"phone": ALIVE, "tv": ALIVE}

    run(main())


def test_a_fixed_address_is_tried_until_it_answers() -> None:
    async def main() -> None:
        async with a_home() as home:
            await home.start("phone", has_mdns=False, peers=(Address("10.0.0.2", 7070),))
            await asyncio.sleep(60)
            assert list(await home.states("phone")) == ["phone"]
            await home.start("tv", has_mdns=False)
            await asyncio.sleep(3)
            assert await home.states("phone") == {"phone": ALIVE, "tv": ALIVE}

    run(main())


@pytest.mark.parametrize("has_mdns", [True, False])
def test_a_power_cut_is_suspected_then_lost_within_5_seconds_then_undone(has_mdns: bool) -> None:
    async def main() -> None:
        async with a_home() as home:
            phone = await home.start("phone", has_mdns=has_mdns)
            await home.start("tv", has_mdns=has_mdns, peers=() if has_mdns else (phone.record.address,))
            await asyncio.sleep(4)
            home.power_cut("tv")
            assert await states_over(home, "phone", "tv", 5) == [SUSPECT, LOST]
            home.power_on("tv")
            assert (await states_over(home, "phone", "tv", 5))[-1] is ALIVE

    run(main())


@pytest.mark.parametrize("outage_s", [200, 500])
def test_a_long_outage_is_undone_too(outage_s: float) -> None:
    """Discovery does not announce anew what it had never withdrawn."""

    async def main() -> None:
        async with a_home(phone=ROOMY, tv=ROOMY) as home:
            home.power_cut("tv")
            await asyncio.sleep(outage_s)
            assert (await home.states("phone"))["tv"] is LOST
            home.power_on("tv")
            await asyncio.sleep(2)
            assert (await home.states("phone"))["tv"] is ALIVE
            assert (await home.states("tv"))["phone"] is ALIVE

    run(main())


def test_a_node_that_is_gone_for_good_is_forgotten() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY, tv=ROOMY) as home:
            home.network.mdns.remove(home.host("tv"))  # its announcement has run out
            home.power_cut("tv")
            await asyncio.sleep(100)
            assert (await home.states("phone"))["tv"] is LOST
            await asyncio.sleep(30)
            assert list(await home.states("phone")) == ["phone"]

    run(main())


@pytest.mark.parametrize("after_s", [4.0, 4.3])  # in the moment of a heartbeat, and between two
@pytest.mark.parametrize("has_mdns", [True, False])
def test_a_node_that_stops_is_gone_from_every_list_within_2_seconds(has_mdns: bool, after_s: float) -> None:
    async def main() -> None:
        async with a_home() as home:
            hub = await home.start("hub", has_mdns=has_mdns)
            for name in ("phone", "tv"):
                await home.start(name, has_mdns=has_mdns, peers=() if has_mdns else (hub.record.address,))
            await asyncio.sleep(after_s)
            home.nodes["tv"].node.stop()
            await asyncio.sleep(2)
            for viewer in ("hub", "phone"):
                assert list(await home.states(viewer)) == ["hub", "phone"]
            assert home.nodes["tv"].task.done()
            assert await states_over(home, "phone", "tv", 10) == [None]

    run(main())


def test_a_node_that_stopped_comes_back_with_its_next_start() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY, tv=ROOMY) as home:
            record = home.nodes["tv"].record
            home.nodes["tv"].node.stop()
            await asyncio.sleep(2)
            await home.start("tv", node_id=record.node_id, incarnation=2)
            await asyncio.sleep(2)
            assert await home.states("phone") == {"phone": ALIVE, "tv": ALIVE}

    run(main())


@pytest.mark.parametrize("incarnation", [1, 2])
def test_a_changed_address_is_followed(incarnation: int) -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY, tv=ROOMY) as home:
            before = home.nodes["tv"].record
            home.power_cut("tv")
            moved = await home.start("tv", node_id=before.node_id, incarnation=incarnation)
            await asyncio.sleep(4)
            (device,) = [d for d in await home.client("phone").devices() if d.record.name == "tv"]
            assert device.record.address == moved.record.address != before.address
            assert device.state is ALIVE

    run(main())


def test_a_changed_address_is_followed_though_the_old_one_still_answers() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY, tv=ROOMY) as home:
            home.network.mdns.put(home.host("tv"), home.nodes["tv"].record.at(Address("10.0.0.77", 7070)))
            assert (await states_over(home, "phone", "tv", 5))[-1] is LOST
            home.network.mdns.put(home.host("tv"), home.nodes["tv"].record)
            assert (await states_over(home, "phone", "tv", 2))[-1] is ALIVE

    run(main())


def test_two_nodes_of_one_name_stay_two() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY) as home:
            for _one in range(2):
                await home.start("tv")
            await home.settle()
            devices = await home.client("phone").devices()
            assert [(d.record.name, d.state) for d in devices] == [
                ("phone", ALIVE),
                ("tv", ALIVE),
                ("tv", ALIVE),
            ]
            assert devices[1].record.node_id < devices[2].record.node_id

    run(main())


def test_a_node_at_the_address_of_another_is_not_taken_for_it() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY, tv=ROOMY) as home:
            ghost = replace(home.nodes["tv"].record, node_id=NodeId("9" * 32), name="ghost")
            home.network.mdns.put(home.network.host("10.0.0.66"), ghost)
            assert (await states_over(home, "phone", "ghost", 6))[-1] is LOST
            assert (await home.states("phone"))["tv"] is ALIVE

    run(main())


@pytest.mark.parametrize(
    ("version", "mesh"), [(ProtocolVersion(PROTOCOL.major + 1, 0), "home"), (PROTOCOL, "garden")]
)
@pytest.mark.parametrize("by_peer", [False, True])
def test_nodes_that_cannot_talk_to_us_are_never_alive_and_never_planned(
    version: ProtocolVersion, mesh: str, by_peer: bool
) -> None:
    async def main() -> None:
        async with a_home(phone=300 * KB) as home:
            peers = (home.nodes["phone"].record.address,) if by_peer else ()
            await home.start("tv", ROOMY, version=version, mesh=mesh, has_mdns=not by_peer, peers=peers)
            states = await states_over(home, "phone", "tv", 10)
            assert ALIVE not in states
            assert mesh == "home" or states == [None]
            with pytest.raises(InsufficientMemory, match=r"offer \(MB\): phone 0;"):
                await home.client("phone").plan()

    run(main())


def test_a_node_of_another_minor_version_is_one_of_us() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY) as home:
            await home.start("tv", version=ProtocolVersion(PROTOCOL.major, PROTOCOL.minor + 1))
            await home.settle()
            assert await home.states("phone") == {"phone": ALIVE, "tv": ALIVE}

    run(main())


def test_a_wrong_version_is_logged_once_not_with_every_try(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY) as home:
            await home.start("tv", version=ProtocolVersion(2, 0))
            await asyncio.sleep(20)

    run(main())
    told = [r.getMessage() for r in caplog.records if r.name == "mesh.roles.contacts"]
    assert len([text for text in told if text.startswith("tv at") and "version" in text]) == 1


def test_listeners_are_told_of_every_change_in_order() -> None:
    async def main() -> None:
        async with a_home(tv=ROOMY) as home:
            record = NodeRecord(
                NodeId("8" * 32), "hub", DeviceClass.HUB, Address("10.0.0.8", 7070), "home", PROTOCOL, 1
            )
            transport = home.network.transport_at("10.0.0.8")
            roster = Roster(record, transport, Timing(), lambda: NodeStatus(0, 0))
            told: list[tuple[str, NodeState | None]] = []
            roster.on_change(lambda change: told.append((change.record.name, change.after)))
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(roster.run(home.network.discovery_at("10.0.0.8"), ()))
                await asyncio.sleep(2)
                home.power_cut("tv")
                await asyncio.sleep(5)
                running.cancel()
            assert told == [("tv", JOINED), ("tv", ALIVE), ("tv", SUSPECT), ("tv", LOST)]

    run(main())


def test_a_client_is_no_node() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY) as home:
            link: Link = await home.link(home.nodes["phone"].record)
            await asyncio.sleep(2)
            assert list(await home.states("phone")) == ["phone"]
            await link.close()

    run(main())
