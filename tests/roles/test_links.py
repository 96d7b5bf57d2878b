"""Nodes measure the ways to each other, tell what they measured, and that costs little."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import combinations

import pytest

from mesh.config import MAX_PADDING_BYTES, Timing
from mesh.errors import ChannelClosed
from mesh.link import Link, open_link
from mesh.messages import PROTOCOL, Echo, EchoReply, Heartbeat, Hello, Message
from mesh.roles.line import Line
from mesh.types import Address, Device, DeviceClass, LinkRecord, NodeId, NodeRecord, NodeState
from mesh.wire.codec import decode, encode
from simulator.loop import run
from simulator.network.rules import Altered, Later, Packet, Way, always
from simulator.script import LinkScript
from tests.roles.rosters import a_house
from tests.roles.test_contacts import FIVE, HOSTS, a_wired_home
from tests.roles.world import ROOMY, Home, a_home

RATE = 10e6
"""Bytes a second of every device's link in a slow home."""
DELAY_S = 0.005
"""One way between any two."""
LINK = LinkScript("slow", is_shared=False, up_rate_bps=8 * RATE, down_rate_bps=8 * RATE, delay_s=DELAY_S / 2)

FRIDGE = NodeRecord(
    NodeId("f" * 32), "fridge", DeviceClass.FRIDGE, Address("10.0.0.60", 7070), "home", PROTOCOL, 1
)
"""Driven by hand; its id is above all others."""


@asynccontextmanager
async def a_slow_home(*names: str) -> AsyncIterator[Home]:
    """Nodes by name on links that take time, with ids in the same order; stopped at the end."""
    async with asyncio.TaskGroup() as tasks:
        home = Home(tasks)
        for host in HOSTS[: len(names)]:
            home.network.add_host(host, host, "ideal", LINK)
        for name in names:
            await home.start(name)
        try:
            yield home
        finally:
            for node in home.started:
                node.node.stop()


async def device(home: Home, viewer: str, name: str) -> Device:
    (found,) = [d for d in await home.client(viewer).devices() if d.record.name == name]
    return found


async def links(home: Home, viewer: str, name: str) -> dict[str, LinkRecord]:
    """What one node believes that another measured, by the names of the others."""
    names = {node.record.node_id: node.record.name for node in home.nodes.values()}
    status = (await device(home, viewer, name)).status
    assert status is not None
    return {names[record.node_id]: record for record in status.links}


@dataclass(frozen=True, slots=True)
class Old:
    """Has one host read all questions and answers as a node of an older minor version does: not at all."""

    host: str

    def __call__(self, packet: Packet) -> Altered | None:
        is_echo = isinstance(decode(packet.data), Echo | EchoReply)
        return Altered(b"") if is_echo and packet.target.name == self.host else None


async def told(link: Link, kind: type[Message], within_s: float) -> Message:
    """The next message of a kind on a link."""
    async with asyncio.timeout(within_s):
        while not isinstance(message := await link.receive(), kind):
            pass
    return message


async def as_fridge(home: Home) -> Link:
    """A link on which the fridge has met the TV."""
    transport = home.network.transport_at(FRIDGE.address.host)
    link = await open_link(transport, home.nodes["tv"].record.address, Hello(PROTOCOL, "home", FRIDGE), 1.0)
    await link.send(Heartbeat())
    await told(link, Heartbeat, 0.1)
    return link


@asynccontextmanager
async def met() -> AsyncIterator[tuple[Home, Link]]:
    """A home with a TV, and a link on which the fridge has met it."""
    async with a_home(tv=ROOMY) as home:
        link = await as_fridge(home)
        yield home, link
        await link.close()


def test_five_milliseconds_each_way_are_a_round_trip_of_ten_and_both_ends_know() -> None:
    async def main() -> None:
        async with a_slow_home("phone", "tv") as home:
            await asyncio.sleep(4)
            for viewer in ("phone", "tv"):
                known = await links(home, viewer, "phone")
                assert list(known) == ["tv"]
                assert known["tv"].round_trip_s == pytest.approx(2 * DELAY_S, rel=0.1)
                assert await links(home, viewer, "tv") == {}

    run(main())


def test_the_rate_is_known_soon_and_about_right_at_both_ends() -> None:
    async def main() -> None:
        async with a_slow_home("phone", "tv") as home:
            await asyncio.sleep(35)
            for viewer in ("phone", "tv"):
                rate = (await links(home, viewer, "phone"))["tv"].rate_bytes_per_s
                assert rate == pytest.approx(RATE, rel=0.2)

    run(main())


