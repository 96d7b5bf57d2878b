"""Devices that are to leave hand over what they hold, between two tokens, and take nothing new."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine

import pytest

from mesh.errors import LastHolder, MeshError, NodeLeaving, UnknownDevice
from mesh.logic.readiness import ReadinessLimits
from mesh.types import Condition
from simulator.loop import run
from tests.roles.test_failover import LONG, OWN_KB, SPARE_KB, Heard, a_roomy_home, expected, listen
from tests.roles.world import KB, Home

FIT = Condition(battery=0.9)


class Told:
    """The Conditions port of a device whose state a test tells."""

    def __init__(self) -> None:
        self.now = FIT
        self._changed = asyncio.Event()

    def tell(self, condition: Condition) -> None:
        self.now = condition
        self._changed.set()

    async def watch(self) -> AsyncGenerator[Condition]:
        while True:
            yield self.now
            await self._changed.wait()
            self._changed.clear()


async def route(home: Home, at: str = "phone") -> list[str]:
    return [stage.node.name for stage in (await home.client(at).plan()).stages]


async def leaving(home: Home, name: str) -> str | None:
    """Why a device leaves, as another one sees it."""
    devices = await home.client("phone").devices()
    (status,) = (device.status for device in devices if device.record.name == name)
    assert status is not None
    return status.leaving


def in_background(
    work: Callable[[], Coroutine[object, object, object]], running: list[asyncio.Task[object]]
) -> Callable[[], None]:
    return lambda: running.append(asyncio.get_running_loop().create_task(work()))


def assert_handed_over(heard: Heard, name: str) -> None:
    assert heard.tokens == expected()
    (recovery,) = heard.recoveries
    assert recovery.lost == (name,)
    assert name not in recovery.replacement
    assert recovery.recomputed_layers == 0
    assert heard.longest_pause_s < 0.3


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_device_that_its_owner_drains_hands_over_and_is_drained_when_that_is_done(place: int) -> None:
    async def main() -> None:
        async with a_roomy_home("phone", "car", "tv", "pc") as home:
            await home.start("watch", 10 * KB)
            await asyncio.sleep(3)
            name = (await route(home))[place]
            drains: list[asyncio.Task[object]] = []
            held: list[int] = []
            happens = {
                8: in_background(lambda: home.client("watch").drain(name), drains),
                30: lambda: held.append(home.nodes[name].num_open),
            }
            heard = await listen(home, happens, at="watch")
            assert_handed_over(heard, name)
            assert held == [0]
            assert drains[0].done()
            assert name not in await route(home, at="watch")

    run(main())


def test_a_device_that_is_drained_takes_part_again_only_after_that_is_taken_back() -> None:
    async def main() -> None:
        async with a_roomy_home() as home:
            before = await route(home)
            await home.client("phone").drain("tv", is_forced=True)
            await asyncio.sleep(60)
            assert await leaving(home, "tv") == "its owner drains it"
            heard = await listen(home, {})  # the others stand in with their spare memory
            assert heard.tokens == expected()
            assert heard.summary is not None
            assert "tv" not in [share.name for share in heard.summary.stages]
            assert home.nodes["tv"].compute.stages == frozenset()
            await home.client("phone").drain("tv", is_over=True)
            await asyncio.sleep(0.1)
            assert await leaving(home, "tv") is None
            assert await route(home) == before

    run(main())


def test_a_drained_device_begins_no_answers_and_says_why() -> None:
    async def main() -> None:
        async with a_roomy_home("phone", "car", "tv", "pc") as home:
            await home.client("phone").drain("pc")
            with pytest.raises(
                NodeLeaving, match="pc begins no new answers: its owner drains it; ask another"
            ):
                await only(home, "pc")

    run(main())


async def only(home: Home, at: str) -> str:
    """Ask one gateway and no other."""
    client = home.client(at)
    client._gateways._open_node = None
    return await client.chat(LONG, max_tokens=5).text()


def test_a_device_whose_layers_nobody_can_take_is_drained_only_by_force_and_its_answers_end_well() -> None:
    async def main() -> None:
        async with a_roomy_home(spare_kb=0) as home:
            drains: list[asyncio.Task[object]] = []
            refused: list[str] = []

            async def ask() -> None:
                with pytest.raises(
                    LastHolder, match=r"^tv holds layers \[\d+, \d+\), and nobody could"
                ) as caught:
                    await home.client("phone").drain("tv")
                refused.append(str(caught.value))

            force = in_background(lambda: home.client("phone").drain("tv", is_forced=True), drains)
            heard = await listen(home, {4: in_background(ask, drains), 8: force})
            assert heard.tokens == expected()
            assert heard.recoveries == ()
            assert "--force" in refused[0]
            await asyncio.sleep(1)
            assert [task.done() for task in drains] == [True, True]
            assert home.leftovers() == 0

    run(main())


def test_a_device_that_is_refused_to_drain_goes_on_as_before() -> None:
    async def main() -> None:
        async with a_roomy_home(spare_kb=0) as home:
            await listen(home, {})
            with pytest.raises(LastHolder):
                await home.client("phone").drain("tv")
            heard = await listen(home, {})
            assert heard.tokens == expected()

    run(main())


def test_a_name_that_is_not_there_is_told_with_those_that_are() -> None:
    async def main() -> None:
        async with a_roomy_home() as home:
            with pytest.raises(UnknownDevice, match=r"'toaster'.*: car, phone, tv"):
                await home.client("phone").drain("toaster")

    run(main())


@pytest.mark.parametrize(
    "condition",
    [
        Condition(battery=0.1),
        Condition(is_hot=True),
        Condition(is_departing=True),
        Condition(is_metered=True),
    ],
    ids=["low battery", "hot", "departing", "metered"],
)
def test_a_device_in_a_poor_state_hands_over_and_comes_back_when_it_is_better(condition: Condition) -> None:
    async def main() -> None:
        async with a_roomy_home("phone") as home:
            told = {name: Told() for name in ("car", "tv", "pc")}
            for name, conditions in told.items():
                memory_bytes = (OWN_KB + SPARE_KB) * KB
                spare_bytes = SPARE_KB * KB
                await home.start(name, memory_bytes, spare_bytes=spare_bytes, conditions=conditions)
            await home.settle()
            poor = next(name for name in await route(home) if name in told)
            heard = await listen(home, {8: lambda: told[poor].tell(condition)})
            assert_handed_over(heard, poor)
            assert poor not in await route(home)
            assert await leaving(home, poor) is not None
            told[poor].tell(Condition(battery=0.1, is_charging=True))
            await asyncio.sleep(0.1)
            assert await leaving(home, poor) is None
            other = next(name for name in await route(home) if name in told and name != poor)
            await home.client("phone").drain(other, is_forced=True)
            assert poor in await route(home)

    run(main())


def test_a_device_that_its_owner_lets_rest_hands_over_and_takes_nothing_new_even_where_nobody_else_can() -> (
    None
):
    async def main() -> None:
        async with a_roomy_home("phone") as home:
            told = {name: Told() for name in ("car", "tv", "pc")}
            for name, conditions in told.items():
                memory_bytes = (OWN_KB + SPARE_KB) * KB
                await home.start(name, memory_bytes, spare_bytes=SPARE_KB * KB, conditions=conditions)
            await home.settle()
            resting = next(name for name in await route(home) if name in told)
            heard = await listen(home, {8: lambda: told[resting].tell(Condition(resting_until="07:00"))})
            assert_handed_over(heard, resting)
            assert await leaving(home, resting) == "its owner lets it rest until 07:00"
            with pytest.raises(
                NodeLeaving, match=f"{resting} begins no new answers: its owner lets it rest until"
            ):
                await only(home, resting)
            for name in ("car", "tv", "pc"):
                told[name].tell(Condition(resting_until="07:00"))
            await asyncio.sleep(0.1)
            with pytest.raises(MeshError, match="takes nothing new: its owner lets it rest until 07:00"):
                await only(home, "phone")
            told[resting].tell(Condition(battery=0.1))  # it may be used again, though it is tired
            await asyncio.sleep(0.1)
            assert await leaving(home, resting) == "its battery is at 10 %"
            assert await only(home, "phone")

    run(main())


def test_a_device_goes_from_one_reason_to_the_next_without_a_moment_in_between() -> None:
    async def main() -> None:
        async with a_roomy_home("phone", "car") as home:
            told = Told()
            await home.start("tv", conditions=told)
            await home.settle()
            draining = home.nodes["tv"].node._draining
            assert draining is not None
            said: list[str | None] = []
            speak = draining._leaver.roster.speak_now

            def spoken() -> None:
                said.append(draining._leaver.worker.leaving)
                speak()

            draining._leaver.roster.speak_now = spoken  # type: ignore[method-assign]
            for condition in (Condition(resting_until="07:00"), Condition(is_hot=True), FIT):
                told.tell(condition)
                await asyncio.sleep(0.1)
            rest = "its owner lets it rest until 07:00"
            assert said == [rest, rest, "it is too hot", None]

    run(main())


def test_the_limits_of_a_node_are_those_by_which_it_leaves() -> None:
    async def main() -> None:
        async with a_roomy_home("phone") as home:
            told = Told()
            await home.start("tv", conditions=told, readiness=ReadinessLimits.above(0.5))
            told.tell(Condition(battery=0.49))
            await home.settle()
            assert await leaving(home, "tv") == "its battery is at 49 %"

    run(main())


def test_a_gateway_in_a_poor_state_still_takes_requests() -> None:
    async def main() -> None:
        async with a_roomy_home("phone", "car", "tv") as home:
            told = Told()
            await home.start("watch", 10 * KB, conditions=told)
            await home.settle()
            told.tell(Condition(battery=0.05))
            await asyncio.sleep(0.1)
            assert await only(home, "watch")

    run(main())


@pytest.mark.parametrize("name", ["phone", "car", "tv"])
def test_a_device_that_is_stopped_hands_over_and_is_gone_before_the_answer_ends(name: str) -> None:
    async def main() -> None:
        async with a_roomy_home() as home:
            await home.start("watch", 10 * KB)
            await asyncio.sleep(3)
            gone: list[bool] = []
            happens = {
                8: home.nodes[name].node.stop,
                35: lambda: gone.append(home.nodes[name].task.done()),
            }
            heard = await listen(home, happens, at="watch")
            assert_handed_over(heard, name)
            assert gone == [True]

    run(main())


def test_an_idle_device_that_is_stopped_is_gone_at_once() -> None:
    async def main() -> None:
        async with a_roomy_home() as home:
            home.nodes["tv"].node.stop()
            await asyncio.sleep(0.2)
            assert home.nodes["tv"].task.done()

    run(main())


def test_a_device_that_could_not_hand_over_at_first_does_so_when_there_is_room() -> None:
    async def main() -> None:
        async with a_roomy_home(spare_kb=0) as home:
            loop = asyncio.get_running_loop()
            drains: list[asyncio.Task[object]] = []
            force = in_background(lambda: home.client("phone").drain("tv", is_forced=True), drains)

            def add() -> None:
                drains.append(loop.create_task(home.start("pc", 10_000 * KB)))

            heard = await listen(home, {8: force, 10: add}, max_tokens=60)
            assert heard.tokens[:40] == expected()
            assert [recovery.lost for recovery in heard.recoveries] == [("tv",)]
            assert heard.recoveries[0].replacement == ("pc",)

    run(main())
