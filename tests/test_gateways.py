"""Which gateway is asked, and when the next one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection

import pytest

from mesh.client import Client
from mesh.errors import NoDevices, OtherMesh, PeerUnreachable
from mesh.gateways import Gateways, Race, Reached, Way, first_reached
from mesh.messages import DevicesReply
from mesh.types import NodeId
from simulator.loop import run
from tests.scripted import ScriptedMesh, Silence, a_mesh, a_record

QUIET = [[Silence(60)]]


def a_late_way(mesh: ScriptedMesh, name: str, after_s: float) -> Way:
    way = mesh.way(name)

    async def reach(gone: Collection[NodeId]) -> Reached:
        await asyncio.sleep(after_s)
        return await way.reach(gone)

    return Way(name, reach)


def a_dead_end(name: str, error: Exception) -> Way:
    async def reach(_: Collection[NodeId]) -> Reached:
        raise error

    return Way(name, reach)


def test_the_first_in_order_wins_where_it_answers() -> None:
    async def main() -> None:
        async with a_mesh(tv=QUIET, phone=QUIET) as mesh:
            reached = await first_reached([a_late_way(mesh, "tv", 0.2), mesh.way("phone")])
            assert reached.record == a_record("tv")
            await reached.link.close()
            assert mesh["phone"].num_open == 0  # it was not even dialled

    run(main())


def test_the_next_is_tried_at_once_where_one_fails() -> None:
    async def main() -> None:
        async with a_mesh(phone=QUIET) as mesh:
            reached = await first_reached([mesh.way("tv"), mesh.way("phone")])
            assert reached.record == a_record("phone")
            assert asyncio.get_running_loop().time() < 0.01
            await reached.link.close()

    run(main())


def test_the_next_is_tried_beside_one_that_is_slow_and_the_loser_is_left() -> None:
    async def main() -> None:
        async with a_mesh(tv=QUIET, phone=QUIET) as mesh:
            reached = await first_reached([a_late_way(mesh, "tv", 0.5), mesh.way("phone")])
            assert reached.record == a_record("phone")
            assert asyncio.get_running_loop().time() == pytest.approx(0.3)
            await reached.link.close()
            await asyncio.sleep(1)
            assert (mesh["tv"].num_open, mesh["phone"].num_open) == (0, 0)

    run(main())


def test_a_slow_one_still_wins_where_the_others_fail() -> None:
    async def main() -> None:
        async with a_mesh(tv=QUIET) as mesh:
            reached = await first_reached([a_late_way(mesh, "tv", 2.0), mesh.way("phone")])
            assert reached.record == a_record("tv")
            await reached.link.close()

    run(main())


def test_a_gateway_that_is_not_wanted_is_left_again() -> None:
    async def main() -> None:
        async with a_mesh(tv=QUIET) as mesh:
            race = Race([a_record("tv").node_id], 0.3)
            assert await race.run([mesh.way("tv")]) is None
            await asyncio.sleep(0.1)
            assert mesh["tv"].num_open == 0

    run(main())


def test_where_none_answers_all_are_named() -> None:
    ways = [a_dead_end(name, PeerUnreachable(f"nobody answers at {name}; why?")) for name in ("a", "b", "c")]

    async def main() -> None:
        text = r"^nobody answers at a, and no other gateway answered \(tried b, c\); ask again$"
        with pytest.raises(PeerUnreachable, match=text):
            await first_reached(ways)
        with pytest.raises(PeerUnreachable, match=r"^nobody answers at a; why\?$"):
            await first_reached(ways[:1])

    run(main())


def test_what_is_wrong_with_one_that_answers_says_more_than_that_others_do_not() -> None:
    async def main() -> None:
        ways = [a_dead_end("a", PeerUnreachable("nobody")), a_dead_end("b", OtherMesh("it is of 'work'"))]
        with pytest.raises(OtherMesh, match="it is of 'work'"):
            await first_reached(ways)

    run(main())


def test_cancelled_no_link_stays_open() -> None:
    async def main() -> None:
        async with a_mesh(tv=QUIET) as mesh:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await first_reached([a_late_way(mesh, "tv", 1.0)])
            await asyncio.sleep(2)
            assert mesh["tv"].num_open == 0

    run(main())


def test_gateways_are_tried_in_the_order_named_given_discovered_and_last_the_one_that_failed() -> None:
    async def main() -> None:
        async with a_mesh() as mesh:
            tv, phone = a_record("tv"), a_record("phone")
            ways = [a_dead_end("given", PeerUnreachable("")), a_dead_end("discovery", NoDevices(""))]
            gateways = Gateways(tv, lambda: mesh.open(tv), mesh.open, ways)
            gateways.named([tv, phone, a_record("car")])
            async with a_mesh(tv=QUIET) as other:
                failed = Reached(tv, await other.open(tv), lambda: mesh.open(tv))
                await failed.link.close()
            assert await gateways.another(failed, ()) == ("phone", "car", "given", "discovery", "tv")
            assert await gateways.another(failed, [tv.node_id, phone.node_id]) == (
                "car",
                "given",
                "discovery",
            )

    run(main())


def test_any_request_goes_to_another_gateway_where_the_own_one_does_not_answer() -> None:
    async def main() -> None:
        async with a_mesh(phone=[[DevicesReply(1, ())]]) as mesh:
            client = mesh.client("tv", ways=[mesh.way("phone")])
            assert await client.devices() == ()
            assert client.gateway == a_record("phone")

    run(main())


def test_without_a_way_to_other_nodes_that_is_said() -> None:
    async def main() -> None:
        async with a_mesh() as mesh:
            tv = a_record("tv")
            gateways = Gateways(tv, lambda: mesh.open(tv))
            with pytest.raises(PeerUnreachable, match="no way to phone; connect to that device itself"):
                await gateways.visit(a_record("phone"))
            with pytest.raises(PeerUnreachable, match="nobody answers at"):
                await Client(tv, lambda: mesh.open(tv), random.Random(1)).chat("?").text()

    run(main())


def test_what_may_not_leave_its_device_is_never_asked_of_another_one() -> None:
    async def main() -> None:
        async with a_mesh(phone=QUIET) as mesh:
            client = mesh.client("tv", ways=[mesh.way("phone")])
            with pytest.raises(PeerUnreachable, match="nobody answers at"):
                await client.explain("?", privacy="device")
            with pytest.raises(PeerUnreachable, match="nobody answers at"):
                await client.chat("?", privacy="device").text()
            assert mesh["phone"].asked == []

    run(main())


def test_where_no_node_was_found_on_this_device_nothing_private_is_asked() -> None:
    async def main() -> None:
        async with a_mesh(tv=QUIET) as mesh:
            client = mesh.client("tv")
            client.is_elsewhere = True
            for ask in (client.chat, client.explain):
                with pytest.raises(NoDevices, match="no node of the mesh was found on this device"):
                    await ask("?", privacy="device")  # type: ignore[misc]
            assert mesh["tv"].asked == []

    run(main())
