"""A device that is distrusted is used for nothing: no plan, no copy, no rescue, and no client goes there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mesh.errors import CapacityLost, InsufficientMemory, LastHolder
from mesh.roles.planning import FirstRoute
from mesh.types import NodeId, Plan, Standby
from simulator.library import TINY
from simulator.loop import run
from tests.roles.test_failover import LONG, OWN_KB, SPARE_KB, a_roomy_home, expected, listen
from tests.roles.world import KB, ROOMY, Home, a_home


@asynccontextmanager
async def a_wary_home(
    *others: str, distrusted: str, spare_kb: int = SPARE_KB, standby: Standby = Standby.NONE
) -> AsyncIterator[Home]:
    """A phone that does not trust one of the others."""
    async with a_roomy_home(*others, spare_kb=spare_kb) as home:
        await home.start(
            "phone",
            (OWN_KB + spare_kb) * KB,
            spare_bytes=spare_kb * KB,
            standby=standby,
            distrusted=frozenset({distrusted}),
        )
        await home.settle()
        yield home


def used(home: Home, name: str) -> bool:
    """Whether anybody ever had a device load anything."""
    return bool(home.nodes[name].worker.status().stages)


def an_id(number: int) -> NodeId:
    return NodeId(f"beef{number:028x}")


@pytest.mark.parametrize("called", ["tv", "beef", "BEEF00000000"])
def test_a_device_is_distrusted_by_name_or_by_the_beginning_of_its_id(called: str) -> None:
    async def main() -> None:
        async with a_home() as home:
            await home.start("phone", 100 * KB, distrusted=frozenset({called}))
            await home.start("tv", ROOMY, node_id=an_id(1))
            await home.start("pc", ROOMY)
            await home.settle()
            explained = await home.client("phone").explain("Who wrote Hamlet?")
            assert explained.plan is not None
            assert [stage.node.name for stage in explained.plan.stages] == ["pc"]
            excluded = {option.name: option.excluded for option in explained.decision.options}
            assert excluded["tv"] == "it is not trusted here"
            assert [s.node.name for s in (await home.client("pc").plan()).stages] != []

    run(main())


@pytest.mark.parametrize("called", ["bee", "eef", "t", "TV", "beef1", "tvs"])
def test_less_than_4_digits_and_other_names_catch_nobody(called: str) -> None:
    async def main() -> None:
        async with a_home() as home:
            await home.start("phone", 100 * KB, distrusted=frozenset({called}))
            await home.start("tv", ROOMY, node_id=an_id(1))
            await home.settle()
            assert [stage.node.name for stage in (await home.client("phone").plan()).stages] == ["tv"]

    run(main())


def test_where_only_a_distrusted_device_has_room_there_is_no_plan() -> None:
    async def main() -> None:
        async with a_wary_home("car", "tv", distrusted="tv", spare_kb=0) as home:
            with pytest.raises(InsufficientMemory):
                await home.client("phone").plan()
            assert await home.client("tv").plan()

    run(main())


def test_a_distrusted_device_gets_no_warm_copy_and_no_client() -> None:
    async def main() -> None:
        async with a_wary_home("car", "pc", "tv", distrusted="tv", standby=Standby.AUTO) as home:
            heard = await listen(home, {})
            assert heard.tokens == expected()
            await asyncio.sleep(5)
            assert not used(home, "tv")
            (told,) = heard.routes
            assert sorted(record.name for record in told.gateways) == ["car", "pc"]

    run(main())


def test_a_distrusted_device_does_not_step_in_for_one_that_is_lost() -> None:
    async def main() -> None:
        async with a_wary_home("car", "pc", "tv", distrusted="tv") as home:
            victims = {stage.node.name for stage in (await home.client("phone").plan()).stages} - {"phone"}
            victim = min(victims)
            heard = await listen(home, {8: lambda: home.power_cut(victim)})
            assert heard.tokens == expected()
            assert [recovery.lost for recovery in heard.recoveries] == [(victim,)]
            assert not used(home, "tv")

    run(main())


def test_an_answer_waits_for_a_lost_device_rather_than_for_a_distrusted_one() -> None:
    async def main() -> None:
        async with a_wary_home("car", "pc", "tv", distrusted="tv", spare_kb=0) as home:
            with pytest.raises(CapacityLost):
                await listen(home, {8: lambda: home.power_cut("car")})
            assert not used(home, "tv")

    run(main())


def take_over(home: Home, begun: Plan) -> FirstRoute:
    """The route that the phone gives an answer which another gateway has begun."""
    draining = home.nodes["phone"].node._draining
    assert draining is not None
    planner = draining._leaver.gateway._chatting._parts.planner
    return planner.take_over(planner.demand(TINY, begun.context, begun), begun)


def test_a_gateway_that_takes_an_answer_over_does_without_whom_it_distrusts() -> None:
    async def main() -> None:
        async with a_wary_home("car", "tv", "pc", distrusted="tv") as home:
            begun = await home.client("car").plan()
            assert "tv" in [stage.node.name for stage in begun.stages]
            names = [stage.node.name for stage in take_over(home, begun).plan.stages]
            assert set(names) <= {"phone", "car", "pc"}

    run(main())


def test_a_gateway_does_not_take_over_an_answer_for_which_it_needs_whom_it_distrusts() -> None:
    async def main() -> None:
        async with a_wary_home("car", "tv", distrusted="tv", spare_kb=0) as home:
            begun = await home.client("car").plan()
            with pytest.raises(CapacityLost, match=r"tv holds a part of the answer and is not trusted here"):
                take_over(home, begun)

    run(main())


def test_a_warm_copy_on_a_distrusted_device_is_not_taken_over_with_an_answer_that_waits() -> None:
    async def main() -> None:
        async with a_wary_home("car", "tv", distrusted="tv", spare_kb=0) as home:
            tv, pc = home.nodes["tv"].record, replace(home.nodes["tv"].record, node_id=an_id(1), name="pc")
            begun = await home.client("car").plan()
            stages = tuple(replace(stage, node=pc) for stage in begun.stages)
            copies = tuple(replace(stage, node=tv) for stage in begun.stages)
            route = take_over(home, replace(begun, stages=stages, standbys=copies)).plan
            assert (route.stages, route.standbys) == (stages, ())

    run(main())


def test_who_is_drained_does_not_count_on_whom_it_distrusts() -> None:
    async def main() -> None:
        async with a_home(tv=ROOMY) as home:
            await home.start("phone", ROOMY, distrusted=frozenset({"tv"}))
            await home.settle()
            await home.client("phone").chat(LONG, max_tokens=2).text()
            assert used(home, "phone")
            with pytest.raises(LastHolder):
                await home.client("tv").drain("phone")

    run(main())
