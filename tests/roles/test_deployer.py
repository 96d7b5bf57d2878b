"""A plan's stages are loaded on their nodes, and what cannot be is told with the device's name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mesh.config import Timing
from mesh.errors import InsufficientMemory, StageLost, StageNotLoaded, retry_after_s
from mesh.link import Link
from mesh.messages import PROTOCOL, Hello, Message, RequestFailed, StageLoaded
from mesh.ports import Prefix
from mesh.roles.deployer import Deployer, LoadFailed
from mesh.roles.peers import Peers
from mesh.types import CacheKey, NodeId, Plan, PlannedStage, Precision, Sampling, Span, StageKey
from simulator.compute import TokenFunctionCompute
from simulator.library import TINY
from simulator.loop import run
from tests.roles.world import KB, ROOMY, Home, a_home

CUTS = {"phone": Span(0, 4), "car": Span(4, 8), "tv": Span(8, 12)}


def a_plan(home: Home, cuts: dict[str, Span] = CUTS) -> Plan:
    stages = tuple(PlannedStage(home.nodes[name].record, span, 0, 0) for name, span in cuts.items())
    return Plan(TINY.ref, Precision.INT4, 64, stages)


async def deploy(deployer: Deployer, plan: Plan) -> None:
    await deployer.load(plan, plan.stages)


@asynccontextmanager
async def a_deployer(home: Home) -> AsyncIterator[Deployer]:
    async with asyncio.TaskGroup() as tasks:
        transport = home.network.transport_at("10.0.0.98")
        peers = Peers(transport, Hello(PROTOCOL, "home", None), Timing(), tasks)
        deployer = Deployer(peers)

        async def take(message: Message, link: Link) -> None:
            assert isinstance(message, StageLoaded | RequestFailed)
            deployer.answered(message)
            deployer.answered(message)  # a repeated answer harms nothing

        peers.on_message(take)
        yield deployer
        home.network.unplug("10.0.0.98")


def test_every_stage_is_loaded_on_its_node_and_a_second_time_costs_nothing() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY, car=ROOMY, tv=ROOMY) as home, a_deployer(home) as deployer:
            for _ in range(2):
                await deploy(deployer, a_plan(home))
                for name, span in CUTS.items():
                    held = home.nodes[name].compute.stages
                    assert held == {StageKey(TINY.digest, span, Precision.INT4)}

    run(main())


def test_a_node_without_room_is_named() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY, car=10 * KB, tv=ROOMY) as home, a_deployer(home) as deployer:
            with pytest.raises(LoadFailed, match=r"^car: a stage of 1 MB does not fit") as failed:
                await deploy(deployer, a_plan(home))
            assert isinstance(failed.value.error, InsufficientMemory)
            assert failed.value.stage.node.name == "car"

    run(main())


def test_what_a_full_node_says_of_when_to_try_again_is_passed_on() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY) as home, a_deployer(home) as deployer:
            plan = a_plan(home, {"phone": Span(0, 12)})
            asyncio.get_running_loop().call_soon(
                deployer.answered, RequestFailed(1, "busy", "full; try again in about 7 s", 7.0)
            )
            with pytest.raises(LoadFailed, match=r"^phone: full; try again in about 7 s$") as failed:
                await deploy(deployer, plan)
            assert retry_after_s(failed.value.error) == 7.0

    run(main())


def test_a_node_that_is_gone_is_named() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY, car=ROOMY, tv=ROOMY) as home, a_deployer(home) as deployer:
            home.power_cut("tv")
            with pytest.raises(LoadFailed, match="tv went away") as failed:
                await deploy(deployer, a_plan(home))
            assert_lost(failed.value, home.nodes["tv"].record.node_id)

    run(main())


def assert_lost(failed: LoadFailed, node_id: NodeId) -> None:
    assert isinstance(failed.error, StageLost)
    assert failed.error.lost == failed.stage.node.node_id == node_id


class Slow(TokenFunctionCompute):
    """Takes ten seconds to load."""

    def __init__(self) -> None:
        super().__init__(TINY)

    async def load(self, key: StageKey) -> int:
        await asyncio.sleep(10)
        return await super().load(key)


def test_a_node_that_goes_while_it_loads_is_told_at_once() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY) as home, a_deployer(home) as deployer:
            await home.start("tv", compute=Slow())
            await home.settle()
            plan = a_plan(home, {"phone": Span(0, 4), "tv": Span(4, 12)})

            async def cut() -> None:
                await asyncio.sleep(5)
                home.power_cut("tv")

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(cut())
                before_s = asyncio.get_running_loop().time()
                with pytest.raises(LoadFailed, match="tv went away") as failed:
                    await deploy(deployer, plan)
                assert_lost(failed.value, home.nodes["tv"].record.node_id)
                assert asyncio.get_running_loop().time() - before_s == pytest.approx(5)

    run(main())


def test_an_answer_to_nothing_is_dropped() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY) as home, a_deployer(home) as deployer:
            deployer.answered(StageLoaded(12345, 1))
            await deploy(deployer, a_plan(home, {"phone": Span(0, 12)}))

    run(main())


class Forgetful(TokenFunctionCompute):
    """Has lost its stage when the first session opens, as if another gateway had needed the room."""

    def __init__(self, num_times: int) -> None:
        super().__init__(TINY)
        self.num_times = num_times

    async def open(
        self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None
    ) -> int:
        if self.num_times:
            self.num_times -= 1
            raise StageNotLoaded("layers are not loaded here any more; ask again")
        return await super().open(cache, context, sampling, prefix)


async def ask_one_that_forgets(num_times: int, step_s: float) -> str:
    async with a_home() as home:
        await home.start("phone", 1_400 * KB, compute=TokenFunctionCompute(TINY, step_s))
        await home.start("tv", 1_300 * KB, compute=Forgetful(num_times))
        await home.settle()
        answer = home.client("phone").chat("p3", max_tokens=10, seed=1)
        text = await answer.text()
        assert [share.name for share in answer.summary.stages] == ["phone", "tv"]
        await asyncio.sleep(10)
        assert home.leftovers() == 0
        return text


@pytest.mark.parametrize("num_times", [1, 2, 5])
@pytest.mark.parametrize("step_s", [0.01, 1.0])
def test_a_stage_that_was_unloaded_meanwhile_is_loaded_once_more(step_s: float, num_times: int) -> None:
    """With slow steps, frames of the first try reach the forgetful stage during the second."""

    async def main() -> None:
        assert await ask_one_that_forgets(num_times, step_s) == await ask_one_that_forgets(0, step_s)

    run(main())


def test_a_stage_that_is_unloaded_again_and_again_fails_the_answer_in_the_end() -> None:
    async def main() -> None:
        with pytest.RaisesGroup(StageNotLoaded):  # of the home
            await ask_one_that_forgets(10_000, 0.01)
        assert asyncio.get_running_loop().time() < Timing().stall_s + 6

    run(main())


def test_a_node_that_is_called_lost_while_it_loads_is_waited_for_no_longer() -> None:
    async def main() -> None:
        async with a_home(phone=ROOMY) as home, a_deployer(home) as deployer:
            tv = await home.start("tv", compute=Slow())
            await home.settle()

            async def lose() -> None:
                await asyncio.sleep(3)
                deployer.node_gone(tv.record.node_id, StageLost("tv is lost; ask again"))

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(lose())
                before_s = asyncio.get_running_loop().time()
                with pytest.raises(LoadFailed, match="tv is lost; ask again") as failed:
                    await deploy(deployer, a_plan(home, {"phone": Span(0, 4), "tv": Span(4, 12)}))
                assert_lost(failed.value, tv.record.node_id)
                assert asyncio.get_running_loop().time() - before_s == pytest.approx(3)

    run(main())
