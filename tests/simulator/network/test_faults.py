"""What befalls paths and hosts, and what their channels notice of it."""

from __future__ import annotations

import asyncio
import random

import pytest

from mesh.errors import ChannelClosed, PeerUnreachable
from mesh.types import Address
from simulator.loop import run
from simulator.network.rules import Later, Lossier, Lost, Slower, Way, always, corrupted, sometimes
from simulator.network.transport import VirtualTransport
from tests.simulator.network.worlds import CABLE, RADIO, a_lan, add, arrivals, host, joined, now

DELAY_S = 2 * CABLE.delay_s
A_TO_B = Way(frozenset({"a"}), frozenset({"b"}), both_ways=False)


def test_a_blocked_path_breaks_nothing_and_what_was_sent_comes_when_it_is_tried_again() -> None:
    async def main() -> tuple[int, float]:
        network = a_lan("a", "b")
        sender, receiver = await joined(network, "a", "b")
        obstacle = network.block(A_TO_B)
        began_s = now()
        await sender.send(b"late")
        await asyncio.sleep(1.0)
        network.lift(obstacle)
        [(length, at_s)] = await arrivals(receiver)
        return length, at_s - began_s - DELAY_S

    length, waited_s = run(main())
    assert length == 4
    assert waited_s == pytest.approx(0.2 + 0.4 + 0.8)  # tried after 0.2, 0.6 and 1.4 s


def test_what_is_held_comes_at_once_when_it_is_released_in_order() -> None:
    async def main() -> list[tuple[int, float]]:
        network = a_lan("a", "b")
        sender, receiver = await joined(network, "a", "b")
        began_s = now()
        obstacle = network.block(A_TO_B, keeps=True)
        for length in (1, 2, 3):
            await sender.send(bytes(length))
        await asyncio.sleep(5.0)
        network.lift(obstacle)
        return [(length, round(at_s - began_s, 6)) for length, at_s in await arrivals(receiver, 3)]

    assert run(main()) == [(1, 5.0), (2, 5.0), (3, 5.0)]


def test_a_one_way_block_lets_the_other_way_pass() -> None:
    async def main() -> int:
        network = a_lan("a", "b")
        sender, receiver = await joined(network, "a", "b")
        network.block(A_TO_B)
        await receiver.send(b"back")
        return len(await sender.receive())

    assert run(main()) == 4


@pytest.mark.parametrize(
    ("way", "blocked"),
    [
        (Way(frozenset({"a"}), frozenset()), {"ab", "ba", "ac", "ca"}),  # isolated
        (
            Way(frozenset({"a"}), frozenset(), both_ways=False),
            {"ab", "ac"},
        ),  # unheard
        (Way(frozenset({"a", "b"}), frozenset({"c"})), {"ac", "ca", "bc", "cb"}),  # two halves
        (Way(frozenset(), frozenset({"c"}), both_ways=False), {"ac", "bc"}),
    ],
)
def test_a_way_covers_just_what_it_says(way: Way, blocked: set[str]) -> None:
    pairs = {f"{x}{y}" for x in "abc" for y in "abc" if x != y}
    assert {pair for pair in pairs if way.covers(pair[0], pair[1])} == blocked


def test_a_dial_over_a_blocked_path_waits_and_succeeds_when_it_is_free() -> None:
    async def main() -> float:
        network = a_lan("a", "b")
        obstacle = network.block(A_TO_B)
        asyncio.get_running_loop().call_later(2.0, network.lift, obstacle)
        await joined(network, "a", "b")
        return now()

    assert run(main()) == pytest.approx(1.0 + 2.0 + 6 * DELAY_S)  # tries after 1 and 3 s


def test_a_dial_to_a_host_without_a_listener_is_refused_and_to_nobody_too() -> None:
    async def main() -> None:
        network = a_lan("a", "b")
        for address in (Address("10.0.0.2", 7070), Address("10.9.9.9", 7070)):
            with pytest.raises(PeerUnreachable, match="nobody answers"):
                await VirtualTransport(network, host(network, "a")).dial(address)

    run(main())


def test_hosts_of_different_local_networks_do_not_reach_each_other() -> None:
    async def main() -> None:
        network = a_lan("a")
        network.add_lan("neighbours")
        add(network, "b", lan="neighbours")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await joined(network, "a", "b")

    run(main())


def test_a_process_that_ends_is_told_by_its_system_and_a_power_cut_by_nobody() -> None:
    async def main(is_told: bool) -> float | None:
        network = a_lan("a", "b")
        sender, _ = await joined(network, "a", "b")
        began_s = now()
        network.end_life(host(network, "b"), is_told=is_told)
        try:
            async with asyncio.timeout(60):
                await sender.receive()
        except ChannelClosed:
            return now() - began_s
        except TimeoutError:
            return None
        raise AssertionError("a message came")

    assert run(main(True)) == pytest.approx(DELAY_S)
    assert run(main(False)) is None


def test_a_device_that_started_again_refuses_what_was_for_its_former_life() -> None:
    async def main() -> float:
        network = a_lan("a", "b")
        sender, _ = await joined(network, "a", "b")
        b = host(network, "b")
        b.is_on = False
        network.end_life(b, is_told=False)
        await sender.send(b"are you there")
        await asyncio.sleep(10)
        b.is_on = True
        network.look_again()
        began_s = now()
        with pytest.raises(ChannelClosed):
            await sender.receive()
        return now() - began_s

    assert run(main()) < 15  # with the next try of the sender's system


