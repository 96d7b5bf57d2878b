"""A worker spoken to by hand: every bad message fails one session, and the node lives on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from mesh.config import Timing
from mesh.link import Link
from mesh.messages import (
    CloseSession,
    Frame,
    LoadStage,
    Message,
    OpenSession,
    RequestFailed,
    Resume,
    SessionFailed,
    StageLoaded,
    Token,
)
from mesh.ports import Prefix, Step, StepResult
from mesh.types import (
    Address,
    CacheKey,
    Digest,
    Hidden,
    Hop,
    NodeStatus,
    Payload,
    Precision,
    Sampling,
    SessionId,
    Span,
    StageKey,
    TokenIds,
)
from simulator.compute import TokenFunctionCompute
from simulator.library import TINY
from simulator.loop import run
from simulator.token_function import reference_tokens
from tests.roles.world import KB, ROOMY, Home, Listening, VirtualNode, a_home, listening

WHOLE, HALF, OTHER_HALF = Span(0, 12), Span(0, 6), Span(6, 12)
OURS, OTHER, LATER = (SessionId(letter * 16) for letter in "abc")
CONTEXT = 64
LINGER_S = Timing().linger_s
CACHE_BYTES = TINY.cache_bytes(WHOLE, CONTEXT, Precision.INT4)


def key(span: Span) -> StageKey:
    return StageKey(TINY.digest, span, Precision.INT4)


def weights(span: Span) -> int:
    return TINY.weights_bytes(span, Precision.INT4)


@dataclass(slots=True)
class Bench:
    """One node, a link to it, and a gateway that keeps what it hears."""

    home: Home
    node: VirtualNode
    link: Link
    gateway: Listening

    async def load(self, span: Span = WHOLE) -> Message:
        await self.link.send(LoadStage(1, key(span)))
        return await self.link.receive()

    def opening(
        self, session_id: SessionId = OURS, span: Span = WHOLE, epoch: int = 0, known: int = 0
    ) -> OpenSession:
        hop = Hop(self.node.record.node_id, self.node.record.address, key(span))
        return OpenSession(session_id, epoch, (hop,), 0, self.gateway.address, CONTEXT, Sampling(), known)

    async def say(self, *messages: Message) -> list[Message]:
        """Send messages and return what the gateway then hears."""
        before = len(self.gateway.heard)
        for message in messages:
            await self.link.send(message)
        await asyncio.sleep(1)
        return self.gateway.heard[before:]

    async def serves(self, session_id: SessionId = OTHER) -> bool:
        """Whether a new session gets its token."""
        frame = replace(a_frame(), session_id=session_id)
        (answer,) = await self.say(self.opening(session_id), frame, CloseSession(session_id, 0))
        return isinstance(answer, Token) and answer.session_id == session_id

    async def status(self) -> NodeStatus:
        (device,) = await self.home.client(self.node.record.name).devices()
        assert device.status is not None
        return device.status


def a_frame(start: int = 0, payload: Payload | None = None, epoch: int = 0) -> Frame:
    return Frame(OURS, epoch, 0, start, payload or TokenIds((1, 2, 3)), sample=True)


@asynccontextmanager
async def a_bench(
    memory_bytes: int = ROOMY, compute: TokenFunctionCompute | None = None
) -> AsyncIterator[Bench]:
    async with a_home() as home, listening(home.network) as gateway:
        node = await home.start("tv", memory_bytes, compute=compute)
        await asyncio.sleep(0.1)
        link = await home.link(node.record)
        yield Bench(home, node, link, gateway)
        await link.close()


def test_a_session_gets_its_tokens_and_leaves_nothing() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            assert await bench.load() == StageLoaded(1, weights(WHOLE))
            (first,) = await bench.say(bench.opening(), a_frame())
            assert isinstance(first, Token)
            assert (first.session_id, first.epoch, first.position) == (OURS, 0, 3)
            (second,) = await bench.say(a_frame(3, TokenIds((first.token,))))
            assert isinstance(second, Token)
            assert second.position == 4
            assert (await bench.status()).num_sessions == 1
            assert await bench.say(CloseSession(OURS, 0)) == []
            status = await bench.status()
            assert (status.num_sessions, status.used_bytes) == (0, weights(WHOLE))

    run(main())


@pytest.mark.parametrize(
    ("span", "bad", "code", "text"),
    [
        (WHOLE, a_frame(7), "position_gap", "starts at 7 but the cache ends at 3"),
        (WHOLE, a_frame(3, TokenIds((1,) * 62)), "context_exceeded", "ends at 65 but the cache has 64"),
        (WHOLE, a_frame(3, TokenIds((9999,))), "shape_mismatch", "layers [0, 12) cannot take this TokenIds"),
        (WHOLE, a_frame(3, TokenIds(())), "shape_mismatch", "layers [0, 12) cannot take this TokenIds"),
        (WHOLE, a_frame(3, Hidden(bytes(8))), "shape_mismatch", "layers [0, 12) cannot take this Hidden"),
    ],
)
def test_a_bad_frame_is_told_to_the_gateway_which_decides_and_the_node_lives(
    span: Span, bad: Frame, code: str, text: str
) -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.load()
            await bench.say(bench.opening(), a_frame())
            (failure,) = await bench.say(bad)
            assert isinstance(failure, SessionFailed)
            assert (failure.session_id, failure.epoch, failure.code) == (OURS, 0, code)
            assert failure.node_id == bench.node.record.node_id
            assert text in failure.message
            assert await bench.serves()
            assert bench.node.num_open == 1  # the gateway may go on with what is there
            assert len(await bench.say(a_frame(3))) == 1
            await bench.say(CloseSession(OURS, 0))
            assert bench.node.num_open == 0
            assert (await bench.status()).num_sessions == 0

    run(main())


@pytest.mark.parametrize("payload", [Hidden(b"123"), Hidden(b""), TokenIds((1,))])
def test_a_later_stage_refuses_what_are_no_hidden_states(payload: Payload) -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.load(OTHER_HALF)
            await bench.load()
            (failure,) = await bench.say(bench.opening(span=OTHER_HALF), a_frame(payload=payload))
            assert isinstance(failure, SessionFailed)
            assert failure.code == "shape_mismatch"
            assert await bench.serves()

    run(main())


def test_a_frame_of_an_unknown_session_goes_back_to_who_sent_it() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.load()
            assert await bench.say(a_frame()) == []
            failure = await bench.link.receive()
            assert isinstance(failure, SessionFailed)
            assert failure.code == "unknown_session"
            assert f"session {OURS}, which is not open here" in failure.message
            assert await bench.serves()

    run(main())


def test_what_a_later_stage_does_not_know_reaches_the_gateway_through_the_stage_before() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            tv = bench.node
            car = await bench.home.start("car")
            await asyncio.sleep(0.1)
            await bench.load(HALF)
            hops = tuple(
                Hop(n.record.node_id, n.record.address, key(s)) for n, s in ((tv, HALF), (car, OTHER_HALF))
            )
            link_to_car = await bench.home.link(car.record)
            await link_to_car.send(LoadStage(1, key(OTHER_HALF)))
            await bench.say(replace(bench.opening(), route=hops))
            assert (tv.num_open, car.num_open) == (1, 1)
            bench.home.cut_links("tv", "car")
            await asyncio.sleep(Timing().stall_s + 1)  # the later stage gives it up, nobody having come back
            assert (tv.num_open, car.num_open) == (1, 0)
            (failure,) = await bench.say(a_frame())
            assert isinstance(failure, SessionFailed)
            assert (failure.code, failure.node_id) == ("unknown_session", car.record.node_id)
            await link_to_car.close()

    run(main())


def test_frames_and_closings_of_an_older_epoch_are_dropped_silently() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.load()
            assert await bench.say(bench.opening(epoch=2), a_frame(epoch=1), CloseSession(OURS, 1)) == []
            assert await bench.say(bench.opening(epoch=1)) == []
            (token,) = await bench.say(a_frame(epoch=2))
            assert isinstance(token, Token)
            assert token.epoch == 2

    run(main())


def test_a_newer_epoch_keeps_what_is_there_says_where_it_ends_and_repeats_the_token() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.load()
            (token,) = await bench.say(bench.opening(), a_frame())
            assert isinstance(token, Token)
            (again,) = await bench.say(bench.opening(epoch=1, known=3))
            assert again == replace(token, epoch=1)
            assert await bench.link.receive() == Resume(OURS, 1, 0, 3, 3)
            (following,) = await bench.say(a_frame(3, TokenIds((token.token,)), epoch=1))
            assert isinstance(following, Token)
            assert (following.epoch, following.position) == (1, 4)
            assert bench.node.num_open == 1

    run(main())


def test_a_newer_epoch_of_an_unknown_session_begins_with_an_empty_cache() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.load()
            assert await bench.say(bench.opening(epoch=1)) == []
            assert await bench.link.receive() == Resume(OURS, 1, 0, 0, 0)
            assert await bench.say(a_frame(3, epoch=1)) == []  # sent before that was heard
            (token,) = await bench.say(a_frame(epoch=1))
            assert isinstance(token, Token)
            assert (token.epoch, token.position) == (1, 3)

    run(main())


def test_frames_of_the_epoch_before_change_nothing_after_a_newer_one() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.load()
            await bench.say(bench.opening(), a_frame())
            await bench.say(bench.opening(epoch=1, known=3))
            resume = Resume(OURS, 0, 1, 0, 0)
            late = a_frame(0, TokenIds((9, 9))), bench.opening(), resume, CloseSession(OURS, 0)
            assert await bench.say(*late) == []
            (token,) = await bench.say(a_frame(0, epoch=1))
            assert token == Token(OURS, 1, 3, await alone())

    run(main())


async def alone() -> int:
    """The token that the frame leads to where nothing else happens."""
    async with a_bench() as bench:
        await bench.load()
        (token,) = await bench.say(bench.opening(), a_frame())
        assert isinstance(token, Token)
        return token.token


def test_nothing_brings_back_a_session_that_is_over_but_a_newer_epoch() -> None:
    """What was sent before may come after, on another link."""

    async def main() -> None:
        async with a_bench() as bench:
            await bench.load()
            await bench.say(bench.opening(epoch=3), CloseSession(OURS, 3))
            late = bench.opening(epoch=3), a_frame(epoch=3), bench.opening(epoch=2)
            assert await bench.say(*late) == []
            assert bench.node.num_open == 0
            await bench.say(bench.opening(epoch=4))
            assert bench.node.num_open == 1

    run(main())


def test_a_session_on_a_stage_that_is_not_loaded_fails() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            (failure,) = await bench.say(bench.opening())
            assert isinstance(failure, SessionFailed)
            assert failure.code == "stage_not_loaded"
            await bench.load()
            assert await bench.serves()

    run(main())


def test_a_load_that_does_not_fit_is_refused() -> None:
    async def main() -> None:
        async with a_bench(100 * KB) as bench:
            failure = await bench.load()
            assert isinstance(failure, RequestFailed)
            assert (failure.request_id, failure.code) == (1, "insufficient_memory")
            assert "does not fit: 1 MB are lent to the mesh" in failure.message
            assert bench.node.compute.stages == frozenset()

    run(main())


def test_a_load_of_a_model_that_is_not_here_is_refused() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.link.send(LoadStage(7, replace(key(WHOLE), digest=Digest("f" * 64))))
            failure = await bench.link.receive()
            assert isinstance(failure, RequestFailed)
            assert (failure.request_id, failure.code) == (7, "model_not_pulled")

    run(main())


def test_a_span_beyond_the_models_layers_is_refused() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            failure = await bench.load(Span(6, 13))
            assert isinstance(failure, RequestFailed)
            assert failure.code == "bad_request"
            assert "tiny has 12 layers; [6, 13) is not among them" in failure.message
            assert isinstance(await bench.load(), StageLoaded)

    run(main())


def test_idle_stages_make_room_for_another() -> None:
    async def main() -> None:
        async with a_bench(max(weights(HALF), weights(OTHER_HALF)) + 10 * KB) as bench:
            for span in (HALF, OTHER_HALF, HALF):
                await asyncio.sleep(2)  # what was loaded just now stays until it could be used
                assert await bench.load(span) == StageLoaded(1, weights(span))
                assert bench.node.compute.stages == {key(span)}
                assert [stage.key for stage in (await bench.status()).stages] == [key(span)]

    run(main())


def test_a_stage_that_was_just_loaded_is_not_taken_away_by_somebody_who_wants_another_one() -> None:
    """Two gateways that want different stages in one room would else load them in turn, and use neither."""

    async def main() -> None:
        async with a_bench(max(weights(HALF), weights(OTHER_HALF)) + 10 * KB) as bench:
            await bench.load(HALF)
            failure = await bench.load(OTHER_HALF)
            assert isinstance(failure, RequestFailed)
            assert failure.code == "busy"
            assert bench.node.compute.stages == {key(HALF)}

    run(main())


def test_idle_stages_make_room_for_a_cache() -> None:
    """A stage of yesterday's plan must not turn away the answers of today's."""

    async def main() -> None:
        async with a_bench(weights(WHOLE) + weights(HALF) + CACHE_BYTES - 1) as bench:
            await bench.load(HALF)
            await bench.load(WHOLE)
            assert bench.node.compute.stages == {key(HALF), key(WHOLE)}
            await asyncio.sleep(2)
            assert await bench.serves()
            assert bench.node.compute.stages == {key(WHOLE)}

    run(main())


def test_a_stage_in_use_is_not_evicted() -> None:
    async def main() -> None:
        async with a_bench(weights(WHOLE) + 2 * CACHE_BYTES) as bench:
            await bench.load()
            await bench.say(bench.opening())
            failure = await bench.load(HALF)
            assert isinstance(failure, RequestFailed)
            assert failure.code == "busy"
            assert len(await bench.say(a_frame())) == 1

    run(main())


def test_frames_of_a_session_that_was_refused_add_nothing_to_the_reason() -> None:
    """They are under way already, and their sender must not hear of them before the gateway hears why."""

    async def main() -> None:
        async with a_bench(weights(WHOLE) + CACHE_BYTES) as bench:
            await bench.load()
            await bench.say(bench.opening())
            (failure,) = await bench.say(bench.opening(OTHER), replace(a_frame(), session_id=OTHER))
            assert isinstance(failure, SessionFailed)
            assert failure.code == "busy"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await bench.link.receive()
            await bench.say(CloseSession(OURS, 0))
            assert await bench.serves(LATER)

    run(main())


def test_a_cache_that_finds_no_room_says_busy_and_gets_it_later() -> None:
    async def main() -> None:
        async with a_bench(weights(WHOLE) + CACHE_BYTES) as bench:
            await bench.load()
            assert await bench.say(bench.opening()) == []
            (failure,) = await bench.say(bench.opening(OTHER))
            assert isinstance(failure, SessionFailed)
            assert (failure.session_id, failure.code) == (OTHER, "busy")
            await bench.say(CloseSession(OURS, 0))
            assert await bench.serves(LATER)

    run(main())


class Clumsy(TokenFunctionCompute):
    """Stumbles over some frames and loads."""

    def __init__(self) -> None:
        super().__init__(TINY)
        self.num_loads = 0
        self.stumbles_in_load = False
        self.stumbles_in_open = False

    async def load(self, key: StageKey) -> int:
        self.num_loads += 1
        await asyncio.sleep(1)
        if self.stumbles_in_load:
            raise ZeroDivisionError("over nothing")
        return await super().load(key)

    async def open(
        self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None
    ) -> int:
        if self.stumbles_in_open:
            raise ZeroDivisionError("over nothing")
        return await super().open(cache, context, sampling, prefix)

    async def run(self, steps: Sequence[Step]) -> list[StepResult]:
        if any(step.payload == TokenIds((66,)) for step in steps):
            raise ZeroDivisionError("over nothing")
        return await super().run(steps)


def test_an_unexpected_error_fails_one_session_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with a_bench(compute=Clumsy()) as bench:
            await bench.load()
            await bench.say(bench.opening(), bench.opening(OTHER))
            (failure,) = await bench.say(a_frame(payload=TokenIds((66,))))
            assert isinstance(failure, SessionFailed)
            assert (failure.session_id, failure.code) == (OURS, "internal")
            assert "ZeroDivisionError: over nothing; the node's log has more" in failure.message
            (token,) = await bench.say(replace(a_frame(), session_id=OTHER))
            assert isinstance(token, Token)
            assert not bench.node.task.done()

    run(main())
    assert "Traceback" in caplog.text


def test_an_unexpected_error_in_loading_fails_that_load_and_takes_no_memory() -> None:
    async def main() -> None:
        compute = Clumsy()
        async with a_bench(compute=compute) as bench:
            compute.stumbles_in_load = True
            failure = await bench.load()
            assert isinstance(failure, RequestFailed)
            assert failure.code == "internal"
            assert (await bench.status()).used_bytes == 0
            compute.stumbles_in_load = False
            assert await bench.load() == StageLoaded(1, weights(WHOLE))

    run(main())


def test_two_who_want_one_stage_have_it_loaded_once() -> None:
    async def main() -> None:
        compute = Clumsy()
        async with a_bench(compute=compute) as bench:
            for request_id in (1, 2):
                await bench.link.send(LoadStage(request_id, key(WHOLE)))
            answers = [await bench.link.receive() for _ in range(2)]
            assert answers == [StageLoaded(1, weights(WHOLE)), StageLoaded(2, weights(WHOLE))]
            assert compute.num_loads == 1

    run(main())


def test_a_stage_that_is_still_loading_is_neither_used_nor_evicted() -> None:
    async def main() -> None:
        async with a_bench(weights(WHOLE) + weights(HALF) + CACHE_BYTES - 1, Clumsy()) as bench:
            await bench.load(WHOLE)
            await bench.link.send(LoadStage(2, key(HALF)))
            await bench.link.send(bench.opening(OTHER, span=HALF))
            await bench.link.send(bench.opening())
            assert await bench.link.receive() == StageLoaded(2, weights(HALF))
            failures = [m for m in bench.gateway.heard if isinstance(m, SessionFailed)]
            assert [failure.code for failure in failures] == ["stage_not_loaded", "busy"]
            assert bench.node.compute.stages == {key(WHOLE), key(HALF)}

    run(main())


def test_loading_does_not_hold_up_sessions() -> None:
    async def main() -> None:
        async with a_bench(compute=Clumsy()) as bench:
            await bench.load()
            await bench.say(bench.opening())
            await bench.link.send(LoadStage(2, key(HALF)))
            await bench.link.send(a_frame())
            await asyncio.sleep(0.1)
            assert bench.gateway.heard != []
            assert key(HALF) not in bench.node.compute.stages

    run(main())


def test_a_session_whose_link_closes_is_kept_for_a_while_and_then_freed() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.load()
            await bench.say(bench.opening(), a_frame())
            await bench.link.close()
            await asyncio.sleep(LINGER_S - 0.1)
            assert bench.node.num_open == 1
            await asyncio.sleep(0.7)
            assert bench.node.num_open == 0
            assert (await bench.status()).num_sessions == 0

    run(main())


def test_a_session_that_another_gateway_takes_up_in_time_is_kept() -> None:
    async def main() -> None:
        async with a_bench() as bench, listening(bench.home.network, "10.0.0.51") as other:
            await bench.load()
            (token,) = await bench.say(bench.opening(), a_frame())
            await bench.link.close()
            await asyncio.sleep(LINGER_S - 0.1)
            link = await bench.home.link(bench.node.record)
            await link.send(replace(bench.opening(epoch=2**16, known=3), gateway=other.address))
            assert await link.receive() == Resume(OURS, 2**16, 0, 3, 3)
            await asyncio.sleep(30)
            assert isinstance(token, Token)
            assert [m for m in other.heard if isinstance(m, Token)] == [replace(token, epoch=2**16)]
            assert bench.node.num_open == 1
            await link.send(CloseSession(OURS, 0))  # by the gateway before, which has woken up
            await asyncio.sleep(1)
            assert bench.node.num_open == 1
            await link.close()

    run(main())


def test_a_session_whose_link_closes_before_its_turn_is_freed_too() -> None:
    async def main() -> None:
        async with a_bench(compute=TokenFunctionCompute(TINY, step_s=1.0)) as bench:
            await bench.load()
            await bench.say(bench.opening())
            await bench.link.send(a_frame())  # keeps the processor for a second
            other_link = await bench.home.link(bench.node.record)
            await other_link.send(bench.opening(OTHER))
            await other_link.close()
            await asyncio.sleep(1 + LINGER_S + 1)
            assert bench.node.num_open == 1
            assert await bench.say(CloseSession(OURS, 0)) == []
            assert bench.node.num_open == 0

    run(main())


def test_sessions_are_freed_when_their_gateway_is_lost_though_their_link_stays() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.load()
            car = await bench.home.start("car")
            await asyncio.sleep(1)
            opening = replace(bench.opening(), gateway=car.record.address, gateway_id=car.record.node_id)
            await bench.say(opening)
            bench.home.power_cut("car")
            await asyncio.sleep(1)
            assert bench.node.num_open == 1
            await asyncio.sleep(Timing().lost_after_s + LINGER_S)
            assert bench.node.num_open == 0

    run(main())


def test_a_gateway_whose_process_has_ended_is_not_dialled_without_end() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.load()
            nobody = Address("10.0.0.7", 7070)
            await bench.say(replace(bench.opening(), gateway=nobody), a_frame())
            dialled = bench.home.network.host("10.0.0.1").sent
            num_before = sum(num for num, _ in dialled.values())
            await asyncio.sleep(1)
            assert sum(num for num, _ in dialled.values()) - num_before < 100

    run(main())


def test_a_session_that_cannot_get_its_cache_leaves_nothing_behind() -> None:
    async def main() -> None:
        compute = Clumsy()
        async with a_bench(compute=compute) as bench:
            await bench.load()
            compute.stumbles_in_open = True
            (failure,) = await bench.say(bench.opening())
            assert isinstance(failure, SessionFailed)
            assert failure.code == "internal"
            assert (await bench.status()).used_bytes == weights(WHOLE)
            compute.stumbles_in_open = False
            (token,) = await bench.say(bench.opening(epoch=1), a_frame(epoch=1))
            assert isinstance(token, Token)

    run(main())


def test_frames_are_computed_one_at_a_time_in_the_order_they_came() -> None:
    async def main() -> None:
        async with a_bench(compute=TokenFunctionCompute(TINY, step_s=0.1)) as bench:
            await bench.load()
            await bench.say(bench.opening(), bench.opening(OTHER))
            frames = [a_frame(3 * index, TokenIds((1, 2, 3))) for index in range(2)]
            frames.insert(1, replace(a_frame(), session_id=OTHER))
            tokens = await bench.say(*frames)
            places = [(t.session_id, t.position) for t in tokens if isinstance(t, Token)]
            assert places == [(OURS, 3), (OTHER, 3), (OURS, 6)]

    run(main())


def test_a_failure_of_a_session_that_our_own_gateway_gave_up_goes_no_further(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The worker tells its gateway, which is this node and does not know the session any more."""

    async def main() -> None:
        async with a_bench() as bench:
            await bench.load()
            own = replace(bench.opening(), gateway=bench.node.record.address)
            failure = SessionFailed(OURS, 0, bench.node.record.node_id, "stage_lost", "gone")
            assert await bench.say(own) == []
            assert await bench.say(failure) == []
            assert await bench.serves()

    run(main())
    assert caplog.records == []