def test_every_pair_is_measured_by_one_of_the_two() -> None:
    async def main() -> None:
        async with a_slow_home(*FIVE) as home:
            await asyncio.sleep(20)
            pairs = [(name, other) for name in FIVE for other in await links(home, "watch", name)]
            assert sorted(pairs) == sorted(combinations(FIVE, 2))

    run(main())


@pytest.mark.parametrize("after_s", [30, 34, 39])
def test_a_way_that_gets_slower_is_announced_within_a_minute(after_s: float) -> None:
    async def main() -> None:
        async with a_slow_home("phone", "tv") as home:
            await asyncio.sleep(after_s)
            slower = always(Way(frozenset({HOSTS[0]}), frozenset({HOSTS[1]})), Later(0.02))
            with home.network.rule(slower):
                await asyncio.sleep(60)
                for viewer in ("phone", "tv"):
                    known = await links(home, viewer, "phone")
                    assert known["tv"].round_trip_s == pytest.approx(2 * (DELAY_S + 0.02), rel=0.1)
            await asyncio.sleep(30)
            known = await links(home, "tv", "phone")
            assert known["tv"].round_trip_s == pytest.approx(2 * DELAY_S, rel=0.1)

    run(main())


@pytest.mark.parametrize("says_goodbye", [True, False])
def test_a_node_that_is_lost_or_left_goes_from_the_ways_and_is_measured_anew_when_it_is_back(
    *, says_goodbye: bool
) -> None:
    async def main() -> None:
        async with a_slow_home("phone", "tv", "watch") as home:
            await asyncio.sleep(10)
            assert set(await links(home, "tv", "phone")) == {"tv", "watch"}
            if says_goodbye:
                home.nodes["watch"].node.stop()
            else:
                home.power_cut("watch")
            await asyncio.sleep(Timing().lost_after_s + 2)
            assert set(await links(home, "tv", "phone")) == {"tv"}
            assert await links(home, "tv", "tv") == {}
            if not says_goodbye:
                home.power_on("watch")
                await asyncio.sleep(25)
                assert set(await links(home, "tv", "phone")) == {"tv", "watch"}
                assert set(await links(home, "watch", "tv")) == {"watch"}

    run(main())


@pytest.mark.parametrize("old", ["phone", "tv", "watch"])
def test_a_node_of_an_older_version_never_answers_and_does_no_harm(old: str) -> None:
    async def main() -> None:
        async with a_slow_home("phone", "tv", "watch") as home:
            with home.network.rule(Old(home.host(old).name)):
                await asyncio.sleep(60)
                rest = [name for name in home.nodes if name != old]
                for viewer in home.nodes:
                    assert set((await home.states(viewer)).values()) == {NodeState.ALIVE}
                    pairs = {(one, other) for one in rest for other in await links(home, viewer, one)}
                    assert pairs == set(combinations(rest, 2))
                (known,) = (await links(home, old, rest[0])).values()
                assert known.rate_bytes_per_s is not None

    run(main())


def test_a_question_is_answered_at_once_whatever_its_padding() -> None:
    async def main() -> None:
        async with met() as (_, link):
            for number, padding_bytes in ((7, 0), (2**40, 2048), (0, MAX_PADDING_BYTES)):
                await link.send(Echo(number, padding_bytes))
                assert await told(link, EchoReply, 0.001) == EchoReply(number)

    run(main())


def test_a_question_with_more_padding_than_is_allowed_ends_its_link_and_nothing_else() -> None:
    async def main() -> None:
        async with met() as (home, link):
            await link.send(Echo(1, MAX_PADDING_BYTES + 1))
            with pytest.raises(ChannelClosed):
                await told(link, EchoReply, 1.0)
            again = await as_fridge(home)
            await again.send(Echo(2))
            assert await told(again, EchoReply, 0.1) == EchoReply(2)
            await again.close()

    run(main())


def test_a_question_on_a_link_without_heartbeats_or_of_a_client_is_not_answered() -> None:
    async def main() -> None:
        async with a_home(tv=ROOMY) as home:
            tv = home.nodes["tv"]
            transport = home.network.transport_at(FRIDGE.address.host)
            hello = Hello(PROTOCOL, "home", FRIDGE)
            strangers = [
                await open_link(transport, tv.record.address, hello, 1.0),
                await home.link(tv.record),
            ]
            for link in strangers:
                await link.send(Echo(1))
                with pytest.raises(TimeoutError):
                    await told(link, EchoReply, 0.4)
            known = await as_fridge(home)
            await strangers[0].send(Echo(2))
            for link in (known, strangers[0]):
                with pytest.raises(TimeoutError):
                    await told(link, EchoReply, 0.4)
            for link in (known, *strangers):
                await link.close()

    run(main())