def test_a_paused_process_keeps_its_channels_and_answers_no_dial() -> None:
    async def main() -> tuple[bool, int]:
        network = a_lan("a", "b")
        sender, receiver = await joined(network, "a", "b")
        b = host(network, "b")
        b.standstill.is_still = True
        await sender.send(b"waits")
        try:
            async with asyncio.timeout(30):
                await VirtualTransport(network, host(network, "a")).dial(b.at(49152))
            dialled = True
        except TimeoutError:
            dialled = False
        return dialled, len(await receiver.receive())

    assert run(main()) == (False, 5)


def test_a_reset_breaks_both_ends_and_a_new_channel_can_be_opened() -> None:
    async def main() -> None:
        network = a_lan("a", "b")
        ends = await joined(network, "a", "b")
        network.reset_all(Way(frozenset({"a"}), frozenset({"b"})))
        for end in ends:
            with pytest.raises(ChannelClosed):
                await end.receive()
            with pytest.raises(ChannelClosed):
                await end.send(b"x")
        sender, receiver = await joined(network, "a", "b")
        await sender.send(b"again")
        assert await receiver.receive() == b"again"
        assert sum(len(open_ends) for open_ends in network.ends.values()) == 2

    run(main())


async def _took(*rules: object, num_bytes: int = 10_000) -> float:
    network = a_lan("a", "b", link=RADIO)
    sender, receiver = await joined(network, "a", "b")
    for rule in rules:
        network.rules[rule] = None  # type: ignore[index]
    began_s = now()
    await sender.send(bytes(num_bytes))
    return (await arrivals(receiver))[0][1] - began_s


def test_a_rule_delays_or_slows_a_way_and_is_lifted_at_the_end_of_the_with() -> None:
    assert run(_took()) == pytest.approx(DELAY_S + 0.02)
    assert run(_took(always(A_TO_B, Later(0.3)))) == pytest.approx(DELAY_S + 0.32)
    assert run(_took(always(A_TO_B, Slower(5)))) == pytest.approx(DELAY_S + 0.1)
    assert run(_took(always(A_TO_B, Slower(5)), always(A_TO_B, Later(1)))) == pytest.approx(DELAY_S + 1.1)

    async def lifted() -> float:
        network = a_lan("a", "b", link=RADIO)
        sender, receiver = await joined(network, "a", "b")
        with network.rule(always(A_TO_B, Later(9))):
            pass
        began_s = now()
        await sender.send(b"x")
        return (await arrivals(receiver))[0][1] - began_s

    assert run(lifted()) < 0.1


def test_a_lossy_rule_costs_timeouts() -> None:
    assert run(_took(always(A_TO_B, Lossier(0.5)), num_bytes=15_000)) > DELAY_S + 0.03


def test_a_message_that_is_dropped_takes_its_channel_with_it() -> None:
    async def main() -> None:
        network = a_lan("a", "b")
        sender, receiver = await joined(network, "a", "b")
        with network.rule(sometimes(A_TO_B, 1.0, lambda _: Lost(), random.Random(1))):
            await sender.send(b"x")
        for end in (sender, receiver):
            with pytest.raises(ChannelClosed):
                await end.receive()

    run(main())


def test_hopeless_loss_breaks_the_channel() -> None:
    async def main() -> None:
        network = a_lan("a", "b")
        sender, _ = await joined(network, "a", "b")
        with network.rule(always(A_TO_B, Lossier(1.0))):
            await sender.send(b"x")
        with pytest.raises(ChannelClosed):
            await sender.receive()

    run(main())


def test_one_bit_of_a_corrupted_message_differs() -> None:
    async def main() -> bytes:
        network = a_lan("a", "b")
        sender, receiver = await joined(network, "a", "b")
        rng = random.Random(1)
        with network.rule(sometimes(A_TO_B, 1.0, lambda packet: corrupted(packet, rng), rng)):
            await sender.send(bytes(100))
        return await receiver.receive()

    assert sum(byte.bit_count() for byte in run(main())) == 1


def test_an_access_point_that_is_off_stops_its_network_and_no_other() -> None:
    async def main() -> list[bool]:
        network = a_lan("a", "b")
        network.add_lan("neighbours")
        for name in ("c", "d"):
            add(network, name, lan="neighbours")
        network.lans["home"].is_on = False
        a, b, c, d = (host(network, name) for name in "abcd")
        return [network.is_blocked(a, b), network.is_blocked(c, d), network.is_blocked(a, a)]

    assert run(main()) == [True, False, False]


def test_a_signal_that_is_gone_blocks_until_it_is_back() -> None:
    async def main() -> float:
        network = a_lan("a", "b")
        sender, receiver = await joined(network, "a", "b")
        began_s = now()
        network.set_quality(host(network, "a"), 0.0)
        await sender.send(b"x")
        await asyncio.sleep(3)
        network.set_quality(host(network, "a"), 1.0)
        return (await arrivals(receiver))[0][1] - began_s

    assert 3.0 <= run(main()) < 7.0


def test_a_closed_channel_delivers_first_and_a_sender_that_waits_is_told() -> None:
    async def main() -> list[str]:
        network = a_lan("a", "b")
        sender, receiver = await joined(network, "a", "b")
        told: list[str] = []

        async def send_too_much() -> None:
            try:
                for _ in range(100):
                    await sender.send(b"x")
            except ChannelClosed as error:
                told.append(str(error))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send_too_much())
            await asyncio.sleep(1)
            await receiver.close()
        return told

    assert run(main()) == ["the peer closed the channel"]
