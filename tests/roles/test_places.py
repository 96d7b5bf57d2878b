"""Sessions at their stages: what is kept, what is freed, and who may say so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mesh.config import Timing
from mesh.errors import MeshError, ModelNotPulled
from mesh.link import Link
from mesh.messages import (
    ChatFinished,
    ChatRequest,
    CloseSession,
    Frame,
    LoadStage,
    OpenSession,
    Piece,
    RequestFailed,
    Routed,
    Started,
)
from mesh.types import (
    ChatMessage,
    Digest,
    Hop,
    Precision,
    Sampling,
    SessionId,
    Span,
    StageKey,
    Summary,
    TokenIds,
)
from simulator.library import TINY, ByteCodec, MemoryLibrary
from simulator.loop import run
from simulator.network.rules import Later, Way, always
from simulator.token_function import reference_tokens
from tests.roles.test_failover import LONG, OWN_KB, a_roomy_home, expected, listen
from tests.roles.world import KB, ROOMY, Home, Listening, a_home, listening

FREED_S = 2.0
"""Within that time nothing is left of a session that is over."""


def answer_to(prompt: str, max_tokens: int) -> list[int]:
    ids = ByteCodec().encode_chat((ChatMessage("user", prompt),))
    return list(reference_tokens(TINY, ids, Sampling(), max_tokens, ByteCodec().stop_ids)[0])


def held(home: Home, *without: str) -> int:
    return sum(node.num_open for name, node in home.nodes.items() if name not in without)


@pytest.mark.parametrize("cut_s", [0.001, 0.011, 0.02, 0.03, 0.04])
def test_a_device_lost_during_a_long_prompt_costs_no_token(cut_s: float) -> None:
    """Several frames are under way, and no token has come."""

    async def main() -> None:
        prompt = "x" * 1500
        async with a_home() as home:
            for name in ("phone", "car", "tv"):
                await home.start(name, 4_400 * KB, spare_bytes=3_000 * KB)
            await home.settle()
            route = [s.node.name for s in (await home.client("phone").plan(context=1600)).stages]
            assert len(route) == 3
            victim = next(name for name in reversed(route) if name != "phone")
            asyncio.get_running_loop().call_later(cut_s, home.power_cut, victim)
            answer = home.client("phone").chat(prompt, max_tokens=20, seed=8)
            tokens = [token async for piece in answer for token in piece.tokens]
            assert tokens == answer_to(prompt, 20)
            assert [recovery.lost for recovery in answer.recoveries] == [(victim,)]

    run(main())


@pytest.mark.parametrize("num_tokens", [1, 8, 30])
def test_where_no_rows_could_be_kept_those_that_lived_compute_again_and_say_so(num_tokens: int) -> None:
    async def main() -> None:
        async with a_roomy_home("phone", "car", "tv", "pc") as home:
            route = [s.node.name for s in (await home.client("phone").plan()).stages]

            def lose() -> None:
                for name in route[:2]:
                    (place,) = home.nodes[name].places
                    place.relay.forget()
                home.power_cut(route[2])

            heard = await listen(home, {num_tokens: lose})
            assert heard.tokens == expected()
            (recovery,) = heard.recoveries
            lived = [stage for stage in heard.routes[0].plan.stages if stage.node.name in route[:2]]
            assert recovery.recomputed_layers == sum(stage.span.num_layers for stage in lived)

    run(main())


@asynccontextmanager
async def asked(
    home: Home, at: str, started: Started | None = None, max_tokens: int = 40
) -> AsyncIterator[Link]:
    """A bare link to a gateway, over which a chat was asked for."""
    link = await home.link(home.nodes[at].record)
    messages = (ChatMessage("user", LONG),)
    await link.send(ChatRequest(1, None, messages, max_tokens, Sampling(seed=8), None, started))
    yield link
    await link.close()


async def hear(link: Link, num_tokens: int) -> Started:
    """Take so many tokens; return what it takes to go on elsewhere."""
    routed: Routed | None = None
    tokens: list[int] = []
    while len(tokens) < num_tokens:
        message = await link.receive()
        if isinstance(message, Routed):
            routed = message
        elif isinstance(message, Piece):
            tokens += message.tokens
    assert routed is not None
    return Started(routed.session_id, routed.epoch, routed.plan, tuple(tokens))


async def finish(link: Link) -> Summary:
    while not isinstance(message := await link.receive(), ChatFinished):
        assert not isinstance(message, RequestFailed), message
    return message.summary


@pytest.mark.parametrize("at", ["phone", "car"])
@pytest.mark.parametrize("is_closed_before", [True, False])
def test_a_client_may_turn_to_another_gateway_or_to_the_same_one_again(
    at: str, *, is_closed_before: bool
) -> None:
    async def main() -> None:
        async with a_roomy_home() as home, asked(home, "phone") as link:
            started = await hear(link, 8)
            if is_closed_before:
                await link.close()
            async with asked(home, at, started) as other:
                assert list((await finish(other)).tokens) == expected()
            await asyncio.sleep(FREED_S)
            assert home.leftovers() == 0

    run(main())


def test_a_gateway_with_another_file_of_that_name_does_not_go_on() -> None:
    async def main() -> None:
        other_file = replace(TINY, digest=Digest("f" * 64))
        async with a_roomy_home() as home:
            await home.start("twin", library=MemoryLibrary([other_file]))
            await home.start("watch", library=MemoryLibrary(()))
            await home.settle()
            async with asked(home, "phone") as link:
                started = await hear(link, 8)
                async with asked(home, "twin", started) as other:
                    failed = await other.receive()
                assert isinstance(failed, RequestFailed)
                assert isinstance(failed.error, ModelNotPulled)
                assert "another file of tiny" in str(failed.error)
                await link.close()
            heard = await listen(home, {8: lambda: home.power_cut("phone")}, at="phone")
            assert heard.tokens == expected()
            told = {record.name for event in heard.routes for record in event.gateways}
            assert told == {"car", "tv"}

    run(main())


def test_an_old_gateway_that_goes_on_can_neither_take_the_session_back_nor_free_it() -> None:
    """Its client has not closed the link: it drives the session until it notices that it is not answered."""

    async def main() -> None:
        async with a_roomy_home() as home, asked(home, "phone") as link:
            started = await hear(link, 8)
            async with asked(home, "car", started) as other:
                await hear(other, 5)
                await link.close()  # now it gives up, and tells every stage to free the session
                summary = await finish(other)
            assert list(summary.tokens) == expected()
            assert sum(recovery.recomputed_layers for recovery in summary.recoveries) == 0

    run(main())


@pytest.mark.parametrize("num_heard", [39, 40])
def test_an_answer_that_was_complete_but_for_its_end_gets_no_token_too_many(num_heard: int) -> None:
    async def main() -> None:
        async with a_roomy_home() as home, asked(home, "phone") as link:
            started = await hear(link, num_heard)
            await link.close()
            async with asked(home, "car", started) as other:
                assert list((await finish(other)).tokens) == expected()

    run(main())


@pytest.mark.parametrize("behind_s", [0.02, 0.15, 0.4])
@pytest.mark.parametrize("at", ["watch", "phone"])
def test_a_gateway_may_be_lost_while_its_client_is_behind_it(at: str, behind_s: float) -> None:
    async def main() -> None:
        async with a_roomy_home() as home:
            await home.start("watch", 10 * KB)
            await asyncio.sleep(3)
            way = Way(frozenset({home.host(at).name}), frozenset({"10.0.0.99"}), both_ways=False)
            with home.network.rule(always(way, Later(behind_s))):
                heard = await listen(home, {8: lambda: home.power_cut(at)}, at=at)
            assert heard.tokens == expected()
            assert [recovery.lost for recovery in heard.recoveries] == [(at,)]

    run(main())


def test_answers_to_several_clients_survive_one_loss() -> None:
    async def main() -> None:
        async with a_roomy_home("phone", "car", "tv", spare_kb=3000) as home:
            loop = asyncio.get_running_loop()
            loop.call_later(0.3, home.power_cut, "tv")
            answers = [home.client(at).chat(f"p{at}", max_tokens=30) for at in ("phone", "car") * 2]
            async with asyncio.TaskGroup() as tasks:
                texts = [tasks.create_task(answer.text()) for answer in answers]
            assert all(text.done() for text in texts)
            for answer, at in zip(answers, ("phone", "car") * 2, strict=True):
                assert list(answer.summary.tokens) == answer_to(f"p{at}", 30)
            await asyncio.sleep(FREED_S)
            assert held(home, "tv") == 0

    run(main())


async def ends(home: Home) -> None:
    await home.client("phone").chat(LONG, max_tokens=20).text()


async def errs(home: Home) -> None:
    with pytest.raises(MeshError):
        await home.client("phone").chat(LONG, max_tokens=900, deadline_s=0.3).text()


async def is_abandoned(home: Home) -> None:
    pieces = aiter(home.client("phone").chat(LONG, max_tokens=900))
    await anext(pieces)
    await pieces.aclose()


async def is_abandoned_while_it_recovers(home: Home) -> None:
    pieces = aiter(home.client("phone").chat(LONG, max_tokens=900))
    await anext(pieces)
    home.block("phone", "tv")
    await asyncio.sleep(0.95)
    await pieces.aclose()


async def ends_while_links_break(home: Home) -> None:
    heard = 0
    async for piece in home.client("phone").chat(LONG, max_tokens=20):
        heard += len(piece.tokens)
        if heard == 19:
            asyncio.get_running_loop().call_later(0.029, home.cut_links, "phone", "car")
            asyncio.get_running_loop().call_later(0.030, home.cut_links, "phone", "tv")


@pytest.mark.parametrize("what", [ends, errs, is_abandoned, ends_while_links_break])
def test_nothing_is_left_within_two_seconds(what: object) -> None:
    async def main() -> None:
        async with a_roomy_home() as home:
            await what(home)  # type: ignore[operator]
            await asyncio.sleep(FREED_S)
            assert home.leftovers() == 0

    run(main())


def test_nothing_is_left_of_an_answer_that_was_given_up_during_a_recovery() -> None:
    async def main() -> None:
        async with a_roomy_home() as home:
            await is_abandoned_while_it_recovers(home)
            await asyncio.sleep(Timing().linger_s + FREED_S)
            assert home.leftovers() == 0

    run(main())


async def sizes_of(home: Home) -> dict[str, int]:
    """What each device of a plan needs, to the byte."""
    stages = (await home.client("phone").plan()).stages
    return {stage.node.name: stage.weights_bytes + stage.cache_bytes for stage in stages}


def test_devices_without_a_byte_to_spare_keep_no_rows_and_the_answer_goes_on_all_the_same() -> None:
    async def main() -> None:
        async with a_home(phone=OWN_KB * KB, car=OWN_KB * KB, tv=OWN_KB * KB) as roomy:
            sizes = await sizes_of(roomy)
        async with a_home(**{name: size + 300 for name, size in sizes.items()}) as home:
            await home.start("pc", ROOMY, spare_bytes=ROOMY)
            await home.settle()
            victim = (await home.client("phone").plan()).stages[-1].node.name
            kept: list[tuple[int, int]] = []

            def lose() -> None:
                devices = [home.nodes[name] for name in sizes]
                kept.extend((device.kept_bytes, device.free_bytes) for device in devices)
                home.power_cut(victim)

            heard = await listen(home, {8: lose}, at="pc")
            assert heard.tokens == expected()
            assert all(kept_bytes <= free_bytes < 600 for kept_bytes, free_bytes in kept)
            (recovery,) = heard.recoveries
            assert recovery.replacement == ("pc",)
            assert recovery.recomputed_layers > 0

    run(main())


HALF, OTHER_HALF = (StageKey(TINY.digest, span, Precision.INT4) for span in (Span(0, 6), Span(6, 12)))


def size(key: StageKey) -> int:
    return TINY.weights_bytes(key.span, key.precision)


@pytest.mark.parametrize("what", ["stage", "cache"])
def test_kept_rows_never_take_memory_that_somebody_needs(what: str) -> None:
    """Two sessions keep 64 rows each; then a stage, or a cache, takes nearly all that is free."""

    async def main() -> None:
        cache_bytes = TINY.cache_bytes(HALF.span, 64, HALF.precision)
        need_bytes = size(OTHER_HALF) if what == "stage" else cache_bytes
        memory_bytes = size(HALF) + 2 * cache_bytes + need_bytes + 100
        async with a_home(phone=memory_bytes, tv=ROOMY) as home, listening(home.network) as gateway:
            phone, links = home.nodes["phone"], [await home.link(n.record) for n in home.nodes.values()]
            for link, key in zip(links, (HALF, OTHER_HALF), strict=True):
                await link.send(LoadStage(1, key))
            await asyncio.sleep(1)
            for letter in "ab":
                await keep_rows(home, gateway, links[0], SessionId(letter * 16))
            assert phone.kept_bytes == 2 * 64 * TINY.row_bytes(HALF.precision)
            if what == "stage":
                await links[0].send(LoadStage(2, OTHER_HALF))
            else:
                await links[0].send(opening(home, gateway, SessionId("c" * 16)))
            await asyncio.sleep(1)
            assert phone.free_bytes == 100
            assert phone.kept_bytes <= 100
            for link in links:
                await link.close()

    run(main())


def test_rows_of_the_session_that_was_used_least_recently_are_forgotten_first() -> None:
    async def main() -> None:
        cache_bytes, rows_bytes = TINY.cache_bytes(HALF.span, 64, HALF.precision), 64 * 128
        memory_bytes = size(HALF) + 3 * cache_bytes + 2 * rows_bytes + 100
        async with a_home(phone=memory_bytes, tv=ROOMY) as home, listening(home.network) as gateway:
            phone, links = home.nodes["phone"], [await home.link(n.record) for n in home.nodes.values()]
            for link, key in zip(links, (HALF, OTHER_HALF), strict=True):
                await link.send(LoadStage(1, key))
            await asyncio.sleep(1)
            for letter in "abc":
                await keep_rows(home, gateway, links[0], SessionId(letter * 16))
            kept = {place.opening.session_id[0]: place.relay.kept_bytes for place in phone.places}
            assert kept == {"a": 0, "b": rows_bytes, "c": rows_bytes}
            for link in links:
                await link.close()

    run(main())


def test_a_parked_cache_makes_room_for_the_rows_of_an_answer_under_way() -> None:
    async def main() -> None:
        cache_bytes, rows_bytes = TINY.cache_bytes(HALF.span, 64, HALF.precision), 64 * 128
        memory_bytes = size(HALF) + 2 * cache_bytes + 100
        async with a_home(phone=memory_bytes, tv=ROOMY) as home, listening(home.network) as gateway:
            phone, links = home.nodes["phone"], [await home.link(n.record) for n in home.nodes.values()]
            for link, key in zip(links, (HALF, OTHER_HALF), strict=True):
                await link.send(LoadStage(1, key))
            await asyncio.sleep(1)
            await keep_rows(home, gateway, links[0], SessionId("a" * 16))
            await links[0].send(CloseSession(SessionId("a" * 16), 0, is_parked=True))
            await links[0].send(opening(home, gateway, SessionId("b" * 16)))
            await asyncio.sleep(1)
            assert (phone.free_bytes, len(phone.worker.parked)) == (100, 1)
            await keep_rows(home, gateway, links[0], SessionId("b" * 16))
            assert (phone.kept_bytes, phone.worker.parked) == (rows_bytes, ())
            for link in links:
                await link.close()

    run(main())


def opening(home: Home, gateway: Listening, session_id: SessionId) -> OpenSession:
    hops = (("phone", HALF), ("tv", OTHER_HALF))
    records = [(home.nodes[name].record, key) for name, key in hops]
    route = tuple(Hop(record.node_id, record.address, key) for record, key in records)
    return OpenSession(session_id, 0, route, 0, gateway.address, 64, Sampling())


async def keep_rows(home: Home, gateway: Listening, link: Link, session_id: SessionId) -> None:
    """Have a session keep 64 rows at the phone."""
    await link.send(opening(home, gateway, session_id))
    await link.send(Frame(session_id, 0, 0, 0, TokenIds((1,) * 64), sample=True))
    await asyncio.sleep(1)