def test_answers_to_what_was_not_asked_are_passed_over_and_the_right_one_counts() -> None:
    async def main() -> None:
        async with met() as (home, link):
            question = await told(link, Echo, 1.0)
            assert isinstance(question, Echo)
            for number in (0, question.number + 1, 2**64 - 1):
                await link.send(EchoReply(number))
            await asyncio.sleep(0.03)
            await link.send(EchoReply(question.number))
            await link.send(EchoReply(question.number))
            async with asyncio.timeout(6):
                while not (known := (await device(home, "tv", "tv")).status) or not known.links:
                    await link.send(Heartbeat())
                    await asyncio.sleep(0.5)
            (record,) = known.links
            assert record.node_id == FRIDGE.node_id
            assert record.round_trip_s == pytest.approx(0.03, rel=0.1)

    run(main())


class Stuck:
    """A channel that takes nothing."""

    def __init__(self) -> None:
        self.num_sends = 0
        self.passes = asyncio.Event()

    async def send(self, message: bytes) -> None:
        self.num_sends += 1
        await self.passes.wait()

    async def receive(self) -> bytes:
        raise ChannelClosed("nothing comes")

    async def close(self) -> None:
        pass


def test_who_asks_and_does_not_read_gets_no_more_than_a_few_answers_and_nothing_after_a_goodbye() -> None:
    async def main() -> None:
        channel = Stuck()
        line = Line(Link(channel, Hello(PROTOCOL, "home", FRIDGE)))
        async with asyncio.TaskGroup() as tasks:
            for number in range(100):
                tasks.create_task(line.echo(EchoReply(number)))
            await asyncio.sleep(1)
            assert channel.num_sends == 4
            channel.passes.set()
        await line.echo(EchoReply(100))
        assert channel.num_sends == 5
        await line.say_goodbye()
        await line.echo(EchoReply(101))
        assert channel.num_sends == 6

    run(main())


@pytest.mark.slow
def test_a_pair_spends_sixteen_messages_and_17_kib_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with a_wired_home(monkeypatch, *FIVE) as (_, wires):
            await asyncio.sleep(60)
            wires.num_echoes = wires.num_echo_bytes = 0
            num_pairs, num_minutes = 10, 4
            await asyncio.sleep(60 * num_minutes)
            assert wires.num_echoes / num_pairs / num_minutes <= 16
            assert 16_000 < wires.num_echo_bytes / num_pairs / num_minutes < 18_000

    run(main())


@pytest.mark.slow
def test_measuring_causes_no_heartbeat_and_seldom_a_status() -> None:
    async def main() -> None:
        names = [f"node{number:02d}" for number in range(6)]
        async with a_house(*names) as house:
            jitter = Jitter()
            with house.network.rule(jitter):
                wires = house.wires
                num_pairs = len(names) * (len(names) - 1) // 2
                wires.num_statuses = 0
                assert await house.count(60) == 2 * num_pairs * 60
                num_peers = len(names) - 1
                assert wires.num_statuses <= 5 * len(names) * num_peers
                wires.num_statuses = 0
                await asyncio.sleep(300)
                assert wires.num_statuses <= 5 * len(names) * num_peers

    run(main())


@dataclass(slots=True, eq=False)
class Jitter:
    """Has each message come up to 2 ms later than the least, by its place in the order of all."""

    num: int = 0

    def __call__(self, packet: Packet) -> Later:
        self.num += 1
        return Later(0.004 + 0.002 * (self.num * 0.618 % 1))


def test_measurements_alone_are_no_news_to_who_waits_for_a_change_of_status() -> None:
    async def main() -> None:
        async with a_house("phone", "tv") as house:
            slow = always(Way(frozenset({"10.0.0.1"}), frozenset({"10.0.0.2"})), Later(0.004))
            tv = house.places["tv"]
            num_told = len(tv.statuses)
            with house.network.rule(slow):
                await asyncio.sleep(60)
            status = tv.device("phone").status
            assert status is not None
            assert status.links != ()
            assert len(tv.statuses) == num_told
            phone = house.places["phone"]
            phone.status = replace(phone.status, used_bytes=7)
            await asyncio.sleep(2)
            assert len(tv.statuses) == num_told + 1

    run(main())


def test_a_question_costs_the_bytes_that_are_said_of_it() -> None:
    assert [len(encode(Echo(number))) for number in (1, 127, 128)] == [4, 4, 5]
    assert len(encode(EchoReply(128))) == 5
