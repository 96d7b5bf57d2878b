"""Nodes that attend each other notice silence within a second, and only they pay for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mesh.config import Timing
from mesh.types import NodeId, NodeState
from simulator.loop import run
from simulator.network.rules import Later, Way, always
from tests.roles.rosters import House, a_house

ALIVE, SUSPECT, LOST = NodeState.ALIVE, NodeState.SUSPECT, NodeState.LOST
TIMING = Timing()
PER_S = round(1 / TIMING.quick_heartbeat_s)
"""Quick heartbeats in a second, one way."""


def strike(house: House, fault: str, name: str) -> None:
    if fault == "frozen":
        house.freeze(name)
    elif fault == "unplugged":
        house.unplug(name)
    else:  # a power cut that breaks no channel: nobody is told
        house.network.block(Way(frozenset({house.places[name].record.address.host}), frozenset()))


@pytest.mark.parametrize("fault", ["frozen", "unplugged", "cut off"])
@pytest.mark.parametrize("victim", ["phone", "tv"])  # the one that dialled, or the other
@pytest.mark.parametrize("moment_s", [0.0, 0.07, 0.19])
def test_an_attended_node_that_falls_silent_is_lost_within_a_second(
    fault: str, victim: str, moment_s: float
) -> None:
    async def main() -> None:
        async with a_house("phone", "tv") as house:
            viewer = house.places["tv" if victim == "phone" else "phone"]
            house.pair("phone", "tv")
            await asyncio.sleep(1 + moment_s)
            strike(house, fault, victim)
            await asyncio.sleep(0.6)
            assert viewer.state(victim) is SUSPECT
            await asyncio.sleep(0.4)
            assert viewer.state(victim) is LOST
            assert viewer.told(victim)[-2:] == [SUSPECT, LOST]

    run(main())


@pytest.mark.parametrize("fault", ["frozen", "unplugged", "cut off"])
def test_an_unattended_node_that_falls_silent_is_lost_after_three_seconds_as_before(fault: str) -> None:
    async def main() -> None:
        async with a_house("phone", "tv", "car") as house:
            house.pair("phone", "car")
            await asyncio.sleep(0.55)
            strike(house, fault, "tv")
            await asyncio.sleep(1.9)
            assert house.places["phone"].state("tv") is (SUSPECT if fault == "unplugged" else ALIVE)
            await asyncio.sleep(1.2)
            assert house.places["phone"].state("tv") is LOST

    run(main())


def test_a_pair_notices_right_after_it_was_attended() -> None:
    """The first quick heartbeat says what to expect; nothing need be repeated."""

    async def main() -> None:
        async with a_house("phone", "tv") as house:
            await asyncio.sleep(0.4)  # between two usual heartbeats
            house.pair("phone", "tv")
            await asyncio.sleep(0.01)
            house.freeze("tv")
            await asyncio.sleep(0.95)
            assert house.places["phone"].state("tv") is LOST

    run(main())


@pytest.mark.parametrize("moment_s", [0.0, 0.1, 0.45, 0.8])
def test_one_that_attends_nobody_itself_notices_too_what_it_was_promised(moment_s: float) -> None:
    async def main() -> None:
        async with a_house("phone", "tv") as house:
            await asyncio.sleep(0.55 + moment_s)
            house.places["tv"].roster.attend("session", [house.places["phone"].record.node_id])
            await asyncio.sleep(0.01)
            house.freeze("tv")
            await asyncio.sleep(0.95)
            assert house.places["phone"].state("tv") is LOST

    run(main())


def test_nobody_is_suspected_on_an_ideal_network() -> None:
    async def main() -> None:
        async with a_house("phone", "tv", "car") as house:
            for _round in range(20):
                house.pair("phone", "tv")
                await asyncio.sleep(7.3)
                house.part("phone", "tv")
                await asyncio.sleep(3.1)
            for place in house.places.values():
                assert SUSPECT not in [state for _, _, state in place.changes]

    run(main())


def test_only_the_attended_get_quick_heartbeats_and_only_as_long_as_they_are() -> None:
    async def main() -> None:
        async with a_house("phone", "tv", "car") as house:
            num_usual = 3 * 2 * 10
            assert await house.count(10) == num_usual
            house.pair("phone", "tv")
            assert await house.count(10) == pytest.approx(num_usual + 2 * 10 * (PER_S - 1), abs=4)
            house.part("phone", "tv")
            await asyncio.sleep(0.01)
            assert await house.count(10) == num_usual

    run(main())


def test_nothing_runs_in_between_where_nobody_is_attended() -> None:
    async def main() -> None:
        async with a_house("phone", "tv") as house:
            phone = house.places["phone"]
            house.pair("phone", "tv")
            await asyncio.sleep(1)
            house.part("phone", "tv")
            phone.roster.attend("alone", [phone.record.node_id])
            await asyncio.sleep(0.01)
            phone.num_looks = 0
            await asyncio.sleep(20)
            assert phone.num_looks == 20

    run(main())


def test_a_key_that_is_attended_anew_takes_its_old_addresses_back() -> None:
    async def main() -> None:
        async with a_house("phone", "tv", "car") as house:
            phone = house.places["phone"].roster
            phone.attend("session", [house.places["tv"].record.node_id])
            await asyncio.sleep(1)
            phone.attend("session", [house.places["car"].record.node_id])
            await asyncio.sleep(0.01)
            assert await house.count(10) == pytest.approx(3 * 2 * 10 + 10 * (PER_S - 1), abs=4)
            assert house.places["car"].state("phone") is ALIVE
            house.freeze("phone")
            await asyncio.sleep(0.95)
            assert house.places["car"].state("phone") is LOST
            assert house.places["tv"].state("phone") is ALIVE

    run(main())


def test_a_node_is_attended_until_its_last_key_is_neglected() -> None:
    async def main() -> None:
        async with a_house("phone", "tv") as house:
            phone, tv = house.places["phone"].roster, house.places["tv"].record.node_id
            for key in (("one", 0), ("two", 1)):
                phone.attend(key, [tv])
            phone.neglect(("one", 0))
            phone.neglect(("one", 0))
            await asyncio.sleep(1)
            assert await house.count(10) == pytest.approx(2 * 10 + 10 * (PER_S - 1), abs=2)
            phone.neglect(("two", 1))
            await asyncio.sleep(0.01)
            assert await house.count(10) == 2 * 10

    run(main())


def test_who_is_neglected_is_told_at_once_and_bears_the_usual_silence() -> None:
    async def main() -> None:
        async with a_house("phone", "tv") as house:
            house.pair("phone", "tv")
            await asyncio.sleep(1.25)
            assert await house.count(0.01) == 0
            house.part("phone", "tv")
            assert await house.count(0.01) == 2
            house.freeze("phone")
            await asyncio.sleep(1.9)
            assert house.places["tv"].state("phone") is ALIVE
            await asyncio.sleep(1.2)
            assert house.places["tv"].state("phone") is LOST

    run(main())


def test_a_promise_is_taken_back_even_where_the_line_is_busy_at_that_moment() -> None:
    async def main() -> None:
        async with a_house("phone", "tv") as house:
            (wire,) = house.wires.between("10.0.0.1", "10.0.0.2")
            house.places["phone"].roster.attend("session", [house.places["tv"].record.node_id])
            await asyncio.sleep(1.1)
            wire.passes.clear()
            await asyncio.sleep(0.2)  # a quick heartbeat is being handed over
            house.places["phone"].roster.neglect("session")
            wire.passes.set()
            await asyncio.sleep(0.01)
            house.freeze("phone")
            await asyncio.sleep(1.5)
            assert house.places["tv"].state("phone") is ALIVE

    run(main())


def test_a_node_counts_from_when_it_is_known_and_our_own_never() -> None:
    async def main() -> None:
        async with a_house("phone") as house:
            phone = house.places["phone"]
            phone.roster.attend("session", [phone.record.node_id, NodeId(f"{2:032x}")])
            await asyncio.sleep(5)
            tv = await house.start("tv", TIMING)
            await asyncio.sleep(1.5)
            assert await house.count(10) == pytest.approx(2 * 10 + 10 * (PER_S - 1), abs=2)
            house.freeze("phone")
            await asyncio.sleep(0.95)
            assert tv.state("phone") is LOST

    run(main())


def test_a_link_that_is_reset_is_replaced_before_anybody_is_lost() -> None:
    async def main() -> None:
        async with a_house("phone", "tv") as house:
            house.pair("phone", "tv")
            await asyncio.sleep(5.1)
            (wire,) = house.wires.between("10.0.0.1", "10.0.0.2")
            await wire.close()
            await asyncio.sleep(3)
            for viewer, viewed in (("phone", "tv"), ("tv", "phone")):
                assert house.places[viewer].told(viewed, since_s=3) == [SUSPECT, ALIVE]
            house.freeze("tv")
            await asyncio.sleep(2)
            assert house.places["phone"].state("tv") is LOST

    run(main())


def test_one_that_stood_still_blames_nobody_when_it_goes_on() -> None:
    async def main() -> None:
        async with a_house("phone", "tv") as house:
            house.pair("phone", "tv")
            await asyncio.sleep(2)
            house.freeze("phone")
            await asyncio.sleep(0.7)  # the other suspects it, and keeps the link
            house.thaw("phone")
            await asyncio.sleep(1)
            assert LOST not in house.places["phone"].told("tv")
            house.freeze("tv")
            await asyncio.sleep(1)
            assert house.places["phone"].state("tv") is LOST  # no lateness was put down to it

    run(main())


def test_a_slow_link_is_lost_once_and_then_borne() -> None:
    async def main() -> None:
        async with a_house("phone", "tv") as house:
            house.pair("phone", "tv")
            await asyncio.sleep(2)
            slow = always(Way(frozenset({"10.0.0.2"}), frozenset({"10.0.0.1"}), both_ways=False), Later(1.1))
            phone, since_s = house.places["phone"], asyncio.get_running_loop().time()
            for _hiccup in range(5):
                with house.network.rule(slow):
                    await asyncio.sleep(0.15)  # one heartbeat, and those behind it
                await asyncio.sleep(8)
            assert phone.told("tv", since_s).count(LOST) == 1
            assert phone.state("tv") is ALIVE

    run(main())


def test_a_status_is_told_when_it_changed_and_not_again() -> None:
    async def main() -> None:
        async with a_house("phone", "tv") as house:
            phone, tv = house.places["phone"], house.places["tv"]
            first = tv.status
            tv.status = replace(first, leaving="drained")
            await asyncio.sleep(300)  # everything is repeated meanwhile
            assert [(name, status) for _, name, status in phone.statuses] == [
                ("tv", first),
                ("tv", tv.status),
            ]

    run(main())


def test_what_cannot_wait_is_told_to_everybody_at_once() -> None:
    async def main() -> None:
        async with a_house("phone", "tv", "car") as house:
            await asyncio.sleep(0.4)
            tv, now = house.places["tv"], asyncio.get_running_loop().time()
            tv.status = replace(tv.status, leaving="drained")
            tv.roster.speak_now()
            await asyncio.sleep(0.01)
            for viewer in ("phone", "car"):
                at_s, name, status = house.places[viewer].statuses[-1]
                assert (name, status.leaving) == ("tv", "drained")
                assert at_s == pytest.approx(now)

    run(main())


@pytest.mark.parametrize(("stuck", "other"), [("tv", "car"), ("car", "tv")])
def test_what_cannot_wait_is_told_past_one_that_takes_nothing(stuck: str, other: str) -> None:
    async def main() -> None:
        async with a_house("phone", "tv", "car") as house:
            await asyncio.sleep(0.4)
            (wire,) = house.wires.between("10.0.0.1", house.places[stuck].record.address.host)
            wire.passes.clear()
            phone = house.places["phone"]
            phone.status = replace(phone.status, leaving="drained")
            phone.roster.speak_now()
            await asyncio.sleep(0.01)
            status = house.places[other].device("phone").status
            assert status is not None
            assert status.leaving == "drained"

    run(main())


@pytest.mark.parametrize("says_goodbye", [True, False])
def test_a_node_that_comes_and_goes_is_kept_out_with_the_reason(says_goodbye: bool) -> None:
    async def main() -> None:
        async with a_house("phone", "tv") as house:
            phone = house.places["phone"]
            for life in (2, 3, 4):
                assert phone.device("tv").kept_out is None
                await house.stop("tv", says_goodbye=says_goodbye)
                await house.start("tv", TIMING, incarnation=life)
                await asyncio.sleep(1.5)
                assert phone.state("tv") is ALIVE
            kept_out = phone.device("tv").kept_out
            assert kept_out == "left 3 times within 60 s; kept out for another 59 s"
            await asyncio.sleep(60)
            assert phone.device("tv").kept_out is None

    run(main())


def test_a_node_that_is_away_is_not_said_to_be_kept_out() -> None:
    async def main() -> None:
        async with a_house("phone", "tv") as house:
            for life in (2, 3, 4):
                await house.stop("tv", says_goodbye=False)
                await house.start("tv", TIMING, incarnation=life)
                await asyncio.sleep(1)
            house.unplug("tv")
            await asyncio.sleep(0.1)
            device = house.places["phone"].device("tv")
            assert (device.state, device.kept_out) == (SUSPECT, None)

    run(main())
