"""Devices that live but do not get on with it are replaced; those that are merely slow are left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from mesh.config import Timing
from mesh.messages import Frame, Resume, SessionFailed, Token
from mesh.ports import Step, StepResult
from mesh.types import NodeId, NodeState, SessionId, StageKey, TokenIds
from simulator.compute import TokenFunctionCompute
from simulator.library import TINY
from simulator.loop import run
from tests.roles.test_failover import LONG, OWN_KB, SPARE_KB, expected, listen
from tests.roles.world import KB, Home


class Changing(TokenFunctionCompute):
    """Takes longer from some moment on."""

    def __init__(self, step_s: float = 0.01) -> None:
        super().__init__(TINY, step_s)
        self.more_s = 0.0
        self.load_s = 0.0

    async def load(self, key: StageKey) -> int:
        await asyncio.sleep(self.load_s)
        return await super().load(key)

    async def run(self, steps: Sequence[Step]) -> list[StepResult]:
        await asyncio.sleep(self.more_s)
        return await super().run(steps)


Computes = dict[str, Changing]


@asynccontextmanager
async def a_home_of(
    *names: str, step_s: float = 0.01, spare_kb: int = SPARE_KB
) -> AsyncIterator[tuple[Home, Computes]]:
    """Like `a_roomy_home`, of devices that may change."""
    computes = {name: Changing(step_s) for name in names}
    async with asyncio.TaskGroup() as tasks:
        home = Home(tasks)
        for name, compute in computes.items():
            memory_bytes = (OWN_KB + spare_kb) * KB
            await home.start(name, memory_bytes, spare_bytes=spare_kb * KB, compute=compute)
        await home.settle()
        try:
            yield home, computes
        finally:
            for node in home.started:
                node.node.stop()
                node.node.stop()


def slow_down(compute: Changing, more_s: float) -> None:
    compute.more_s = more_s


@pytest.mark.parametrize("victim", ["phone", "car", "tv"])
@pytest.mark.parametrize("more_s", [1.0, 1000.0])
def test_a_grey_device_is_replaced_within_seconds_and_gets_no_part_in_the_next_plan(
    victim: str, more_s: float
) -> None:
    async def main() -> None:
        async with a_home_of("phone", "car", "tv", "pc") as (home, computes):
            route = [stage.node.name for stage in (await home.client("pc").plan()).stages]
            grey = victim if victim in route else route[0]
            heard = await listen(home, {8: lambda: slow_down(computes[grey], more_s)}, at="pc")
            assert heard.tokens == expected()
            assert heard.recoveries[0].lost == (grey,)
            assert heard.recoveries[0].recomputed_layers == 0
            assert heard.longest_pause_s < 3
            assert (await home.states("pc"))[grey] is NodeState.ALIVE
            plan = await home.client("pc").plan()
            assert grey not in [stage.node.name for stage in plan.stages]

    run(main())


@pytest.mark.parametrize("victim", ["phone", "car", "tv"])
@pytest.mark.parametrize("grey_s", [3.0, 10.0, 20.0])
def test_a_grey_device_that_nobody_can_replace_is_gone_on_with_once_it_is_itself_again(
    victim: str, grey_s: float
) -> None:
    async def main() -> None:
        async with a_home_of("phone", "car", "tv", spare_kb=0) as (home, computes):
            loop = asyncio.get_running_loop()

            def starve() -> None:
                slow_down(computes[victim], 4.0)
                loop.call_later(grey_s, slow_down, computes[victim], 0.0)

            heard = await listen(home, {8: starve})
            assert heard.tokens == expected()
            assert heard.longest_pause_s < grey_s + 9.0
            assert heard.recoveries

    run(main())


def test_a_grey_device_is_found_out_though_several_answers_share_it() -> None:
    async def main() -> None:
        async with a_home_of("phone", "car", "tv", "pc", spare_kb=4 * SPARE_KB) as (home, computes):
            grey = (await home.client("pc").plan()).stages[1].node.name
            asyncio.get_running_loop().call_later(0.5, slow_down, computes[grey], 1.0)
            answers = [home.client("pc").chat(LONG, max_tokens=40, seed=8) for _ in range(3)]
            async with asyncio.TaskGroup() as tasks:
                for answer in answers:
                    tasks.create_task(answer.text())
            for answer in answers:
                assert list(answer.summary.tokens) == expected()
                assert [recovery.lost for recovery in answer.recoveries] == [(grey,)]

    run(main())


@pytest.mark.parametrize("step_s", [0.3, 3.0])
def test_slow_but_steady_devices_are_never_blamed(step_s: float) -> None:
    async def main() -> None:
        async with a_home_of("phone", "car", "tv", step_s=step_s) as (home, _):
            heard = await listen(home, {}, max_tokens=12)
            assert heard.tokens == expected()[:12]
            assert heard.recoveries == ()

    run(main())


def test_one_device_that_is_much_slower_than_the_others_is_never_blamed() -> None:
    async def main() -> None:
        async with a_home_of("phone", "car", "tv") as (home, computes):
            slow_down(computes["tv"], 2.0)
            heard = await listen(home, {}, max_tokens=12)
            assert heard.tokens == expected()[:12]
            assert heard.recoveries == ()

    run(main())


def test_one_slow_step_is_forgiven() -> None:
    async def main() -> None:
        async with a_home_of("phone", "car", "tv") as (home, computes):
            loop = asyncio.get_running_loop()

            def stumble() -> None:
                slow_down(computes["tv"], 0.9)
                loop.call_later(0.3, slow_down, computes["tv"], 0.0)

            heard = await listen(home, {8: stumble, 20: stumble})
            assert heard.tokens == expected()
            assert heard.recoveries == ()

    run(main())


def test_a_replacement_that_is_lost_while_it_loads_is_replaced_itself() -> None:
    async def main() -> None:
        async with a_home_of("phone", "car", "tv", "pc", "hub") as (home, computes):
            route = [stage.node.name for stage in (await home.client("phone").plan()).stages]
            first, second = [name for name in computes if name not in route]
            for name in (first, second):
                computes[name].load_s = 2.0
            loop = asyncio.get_running_loop()
            gone: list[str] = []

            def cut_who_loads() -> None:
                loading = [name for name in (first, second) if home.nodes[name].num_open == 0]
                gone.append(loading[0])
                home.power_cut(loading[0])

            def lose() -> None:
                home.power_cut(route[1])
                loop.call_later(1.0, cut_who_loads)

            heard = await listen(home, {8: lose})
            assert heard.tokens == expected()
            (recovery,) = heard.recoveries
            assert route[1] in recovery.lost
            assert not set(recovery.replacement) & {*gone, route[1]}
            assert recovery.recomputed_layers == 0

    run(main())


@pytest.mark.parametrize("after_s", [0.001, 0.011, 0.015, 0.021, 0.025, 0.5])
@pytest.mark.parametrize("order", [(1, 2), (2, 1), (1, 1)])
def test_a_second_loss_during_the_recovery_from_the_first(order: tuple[int, int], after_s: float) -> None:
    """Of another stage, or of the replacement."""

    async def main() -> None:
        async with a_home_of("phone", "car", "tv", "pc", "hub") as (home, _):
            loop = asyncio.get_running_loop()
            route = [stage.node.name for stage in (await home.client("phone").plan()).stages]
            first, second = (route[index] for index in order)

            def cut_second() -> None:
                opened = [name for name, node in home.nodes.items() if node.num_open]
                new = [name for name in opened if name not in route]
                home.power_cut(second if second != first else (new or ["hub"])[0])

            def lose() -> None:
                home.power_cut(first)
                loop.call_later(after_s, cut_second)

            heard = await listen(home, {8: lose})
            assert heard.tokens == expected()
            assert sum(recovery.recomputed_layers for recovery in heard.recoveries) == 0
            assert heard.recoveries[0].lost[0] == first
            assert heard.longest_pause_s < 2

    run(main())


def old_news(session_id: SessionId, node_id: NodeId, epoch: int) -> list[Token | Resume | SessionFailed]:
    return [
        *(Token(session_id, epoch, position, 7) for position in range(20, 60)),
        *(Resume(session_id, epoch, index, 0, 60) for index in range(3)),
        SessionFailed(session_id, epoch, node_id, "stage_lost", "gone", node_id),
        SessionFailed(session_id, epoch, node_id, "internal", "a bug"),
    ]


def test_late_messages_of_an_older_epoch_change_nothing() -> None:
    """Said to the gateway, and to every stage, after one recovery."""

    async def main() -> None:
        async with a_home_of("phone", "car", "tv", "pc") as (home, _):
            route = [stage.node.name for stage in (await home.client("phone").plan()).stages]
            links = [await home.link(home.nodes[name].record) for name in home.nodes if name != route[2]]
            tasks: list[asyncio.Task[None]] = []

            async def say() -> None:
                (session_id,) = home.nodes["phone"].compute.sessions
                node_id = home.nodes[route[1]].record.node_id
                frames = [Frame(session_id, 0, index, 0, TokenIds((1, 2)), sample=True) for index in range(3)]
                for link in links:
                    for message in [*old_news(session_id, node_id, 0), *frames]:
                        await link.send(message)

            happens = {
                8: lambda: home.power_cut(route[2]),
                15: lambda: tasks.append(asyncio.get_running_loop().create_task(say())),
            }
            heard = await listen(home, happens)
            assert tasks[0].done()
            assert heard.tokens == expected()
            assert [recovery.lost for recovery in heard.recoveries] == [(route[2],)]
            for link in links:
                await link.close()
            await asyncio.sleep(Timing().linger_s)
            assert sum(n.num_open for name, n in home.nodes.items() if name != route[2]) == 0

    run(main())
