"""The handshake, from both ends, over the network in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from mesh.errors import (
    Busy,
    ChannelClosed,
    MalformedMessage,
    MeshError,
    OtherMesh,
    PeerUnreachable,
    VersionMismatch,
)
from mesh.link import Link, open_link, welcome_link
from mesh.messages import PROTOCOL, CancelRequest, Hello, Message, Refusal
from mesh.ports import Channel
from mesh.types import Address, DeviceClass, NodeId, NodeRecord, ProtocolVersion
from mesh.wire.codec import encode
from simulator.loop import run
from simulator.network.ideal import IdealNetwork

TV_AT = Address("10.0.0.1", 7070)


def hello(name: str = "tv", host: str = "10.0.0.1", major: int = PROTOCOL.major, minor: int = 0) -> Hello:
    version = ProtocolVersion(major, minor)
    node_id = NodeId(name.encode().hex().rjust(32, "0"))
    record = NodeRecord(node_id, name, DeviceClass.TV, Address(host, 7070), "home", version, 1)
    return Hello(version, "home", record)


TV, PHONE = hello(), hello("phone", "10.0.0.2")
CLIENT = Hello(PROTOCOL, "home", None)


@dataclass(slots=True)
class Ends:
    """What each end has after the handshake: a link, or what it was refused with."""

    dialler: Link | MeshError
    listener: Link | MeshError


async def attempt(handshake: Awaitable[Link]) -> Link | MeshError:
    try:
        return await handshake
    except MeshError as error:
        return error


async def meet(dialler: Hello, listener: Hello) -> Ends:
    """Dial and welcome; like a node, the listener closes a channel that it does not want."""
    network = IdealNetwork()
    door = await network.transport_at(TV_AT.host).listen(TV_AT)

    async def welcome() -> Link | MeshError:
        channel = await door.accept()
        end = await attempt(welcome_link(channel, listener))
        if isinstance(end, MeshError):
            await channel.close()
        return end

    async with asyncio.TaskGroup() as tasks:
        welcomed = tasks.create_task(welcome())
        dialled = await attempt(open_link(network.transport_at("10.0.0.2"), TV_AT, dialler, 1.0))
    return Ends(dialled, welcomed.result())


@pytest.mark.parametrize("dialler", [PHONE, CLIENT])
def test_both_ends_know_each_other_and_messages_pass_both_ways(dialler: Hello) -> None:
    async def main() -> None:
        ends = await meet(dialler, TV)
        assert isinstance(ends.dialler, Link)
        assert isinstance(ends.listener, Link)
        assert (ends.dialler.peer, ends.listener.peer) == (TV, dialler)
        assert (ends.dialler.node, ends.listener.node) == (TV.node, dialler.node)
        await ends.dialler.send(CancelRequest(1))
        await ends.listener.send(CancelRequest(2))
        assert await ends.listener.receive() == CancelRequest(1)
        assert await ends.dialler.receive() == CancelRequest(2)

    run(main())


@pytest.mark.parametrize(("dialler", "listener"), [(2, 1), (1, 2)])
def test_another_major_version_is_refused_with_both_versions_at_both_ends(
    dialler: int, listener: int
) -> None:
    async def main() -> None:
        ends = await meet(hello("phone", major=dialler, minor=3), hello("tv", major=listener, minor=4))
        for end in (ends.dialler, ends.listener):
            assert isinstance(end, VersionMismatch)
            assert f"phone speaks version {dialler}.3" in str(end)
            assert f"tv speaks {listener}.4; update the older one" in str(end)

    run(main())


@pytest.mark.parametrize(("dialler", "listener"), [(0, 7), (7, 0)])
def test_another_minor_version_is_welcome(dialler: int, listener: int) -> None:
    async def main() -> None:
        ends = await meet(hello("phone", minor=dialler), hello("tv", minor=listener))
        assert isinstance(ends.dialler, Link)
        assert isinstance(ends.listener, Link)

    run(main())


@pytest.mark.parametrize(("dialler", "name"), [(PHONE, "phone"), (CLIENT, "a client")])
def test_another_mesh_is_refused_and_both_ends_read_the_same(dialler: Hello, name: str) -> None:
    async def main() -> None:
        ends = await meet(replace(dialler, mesh="garden"), TV)
        for end in (ends.dialler, ends.listener):
            assert isinstance(end, OtherMesh)
            assert f"{name} belongs to mesh 'garden' and tv to 'home'; see --mesh" in str(end)

    run(main())


def test_the_dialler_judges_too() -> None:
    """A listener that welcomes everybody is refused by a dialler of another major version."""

    async def main() -> None:
        error = await dial(answering(encode(hello(major=9))))
        assert isinstance(error, VersionMismatch)
        assert "tv speaks version 9.0 of the mesh's protocol and phone speaks 1.0" in str(error)

    run(main())


def answering(*messages: bytes, then_hang_up: bool = False) -> Callable[[Channel], Awaitable[None]]:
    """A listener that says something of its own."""

    async def answer(channel: Channel) -> None:
        await channel.receive()
        for message in messages:
            await channel.send(message)
        if then_hang_up:
            await channel.close()

    return answer


async def dial(answer: Callable[[Channel], Awaitable[None]], within_s: float = 2.0) -> Link | MeshError:
    """Try to open a link to such a listener, and prove that the channel does not stay open."""
    network = IdealNetwork()
    door = await network.transport_at(TV_AT.host).listen(TV_AT)

    async def serve() -> None:
        channel = await door.accept()
        await answer(channel)
        await is_closed(channel)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        return await attempt(open_link(network.transport_at("10.0.0.2"), TV_AT, PHONE, within_s))


async def is_closed(channel: Channel) -> None:
    """Wait until whoever is at the other end has closed."""
    async with asyncio.timeout(5):
        with contextlib.suppress(ChannelClosed):
            while True:
                await channel.receive()


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (answering(), PeerUnreachable, "10.0.0.1:7070 did not answer within 2 s"),
        (answering(then_hang_up=True), PeerUnreachable, "10.0.0.1:7070 hung up before it said who it is"),
        (answering(b"HTTP/1.1 400 Bad Request"), MalformedMessage, "cannot be read"),
        (answering(encode(CancelRequest(1))), MalformedMessage, "began with CancelRequest instead of Hello"),
        (answering(encode(Refusal("busy", "too many"))), Busy, "too many"),
    ],
)
def test_a_listener_that_does_not_introduce_itself(
    answer: Callable[[Channel], Awaitable[None]], error: type[MeshError], text: str
) -> None:
    async def main() -> None:
        outcome = await dial(answer)
        assert isinstance(outcome, error)
        assert text in str(outcome)

    run(main())


def test_the_deadline_of_opening_is_kept_to_the_second() -> None:
    async def main() -> None:
        network = IdealNetwork()
        await network.transport_at(TV_AT.host).listen(TV_AT)
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(PeerUnreachable, match="did not answer within 2 s"):
            await open_link(network.transport_at("10.0.0.2"), TV_AT, PHONE, within_s=2.0)
        assert asyncio.get_running_loop().time() - began_s == pytest.approx(2.0)

    run(main())


def test_what_a_newer_listener_says_first_is_passed_over() -> None:
    async def main() -> None:
        unknown_message = b"\xc2\x3e\x00"
        network = IdealNetwork()
        door = await network.transport_at(TV_AT.host).listen(TV_AT)
        async with asyncio.TaskGroup() as tasks:
            opening = tasks.create_task(open_link(network.transport_at("10.0.0.2"), TV_AT, PHONE, 1.0))
            await answering(unknown_message, encode(TV))(await door.accept())
        assert opening.result().peer == TV

    run(main())


def test_nobody_there() -> None:
    async def main() -> None:
        with pytest.raises(PeerUnreachable, match=r"nobody answers at 10\.0\.0\.1:7070"):
            await open_link(IdealNetwork().transport_at("10.0.0.2"), TV_AT, PHONE, 1.0)

    run(main())


async def welcome_one_that(says: Callable[[Channel], Awaitable[None]]) -> Link:
    network = IdealNetwork()
    door = await network.transport_at(TV_AT.host).listen(TV_AT)
    await says(await network.transport_at("10.0.0.2").dial(TV_AT))
    async with asyncio.timeout(3):
        return await welcome_link(await door.accept(), TV)


async def _nothing(channel: Channel) -> None:
    pass


async def _hang_up(channel: Channel) -> None:
    await channel.close()


def _saying(message: Message | bytes) -> Callable[[Channel], Awaitable[None]]:
    async def say(channel: Channel) -> None:
        await channel.send(message if isinstance(message, bytes) else encode(message))

    return say


@pytest.mark.parametrize(
    ("says", "error", "text"),
    [
        (_nothing, TimeoutError, "^$"),
        (_hang_up, ChannelClosed, "closed"),
        (_saying(b"GET / HTTP/1.1\r\n\r\n"), MalformedMessage, "a peer sent 18 bytes"),
        (_saying(CancelRequest(1)), MalformedMessage, "a dialler began with CancelRequest instead of Hello"),
    ],
)
def test_a_dialler_that_does_not_introduce_itself(
    says: Callable[[Channel], Awaitable[None]], error: type[Exception], text: str
) -> None:
    async def main() -> None:
        with pytest.raises(error, match=text):
            await welcome_one_that(says)

    run(main())


def test_garbage_after_the_handshake_is_told_to_who_receives() -> None:
    async def main() -> None:
        network = IdealNetwork()
        door = await network.transport_at(TV_AT.host).listen(TV_AT)
        channel = await network.transport_at("10.0.0.2").dial(TV_AT)
        await channel.send(encode(PHONE))
        link = await welcome_link(await door.accept(), TV)
        await channel.send(b"\xff\xff")
        with pytest.raises(MalformedMessage):
            await link.receive()
        await link.close()
        await is_closed(channel)

    run(main())
