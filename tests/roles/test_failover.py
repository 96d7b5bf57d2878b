"""Devices are lost in mid-answer, and the answer goes on with the very tokens that it would have had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from mesh.decision import Decision
from mesh.errors import CapacityLost
from mesh.messages import Routed
from mesh.types import ChatMessage, NodeState, Recovery, Sampling, Standby, Summary
from simulator.library import TINY, ByteCodec
from simulator.loop import run
from simulator.network.rules import Way
from simulator.token_function import reference_tokens
from tests.roles.world import KB, Home

LONG = "p3"
"""A prompt whose greedy answer by the token function is longer than any asked for here."""

OWN_KB, SPARE_KB = 770, 900
"""Of each of three devices: without spare memory no two could hold the tiny model, with it any two can."""


@dataclass
class Heard:
    """What one client heard."""

    tokens: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    routes: list[Routed] = field(default_factory=list)
    summary: Summary | None = None
    decision: Decision | None = None

    @property
    def recoveries(self) -> tuple[Recovery, ...]:
        assert self.summary is not None
        return self.summary.recoveries

    @property
    def longest_pause_s(self) -> float:
        return max(b - a for a, b in zip(self.times_s, self.times_s[1:], strict=False))


@asynccontextmanager
async def a_roomy_home(*names: str, spare_kb: int = SPARE_KB) -> AsyncIterator[Home]:
    async with asyncio.TaskGroup() as tasks:
        home = Home(tasks)
        for name in names or ("phone", "car", "tv"):
            await home.start(name, (OWN_KB + spare_kb) * KB, spare_bytes=spare_kb * KB)
        await home.settle()
        try:
            yield home
        finally:
            for node in home.started:
                node.node.stop()
                node.node.stop()


async def listen(
    home: Home, happens: Mapping[int, Callable[[], object]], at: str = "phone", **options: object
) -> Heard:
    """Ask, and have things happen when so many tokens have come."""
    heard, options = Heard(), {"max_tokens": 40, "seed": 8, **options}
    answer = home.client(at).chat(LONG, **options)  # type: ignore[arg-type]
    async for event in answer.events():
        if isinstance(event, Routed):
            heard.routes.append(event)
            continue
        for token in event.tokens:
            heard.tokens.append(token)
            heard.times_s.append(asyncio.get_running_loop().time())
            if act := happens.get(len(heard.tokens)):
                act()
    heard.summary, heard.decision = answer.summary, answer.decision
    return heard


def expected(**options: float) -> list[int]:
    """The tokens of the undivided model."""
    prompt = ByteCodec().encode_chat((ChatMessage("user", LONG),))
    sampling = Sampling(temperature=options.get("temperature", 0.0), seed=8)
    return list(reference_tokens(TINY, prompt, sampling, 40, ByteCodec().stop_ids)[0])


def stop_at_once(home: Home, name: str) -> None:
    """As SIGKILL: the process is gone, and its system says so."""
    home.nodes[name].task.cancel()


def reset(home: Home) -> None:
    """Every open link breaks; new ones can be opened at once."""
    home.network.reset_all(Way(frozenset(), frozenset(), both_ways=True))


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("num_tokens", [1, 8, 30])
@pytest.mark.parametrize("victim", ["car", "tv"])
def test_a_power_cut_costs_a_pause_and_no_token(victim: str, num_tokens: int, temperature: float) -> None:
    async def main() -> None:
        async with a_roomy_home() as home:
            heard = await listen(home, {num_tokens: lambda: home.power_cut(victim)}, temperature=temperature)
            assert heard.tokens == expected(temperature=temperature)
            assert [r.lost for r in heard.recoveries] == [(victim,)]
            (recovery,) = heard.recoveries
            assert victim not in recovery.replacement
            assert recovery.recomputed_layers == 0
            assert recovery.replayed_positions > 0
            assert 0 < recovery.detect_s < 1.1
            assert recovery.detect_s <= recovery.stall_s < 1.5
            assert len(heard.routes) == 2
            assert heard.routes[1].recovery == recovery
            await asyncio.sleep(2.5)
            assert sum(n.num_open for name, n in home.nodes.items() if name != victim) == 0

    run(main())


def test_a_process_that_ends_is_replaced_at_once() -> None:
    async def main() -> None:
        async with a_roomy_home() as home:
            heard = await listen(home, {8: lambda: stop_at_once(home, "tv")})
            assert heard.tokens == expected()
            (recovery,) = heard.recoveries
            assert recovery.stall_s < 0.3
            assert recovery.recomputed_layers == 0

    run(main())


def test_all_but_one_may_be_lost_one_after_the_other() -> None:
    async def main() -> None:
        async with a_roomy_home(spare_kb=3000) as home:
            happens = {5: lambda: home.power_cut("tv"), 20: lambda: home.power_cut("car")}
            heard = await listen(home, happens)
            assert heard.tokens == expected()
            assert [r.lost for r in heard.recoveries] == [("tv",), ("car",)]
            assert heard.summary is not None
            assert {share.name for share in heard.summary.stages} == {"phone"}

    run(main())


def test_two_at_once() -> None:
    async def main() -> None:
        async with a_roomy_home(spare_kb=3000) as home:

            def both() -> None:
                home.power_cut("tv")
                home.power_cut("car")

            heard = await listen(home, {9: both})
            assert heard.tokens == expected()
            assert sum(len(r.lost) for r in heard.recoveries) == 2

    run(main())


def test_without_room_for_its_layers_one_error_says_what_is_missing_after_all_tokens() -> None:
    async def main() -> None:
        async with a_roomy_home(spare_kb=0) as home:
            heard: list[int] = []

            async def hear() -> None:
                async for piece in home.client("phone").chat(LONG, max_tokens=40, seed=8, deadline_s=5.0):
                    heard.extend(piece.tokens)
                    if len(heard) == 8:
                        home.power_cut("tv")

            with pytest.raises(CapacityLost, match=r"tv.*MB"):
                await hear()
            assert heard == expected()[: len(heard)]
            assert len(heard) >= 8
            await asyncio.sleep(2.5)
            assert home.nodes["phone"].num_open == home.nodes["car"].num_open == 0

    run(main())


def test_a_device_that_comes_back_in_time_lets_the_answer_go_on() -> None:
    async def main() -> None:
        async with a_roomy_home(spare_kb=0) as home:
            loop = asyncio.get_running_loop()

            def cut() -> None:
                home.power_cut("tv")
                loop.call_later(6.0, home.power_on, "tv")

            heard = await listen(home, {8: cut}, deadline_s=60.0)
            assert heard.tokens == expected()
            assert heard.longest_pause_s > 5

    run(main())


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("num_tokens", [1, 8, 30])
def test_the_gateway_itself_may_be_lost(num_tokens: int, temperature: float) -> None:
    async def main() -> None:
        async with a_roomy_home() as home:
            happens = {num_tokens: lambda: home.power_cut("phone")}
            heard = await listen(home, happens, temperature=temperature)
            assert heard.tokens == expected(temperature=temperature)
            (recovery,) = heard.recoveries
            assert recovery.lost == ("phone",)
            assert recovery.recomputed_layers == 0
            assert heard.summary is not None
            assert list(heard.summary.tokens) == heard.tokens
            await asyncio.sleep(4)
            assert home.nodes["car"].num_open == home.nodes["tv"].num_open == 0

    run(main())


def test_a_gateway_that_holds_no_layer_may_be_lost_without_any_layer_being_computed_again() -> None:
    async def main() -> None:
        async with a_roomy_home() as home:
            await home.start("watch", 10 * KB)
            await asyncio.sleep(3)
            heard = await listen(home, {8: lambda: home.power_cut("watch")}, at="watch")
            assert heard.tokens == expected()
            (recovery,) = heard.recoveries
            assert recovery.lost == ("watch",)
            assert (recovery.replayed_positions, recovery.recomputed_layers) == (0, 0)

    run(main())


@pytest.mark.parametrize("victim", ["phone", "car", "tv"])
def test_a_frozen_device_is_replaced_and_does_no_harm_when_it_wakes(victim: str) -> None:
    async def main() -> None:
        async with a_roomy_home() as home:
            loop = asyncio.get_running_loop()

            def freeze() -> None:
                home.power_cut(victim)  # cut off, but it goes on; its clock is ours
                loop.call_later(3.0, home.power_on, victim)

            heard = await listen(home, {8: freeze}, max_tokens=400)
            assert heard.tokens[:40] == expected()
            assert heard.longest_pause_s < 1.6
            await asyncio.sleep(5)
            assert home.leftovers() == 0
            assert set((await home.states("car")).values()) == {NodeState.ALIVE}

    run(main())


def test_a_reset_of_all_links_costs_nothing_but_the_links() -> None:
    async def main() -> None:
        async with a_roomy_home() as home:
            heard = await listen(home, {8: lambda: reset(home), 20: lambda: reset(home)})
            assert heard.tokens == expected()
            assert heard.longest_pause_s < 1.0

    run(main())


def test_a_device_that_leaves_hands_over_between_two_tokens() -> None:
    async def main() -> None:
        async with a_roomy_home() as home:
            heard = await listen(home, {8: home.nodes["tv"].node.stop})
            assert heard.tokens == expected()
            (recovery,) = heard.recoveries
            assert recovery.lost == ("tv",)
            assert recovery.recomputed_layers == 0
            assert heard.longest_pause_s < 0.5
            assert home.nodes["tv"].task.done()

    run(main())


def test_warm_copies_are_loaded_before_they_are_needed() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            home = Home(tasks)
            for name in ("phone", "car", "tv"):
                await home.start(
                    name,
                    (OWN_KB + SPARE_KB) * KB,
                    spare_bytes=SPARE_KB * KB,
                    standby=Standby.ALL,
                )
            await home.settle()
            heard = await listen(home, {8: lambda: home.power_cut("tv")})
            assert heard.tokens == expected()
            standbys = heard.routes[0].plan.standbys
            assert len(standbys) == 3
            lost = next(s for s in heard.routes[0].plan.stages if s.node.name == "tv")
            (copy,) = (s for s in standbys if s.span == lost.span)
            assert heard.recoveries[0].replacement == (copy.node.name,)
            for node in home.started:
                node.node.stop()
                node.node.stop()

    run(main())


@pytest.mark.parametrize("places", [(0, 1), (0, 2), (1, 2)])
def test_where_two_devices_of_a_route_cannot_reach_each_other_the_answer_takes_another(
    places: tuple[int, int],
) -> None:
    """The gateway holds the first stage."""

    async def main() -> None:
        async with a_roomy_home() as home:
            route = [stage.node.name for stage in (await home.client("phone").plan()).stages]
            assert route[0] == "phone"
            one, other = (route[place] for place in places)
            heard = await listen(home, {8: lambda: home.block(one, other)})
            assert heard.tokens == expected()
            assert sum(recovery.recomputed_layers for recovery in heard.recoveries) == 0
            assert heard.longest_pause_s < 5
            await asyncio.sleep(4)
            assert home.leftovers() == 0

    run(main())


@pytest.mark.parametrize("still_s", [0.3, 0.8, 0.95, 1.2, 3.0])
@pytest.mark.parametrize("victim", ["phone", "car", "tv"])
def test_a_process_that_is_stopped_for_a_while_costs_its_time_or_a_second_at_most(
    victim: str, still_s: float
) -> None:
    async def main() -> None:
        async with a_roomy_home() as home:

            def freeze() -> None:
                home.freeze(victim)
                asyncio.get_running_loop().call_later(still_s, home.thaw, victim)

            heard = await listen(home, {8: freeze}, max_tokens=150)
            assert heard.tokens[:40] == expected()
            assert heard.longest_pause_s < min(still_s + 0.1, 1.1)
            assert [recovery.lost for recovery in heard.recoveries] == ([(victim,)] if still_s > 0.9 else [])
            assert all(recovery.recomputed_layers == 0 for recovery in heard.recoveries)
            await asyncio.sleep(5)
            assert home.leftovers() == 0

    run(main())


@pytest.mark.parametrize("cut", ["power", "process"])
def test_a_gateway_that_holds_all_is_lost_with_its_process_or_its_power(cut: str) -> None:
    async def main() -> None:
        async with a_roomy_home("phone", "car", "tv", spare_kb=3000) as home:

            def lose() -> None:
                home.power_cut("phone") if cut == "power" else stop_at_once(home, "phone")

            heard = await listen(home, {8: lose})
            assert heard.tokens == expected()
            assert heard.longest_pause_s < 1.2
            assert [recovery.lost for recovery in heard.recoveries] == [("phone",)]

    run(main())