def test_a_frame_that_is_cut_draws_one_token_behind_its_last_row() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.load()
            opening = replace(bench.opening(), context=256)
            ids = tuple(range(200))
            (token,) = await bench.say(opening, a_frame(payload=TokenIds(ids)))
            assert isinstance(token, Token)
            assert token.position == 200
            whole = reference_tokens(TINY, ids, Sampling(), 1, frozenset())[0]
            assert (token.token,) == whole

    run(main())


def test_hidden_states_of_no_whole_rows_are_refused_though_their_frame_is_cut() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.load(OTHER_HALF)
            opening = replace(bench.opening(span=OTHER_HALF), context=256)
            row = (7).to_bytes(8, "little") + b"\x80\x3f" * 60
            said = await bench.say(opening, a_frame(payload=Hidden(row * 100 + b"123")))
            assert [m.code for m in said if isinstance(m, SessionFailed)] == ["shape_mismatch"]

    run(main())


def test_a_parked_session_that_is_opened_again_begins_with_an_empty_cache_and_has_only_that() -> None:
    async def main() -> None:
        async with a_bench() as bench:
            await bench.load()
            await bench.say(bench.opening(), a_frame(), CloseSession(OURS, 0, is_parked=True))
            status = await bench.status()
            assert (status.num_sessions, status.parked_bytes) == (0, CACHE_BYTES)
            await bench.say(bench.opening(epoch=1, known=3))
            assert await bench.link.receive() == Resume(OURS, 1, 0, 0, 0)
            status = await bench.status()
            assert (status.num_sessions, status.parked_bytes) == (1, 0)
            assert bench.node.compute.num_open == 1

    run(main())


def test_a_session_is_parked_in_the_epoch_of_its_closing_alone() -> None:
    """One of an older epoch was left behind on the way, and one of a newer has another gateway."""

    async def main() -> None:
        async with a_bench() as bench:
            await bench.load()
            await bench.say(bench.opening(epoch=1), a_frame(epoch=1), CloseSession(OURS, 2, is_parked=True))
            assert (await bench.status()).parked_bytes == 0
            late = replace(bench.opening(OTHER), epoch=3)
            await bench.say(late, CloseSession(OTHER, 2, is_parked=True))
            status = await bench.status()
            assert (status.num_sessions, status.parked_bytes) == (1, 0)

    run(main())
