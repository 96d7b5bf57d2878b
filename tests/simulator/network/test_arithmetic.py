"""The network is right where it can be checked by hand."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from simulator.loop import run
from simulator.script import LinkScript, PathScript
from tests.simulator.network.worlds import CABLE, RADIO, a_lan, add, arrivals, host, joined, now, together

DELAY_S = CABLE.delay_s + CABLE.delay_s  # both hosts' crossings
RATE = 1e6  # bytes a second


@pytest.mark.parametrize("num_bytes", [1, 100, 1_500, 1_501, 100_000, 4_000_000])
def test_b_bytes_over_delay_d_and_rate_r_arrive_after_d_plus_b_over_r(num_bytes: int) -> None:
    async def main() -> float:
        sender, receiver = await joined(a_lan("a", "b"), "a", "b")
        began_s = now()
        await sender.send(bytes(num_bytes))
        [(length, at_s)] = await arrivals(receiver)
        assert length == num_bytes
        return at_s - began_s

    assert run(main()) == pytest.approx(DELAY_S + num_bytes / RATE, rel=1e-9)


def test_a_dial_takes_three_round_trips() -> None:
    async def main() -> float:
        await joined(a_lan("a", "b"), "a", "b")
        return now()

    assert run(main()) == pytest.approx(3 * 2 * DELAY_S)


def test_two_messages_of_one_channel_follow_each_other() -> None:
    async def main() -> list[float]:
        sender, receiver = await joined(a_lan("a", "b"), "a", "b")
        began_s = now()
        await sender.send(bytes(100_000))
        await sender.send(bytes(10))
        await sender.send(bytes(50_000))
        return [at_s - began_s for _, at_s in await arrivals(receiver, 3)]

    assert run(main()) == pytest.approx([DELAY_S + 0.1, DELAY_S + 0.1, DELAY_S + 0.15], abs=2e-5)


def test_a_frame_between_two_stations_takes_air_time_twice() -> None:
    async def main() -> float:
        sender, receiver = await joined(a_lan("a", "b", link=RADIO), "a", "b")
        began_s = now()
        await sender.send(bytes(100_000))
        [(_, at_s)] = await arrivals(receiver)
        return at_s - began_s

    assert run(main()) == pytest.approx(DELAY_S + 2 * 100_000 / RATE)


async def _two_at_once(link_of_sources: LinkScript) -> list[float]:
    """Two stations each send 100 kB to a host on a fast cable of its own, at the same time."""
    network = a_lan("a", "b", link=link_of_sources)
    add(network, "c", replace(CABLE, up_rate_bps=8e9, down_rate_bps=8e9))
    channels = [await joined(network, name, "c") for name in ("a", "b")]
    began_s = now()
    for sender, _ in channels:
        await sender.send(bytes(100_000))
    return [at_s - began_s for at_s in await together(*(end for _, end in channels))]


def test_two_stations_of_one_access_point_share_its_rate() -> None:
    # Each alone takes 0.1 s of air; together each gets half of it, so both take 0.2 s.
    assert run(_two_at_once(RADIO)) == pytest.approx([DELAY_S + 0.2] * 2)


def test_two_hosts_on_cables_do_not_share() -> None:
    # Both end in the same cable, which is a thousand times as fast.
    assert run(_two_at_once(CABLE)) == pytest.approx([DELAY_S + 0.1] * 2)


def test_what_one_cannot_use_goes_to_the_other() -> None:
    async def main() -> list[float]:
        network = a_lan("fast", link=RADIO)
        add(network, "slow", RADIO)
        add(network, "sink", replace(CABLE, down_rate_bps=8e9))
        add(network, "narrow", replace(CABLE, down_rate_bps=8e5))  # a tenth of the radio
        to_narrow = await joined(network, "slow", "narrow")
        to_sink = await joined(network, "fast", "sink")
        began_s = now()
        await to_narrow[0].send(bytes(100_000))
        await to_sink[0].send(bytes(90_000))
        return [at_s - began_s for at_s in await together(to_narrow[1], to_sink[1])]

    # The one to the narrow cable can use a tenth of the air, so the other gets nine tenths of it.
    assert run(main()) == pytest.approx([DELAY_S + 1.0, DELAY_S + 0.1])


def test_a_packet_waits_for_one_packet_of_a_large_message_and_not_for_all_of_it() -> None:
    async def main() -> float:
        network = a_lan("a", "b", "c", link=RADIO)
        large, _ = await joined(network, "a", "c")
        small, receiver = await joined(network, "b", "c")
        await large.send(bytes(1_000_000))
        began_s = now()
        await small.send(bytes(1_000))
        return (await arrivals(receiver))[0][1] - began_s

    assert run(main()) == pytest.approx(DELAY_S + 2 * 2 * 1_000 / RATE)


def test_packets_queue_behind_each_other() -> None:
    async def main() -> list[float]:
        network = a_lan("a", "b", "c", link=RADIO)
        channels = [await joined(network, name, "c") for name in ("a", "b")]
        began_s = now()
        for sender, _ in channels:
            await sender.send(bytes(1_000))
        return [at_s - began_s for at_s in await together(*(end for _, end in channels))]

    assert run(main()) == pytest.approx([DELAY_S + 0.002, DELAY_S + 0.004])


def test_access_points_of_one_radio_space_share_the_air_and_others_do_not() -> None:
    async def main(second_radio: str) -> list[float]:
        network = a_lan()
        network.lans.clear()
        network.add_lan("one", "shared")
        network.add_lan("two", second_radio)
        for lan in ("one", "two"):
            for side in ("left", "right"):
                add(network, f"{lan} {side}", RADIO, lan)
        channels = [await joined(network, f"{lan} left", f"{lan} right") for lan in ("one", "two")]
        began_s = now()
        for sender, _ in channels:
            await sender.send(bytes(100_000))
        return [at_s - began_s for at_s in await together(*(end for _, end in channels))]

    assert run(main("shared")) == pytest.approx([DELAY_S + 0.4] * 2)
    assert run(main("another")) == pytest.approx([DELAY_S + 0.2] * 2)


def test_up_and_down_may_differ() -> None:
    async def main() -> list[float]:
        network = a_lan("a")
        add(network, "b", replace(CABLE, up_rate_bps=8e5))
        end_a, end_b = await joined(network, "a", "b")
        took = []
        for sender, receiver in ((end_a, end_b), (end_b, end_a)):
            began_s = now()
            await sender.send(bytes(10_000))
            took.append((await arrivals(receiver))[0][1] - began_s)
        return took

    assert run(main()) == pytest.approx([DELAY_S + 0.01, DELAY_S + 0.1])


def test_a_direct_path_is_used_in_its_direction() -> None:
    async def main() -> list[float]:
        network = a_lan("a", "b")
        network.add_path(PathScript("a", "b", rate_bps=8e7, delay_s=0.001))
        end_a, end_b = await joined(network, "a", "b")
        took = []
        for sender, receiver in ((end_a, end_b), (end_b, end_a)):
            began_s = now()
            await sender.send(bytes(10_000))
            took.append((await arrivals(receiver))[0][1] - began_s)
        return took

    assert run(main()) == pytest.approx([0.001 + 0.001, DELAY_S + 0.01])


def test_half_the_signal_is_half_the_rate_on_both_crossings(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> float:
        network = a_lan("a", "b", link=RADIO)
        sender, receiver = await joined(network, "a", "b")
        monkeypatch.setattr(network.dice(host(network, "a"), host(network, "b")), "random", lambda: 1.0)
        network.set_quality(host(network, "a"), 0.5)
        began_s = now()
        await sender.send(bytes(100_000))
        return (await arrivals(receiver))[0][1] - began_s

    assert run(main()) == pytest.approx(DELAY_S + 0.2 + 0.1)


def test_handling_a_message_costs_both_systems() -> None:
    async def main() -> float:
        network = a_lan("a", "b")
        sender, receiver = await joined(network, "a", "b")
        host(network, "a").message_overhead_s, host(network, "b").message_overhead_s = 0.001, 0.002
        began_s = now()
        await sender.send(bytes(1_000))
        return (await arrivals(receiver))[0][1] - began_s

    assert run(main()) == pytest.approx(DELAY_S + 0.001 + 0.003)


def test_jitter_delays_by_its_mean_on_average_and_never_reorders() -> None:
    async def main() -> float:
        network = a_lan("a", "b", link=replace(CABLE, jitter_s=0.002))
        sender, receiver = await joined(network, "a", "b")
        total_s = 0.0
        for _ in range(2_000):
            began_s = now()
            await sender.send(b"x")
            total_s += (await arrivals(receiver))[0][1] - began_s
        return total_s / 2_000

    assert run(main()) == pytest.approx(DELAY_S + 0.004, rel=0.05)


def test_jittered_messages_stay_in_order() -> None:
    async def main() -> list[int]:
        network = a_lan("a", "b", link=replace(CABLE, jitter_s=0.05))
        sender, receiver = await joined(network, "a", "b")
        for length in range(10):
            await sender.send(bytes(length))
        return [length for length, _ in await arrivals(receiver, 10)]

    assert run(main()) == list(range(10))


def test_a_lost_packet_comes_a_timeout_later_and_ten_per_cent_are_lost() -> None:
    async def main() -> list[float]:
        network = a_lan("a", "b", link=replace(CABLE, up_loss=0.1))
        sender, receiver = await joined(network, "a", "b")
        took = []
        for _ in range(2_000):
            began_s = now()
            await sender.send(b"x")
            took.append((await arrivals(receiver))[0][1] - began_s - DELAY_S)
        return took

    took = run(main())
    late = [round(seconds, 3) for seconds in took if seconds > 0.1]
    assert len(late) / len(took) == pytest.approx(0.1, abs=0.02)
    assert set(late) <= {0.2, 0.6, 1.4, 3.0}


def test_senders_wait_when_too_much_is_unread() -> None:
    async def main() -> int:
        sender, receiver = await joined(a_lan("a", "b"), "a", "b")
        sent = 0

        async def send_all() -> None:
            nonlocal sent
            for _ in range(100):
                await sender.send(b"x")
                sent += 1

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send_all())
            await asyncio.sleep(10)
            before = sent
            await arrivals(receiver, 100)
        return before

    assert run(main()) == 16
