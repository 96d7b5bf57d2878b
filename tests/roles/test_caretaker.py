"""Sessions whose hops or gateway are gone: who is told, how often, and when they are freed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mesh.config import Timing
from mesh.messages import CloseSession, Frame, LoadStage, OpenSession, Progress, SessionFailed
from mesh.types import Address, Hop, NodeId, Precision, Sampling, SessionId, Span, StageKey, TokenIds
from simulator.library import TINY
from simulator.loop import run
from tests.roles.world import Home, a_home, listening

OURS = SessionId("a" * 16)
HALF, OTHER_HALF = (StageKey(TINY.digest, span, Precision.INT4) for span in (Span(0, 6), Span(6, 12)))
ROOMY_HOME = {"tv": 10_000_000, "car": 10_000_000, "hub": 10_000_000}
QUIET_S = 3.0


async def open_over_two(home: Home, gateway: Address) -> None:
    """A session with one stage on the tv and the next on the car, opened as the hub would."""
    keys = {"tv": HALF, "car": OTHER_HALF}
    for name, key in keys.items():
        link = await home.link(home.nodes[name].record)
        await link.send(LoadStage(1, key))
        await link.receive()
        if name == "car":
            await link.close()
    records = [(home.nodes[name].record, key) for name, key in keys.items()]
    route = tuple(Hop(record.node_id, record.address, key) for record, key in records)
    link = await home.link(home.nodes["tv"].record)
    known = (node.record.node_id for node in home.nodes.values() if node.record.address == gateway)
    gateway_id = next(known, NodeId("f" * 32))
    await link.send(OpenSession(OURS, 0, route, 0, gateway, 64, Sampling(), 0, gateway_id))
    await link.send(Frame(OURS, 0, 0, 0, TokenIds((1, 2, 3)), sample=True))
    await asyncio.sleep(0.5)


def held(home: Home) -> list[int]:
    return [home.nodes[name].num_open for name in ("tv", "car")]


def test_a_session_that_its_gateway_knows_nothing_of_is_found_by_asking_and_freed() -> None:
    """The closing was lost, and no link broke."""

    async def main() -> None:
        async with a_home(**ROOMY_HOME) as home:
            await open_over_two(home, home.nodes["hub"].record.address)
            assert held(home) == [1, 1]
            await asyncio.sleep(QUIET_S + 1)
            assert held(home) == [0, 0]

    run(main())


def test_a_session_in_which_nothing_happens_says_how_far_it_is_now_and_then() -> None:
    async def main() -> None:
        async with a_home(**ROOMY_HOME) as home, listening(home.network) as gateway:
            await open_over_two(home, gateway.address)
            await asyncio.sleep(3 * QUIET_S + 2)
            said = [message for message in gateway.heard if isinstance(message, Progress)]
            assert {(progress.index, progress.position) for progress in said} == {(0, 3), (1, 3)}
            assert 4 <= len(said) <= 6
            assert held(home) == [1, 1]

    run(main())


@pytest.mark.parametrize(("lost", "teller"), [("car", "tv"), ("tv", "car")])
def test_the_gateway_is_told_who_is_lost_by_the_hop_before_and_the_hop_behind(lost: str, teller: str) -> None:
    async def main() -> None:
        async with a_home(**ROOMY_HOME) as home, listening(home.network) as gateway:
            await open_over_two(home, gateway.address)
            home.power_cut(lost)
            await asyncio.sleep(1.5)
            told = [message for message in gateway.heard if isinstance(message, SessionFailed)]
            ids = {name: node.record.node_id for name, node in home.nodes.items()}
            assert {(failure.node_id, failure.lost) for failure in told} == {(ids[teller], ids[lost])}
            assert len(told) <= 5
            assert home.nodes[teller].num_open == 1

    run(main())


def test_the_stage_behind_one_that_frees_an_orphan_frees_it_too() -> None:
    async def main() -> None:
        async with a_home(**ROOMY_HOME) as home:
            await open_over_two(home, home.nodes["hub"].record.address)
            home.power_cut("hub")
            await asyncio.sleep(2)
            assert held(home) == [1, 1]
            await asyncio.sleep(Timing().lost_after_s + Timing().linger_s)
            assert held(home) == [0, 0]

    run(main())


def test_a_closing_of_an_older_epoch_frees_nothing() -> None:
    async def main() -> None:
        async with a_home(**ROOMY_HOME) as home, listening(home.network) as gateway:
            await open_over_two(home, gateway.address)
            link = await home.link(home.nodes["car"].record)
            (place,) = home.nodes["car"].places
            await link.send(replace(place.opening, epoch=2))
            await link.send(CloseSession(OURS, 1))
            await asyncio.sleep(0.1)
            assert held(home) == [1, 1]
            await link.send(CloseSession(OURS, 2))
            await asyncio.sleep(0.1)
            assert held(home) == [1, 0]

    run(main())


def test_a_gateway_that_cannot_be_reached_is_not_dialled_more_and_more_often() -> None:
    async def main() -> None:
        async with a_home(**ROOMY_HOME) as home:
            nobody = Address("10.0.0.7", 7070)
            await open_over_two(home, nobody)
            dials: list[Address] = []
            home.nodes["car"].worker._places._means.peers.on_broken(lambda address, _: dials.append(address))
            home.power_cut("tv")  # so that the car has something to tell every now and then
            await asyncio.sleep(10)
            assert 10 <= dials.count(nobody) < 250

    run(main())
