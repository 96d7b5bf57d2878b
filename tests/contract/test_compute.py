"""What every Compute promises: the simulator's token function, and both engines on a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

from mesh.adapters.disk_library import DiskLibrary
from mesh.engines.choosing import EngineName, engine_maker
from mesh.engines.compute import EngineCompute
from mesh.engines.native.kernels import available
from mesh.errors import (
    ContextExceeded,
    ModelNotPulled,
    NotFinite,
    PositionGap,
    ShapeMismatch,
    StageNotLoaded,
    UnknownSession,
)
from mesh.model.families import model_spec
from mesh.model.gguf import GgufFile
from mesh.ports import Compute, Prefix, Sampled, Step, StepResult
from mesh.spec import ModelSpec
from mesh.store.shelf import ModelStore
from mesh.types import (
    CacheKey,
    Digest,
    Hidden,
    Payload,
    Precision,
    Sampling,
    SessionId,
    Span,
    StageKey,
    TokenIds,
)
from simulator.compute import TokenFunctionCompute
from tests.model.tiny import SPEC, write

PROMPT = tuple(token * 37 % SPEC.vocab_size for token in range(1, 61))
DRAWN = Sampling(temperature=1.5, seed=9)


class OneModel(DiskLibrary):
    """A disk with one tiny model."""

    def __init__(self, path: Path) -> None:
        super().__init__(ModelStore(path.parent))
        self._path = path

    async def path_of(self, digest: Digest) -> Path:
        if digest != SPEC.digest:
            raise ModelNotPulled(f"no model with sha256 {digest}")
        return self._path

    async def spec_of(self, digest: Digest) -> ModelSpec:
        with GgufFile.open(await self.path_of(digest)) as file:
            return model_spec(file, "tiny", digest)


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("contract") / "model.gguf")


@pytest.fixture(params=["simulated", "native", "torch"])
async def compute(request: pytest.FixtureRequest, tiny_path: Path) -> AsyncIterator[Compute]:
    if request.param == "simulated":
        yield TokenFunctionCompute(SPEC, step_s=0.0)
        return
    if request.param == "native" and not available():
        pytest.skip("the kernels were not built")
    if request.param == "torch":
        import_module("torch")  # takes seconds, which are no test's
    engines = EngineCompute(OneModel(tiny_path), engine_maker(EngineName(request.param), 1))
    yield engines
    engines.shut_down()


@dataclass(frozen=True, slots=True)
class Open:
    """One session on a loaded stage."""

    compute: Compute
    key: CacheKey

    async def feed(self, start: int, payload: Payload, *, sample: bool = False) -> StepResult:
        (result,) = await self.compute.run([self.step(start, payload, sample=sample)])
        return result

    def step(self, start: int, payload: Payload, *, sample: bool = False) -> Step:
        return Step(self.key, start, payload, sample)


def stage_of(span: Span) -> StageKey:
    return StageKey(SPEC.digest, span, Precision.INT4)


WHOLE, BEGINNING, END = (stage_of(span) for span in (SPEC.whole, Span(0, 1), Span(1, 3)))


async def opened(
    compute: Compute,
    name: str,
    stage: StageKey = WHOLE,
    context: int = 100,
    sampling: Sampling | None = None,
    prefix: Prefix | None = None,
) -> Open:
    await compute.load(stage)
    key = CacheKey(SessionId(name), stage)
    await compute.open(key, context, sampling or Sampling(), prefix)
    return Open(compute, key)


async def rows_of(compute: Compute, count: int) -> bytes:
    """Return what the first layer makes of the prompt's beginning."""
    first = await opened(compute, "rows", BEGINNING)
    result = await first.feed(0, TokenIds(PROMPT[:count]))
    assert isinstance(result, Hidden)
    return result.data


async def test_a_span_is_loaded_once_and_its_bytes_are_those_of_the_plan(compute: Compute) -> None:
    for key in (BEGINNING, END, BEGINNING):
        weights_bytes = await compute.load(key)
        assert 0 < weights_bytes <= SPEC.weights_bytes(key.span, key.precision)


async def test_a_model_that_is_not_here_cannot_be_loaded(compute: Compute) -> None:
    with pytest.raises(ModelNotPulled):
        await compute.load(StageKey(Digest("f" * 64), SPEC.whole, Precision.INT4))


async def test_a_session_opens_only_on_a_stage_that_is_loaded(compute: Compute) -> None:
    cache = CacheKey(SessionId("a"), END)
    with pytest.raises(StageNotLoaded):
        await compute.open(cache, 10, Sampling())
    await compute.load(END)
    assert await compute.open(cache, 10, Sampling()) == 0
    await compute.close(cache)
    await compute.unload(END)
    with pytest.raises(StageNotLoaded):
        await compute.open(cache, 10, Sampling())


async def test_closing_and_unloading_what_is_not_there_does_nothing(compute: Compute) -> None:
    await compute.close(CacheKey(SessionId("nobody"), WHOLE))
    await compute.unload(WHOLE)


async def test_tokens_are_drawn_only_where_they_are_asked_for_and_tell_their_position(
    compute: Compute,
) -> None:
    session = await opened(compute, "a")
    assert await session.feed(0, TokenIds(PROMPT[:7])) is None
    result = await session.feed(7, TokenIds(PROMPT[7:9]), sample=True)
    assert isinstance(result, Sampled)
    assert result.position == 9
    assert 0 <= result.token < SPEC.vocab_size


async def test_a_stage_that_is_not_the_last_gives_a_row_for_each_position(compute: Compute) -> None:
    first = await opened(compute, "a", BEGINNING)
    for start, count in ((0, 1), (1, 5)):
        result = await first.feed(start, TokenIds(PROMPT[start : start + count]), sample=True)
        assert isinstance(result, Hidden)
        assert len(result.data) == count * SPEC.row_bytes(Precision.INT4)


async def answer(session: Open, held: int = 0) -> list[StepResult]:
    """Feed the rest of the prompt, and tokens one by one."""
    results = [await session.feed(held, TokenIds(PROMPT[held:40]), sample=True)]
    results += [await session.feed(at, TokenIds((PROMPT[at],)), sample=True) for at in range(40, 60)]
    return results


@pytest.mark.parametrize("sampling", [Sampling(), DRAWN], ids=["largest", "drawn"])
async def test_two_stages_answer_as_one(compute: Compute, sampling: Sampling) -> None:
    expected = await answer(await opened(compute, "whole", sampling=sampling))
    first = await opened(compute, "split", BEGINNING)
    last = await opened(compute, "split", END, sampling=sampling)
    results: list[StepResult] = []
    for start, end in [(0, 40), *((at, at + 1) for at in range(40, 60))]:
        hidden = await first.feed(start, TokenIds(PROMPT[start:end]))
        assert isinstance(hidden, Hidden)
        results.append(await last.feed(start, hidden, sample=True))
    assert results == expected


async def test_a_batch_of_sessions_gives_each_what_it_gets_alone_in_order(compute: Compute) -> None:
    sizes = {"a": 1, "b": 17, "c": 40, "d": 2, "e": 8}
    alone = []
    for name, size in sizes.items():
        session = await opened(compute, f"alone-{name}", sampling=DRAWN)
        alone.append(await session.feed(0, TokenIds(PROMPT[:size]), sample=True))
        alone.append(await session.feed(size, TokenIds(PROMPT[-size:]), sample=name != "d"))
    together: list[StepResult] = []
    sessions = [await opened(compute, name, sampling=DRAWN) for name in sizes]
    firsts = [
        session.step(0, TokenIds(PROMPT[:size]), sample=True)
        for session, size in zip(sessions, sizes.values(), strict=True)
    ]
    nexts = [
        session.step(size, TokenIds(PROMPT[-size:]), sample=name != "d")
        for session, (name, size) in zip(sessions, sizes.items(), strict=True)
    ]
    for pair in zip(await compute.run(firsts), await compute.run(nexts), strict=True):
        together += pair
    assert together == alone
    assert together[7] is None  # d's second


async def test_no_frames_are_a_batch_without_results(compute: Compute) -> None:
    await compute.load(WHOLE)
    assert await compute.run([]) == []


async def test_what_is_wrong_with_a_frame_is_its_own_result_and_harms_nobody(compute: Compute) -> None:
    good, gap, full, wrong, empty = [
        await opened(compute, name, context=20) for name in ("good", "gap", "full", "wrong", "empty")
    ]
    closed = await opened(compute, "closed")
    await compute.close(closed.key)
    for session in (gap, full, wrong, empty):
        await session.feed(0, TokenIds(PROMPT[:10]))
    results = await compute.run(
        [
            gap.step(11, TokenIds((1,)), sample=True),
            good.step(0, TokenIds(PROMPT[:10]), sample=True),
            full.step(10, TokenIds(PROMPT[:11])),
            closed.step(0, TokenIds((1,))),
            wrong.step(10, TokenIds((1, SPEC.vocab_size))),
            empty.step(10, TokenIds(())),
        ]
    )
    kinds = [PositionGap, Sampled, ContextExceeded, UnknownSession, ShapeMismatch, ShapeMismatch]
    assert [type(result) for result in results] == kinds
    assert "11" in str(results[0])
    assert "10" in str(results[0])
    expected = await good.feed(10, TokenIds(PROMPT[10:15]), sample=True)
    for session in (gap, full, wrong, empty):
        assert await session.feed(10, TokenIds(PROMPT[10:15]), sample=True) == expected


@pytest.mark.parametrize("missing", [1, 64])
async def test_hidden_states_that_are_no_whole_rows_are_refused(compute: Compute, missing: int) -> None:
    data = await rows_of(compute, 2)
    last = await opened(compute, "a", END)
    results = [
        await last.feed(0, payload, sample=True)
        for payload in (Hidden(data[:-missing]), Hidden(b""), TokenIds(PROMPT[:2]), Hidden(data))
    ]
    assert [type(result) for result in results] == [ShapeMismatch] * 3 + [Sampled]


async def test_a_first_stage_refuses_hidden_states_and_tokens_below_zero(compute: Compute) -> None:
    data = await rows_of(compute, 2)
    first = await opened(compute, "a", BEGINNING)
    assert isinstance(await first.feed(0, Hidden(data)), ShapeMismatch)
    assert isinstance(await first.feed(0, TokenIds((1, -1))), ShapeMismatch)


async def test_a_frame_cuts_the_cache_back_to_its_start(compute: Compute) -> None:
    expected = await answer(await opened(compute, "straight"), 0)
    session = await opened(compute, "astray")
    await session.feed(0, TokenIds(PROMPT[:25] + PROMPT[:30]))
    assert await answer(session, 25) == expected
    assert isinstance(await session.feed(61, TokenIds((1,))), PositionGap)
    assert await answer(session) == expected


async def test_a_session_of_the_same_name_begins_anew(compute: Compute) -> None:
    await (await opened(compute, "a")).feed(0, TokenIds(PROMPT[:25]))
    again = await opened(compute, "a")
    assert isinstance(await again.feed(1, TokenIds((1,))), PositionGap)
    assert await answer(again) == await answer(await opened(compute, "b"))


async def test_hidden_states_that_are_no_numbers_end_their_session_alone(compute: Compute) -> None:
    if isinstance(compute, TokenFunctionCompute):
        pytest.skip("its rows are no numbers in the first place")
    data = await rows_of(compute, 5)
    sessions = [await opened(compute, name, END) for name in "abc"]
    expected = await sessions[0].feed(0, Hidden(data), sample=True)
    payloads = [Hidden(data), Hidden(data[:200] + b"\xc0\x7f" + data[202:]), Hidden(data)]
    frames = zip(sessions, payloads, strict=True)
    results = await compute.run([session.step(0, payload, sample=True) for session, payload in frames])
    assert results[0] == results[2] == expected
    assert isinstance(results[1], NotFinite)
    assert "of tiny made numbers that are none" in str(results[1])
    assert await sessions[1].feed(0, Hidden(data), sample=True) == expected


@pytest.mark.parametrize(
    ("wanted", "has", "context"), [(1, 1, 100), (17, 17, 100), (99, 33, 100), (30, 20, 20)]
)
async def test_a_copied_beginning_is_as_long_as_wanted_there_and_fitting(
    compute: Compute, wanted: int, has: int, context: int
) -> None:
    source = await opened(compute, "source")
    await source.feed(0, TokenIds(PROMPT[:33]))
    copy = CacheKey(SessionId("copy"), WHOLE)
    assert await compute.open(copy, context, Sampling(), Prefix(source.key, wanted)) == has
    (beyond,) = await compute.run([Step(copy, has + 1, TokenIds((1,)), sample=False)])
    assert isinstance(beyond, PositionGap)


async def test_a_copied_beginning_goes_on_as_its_own_whatever_becomes_of_its_source(compute: Compute) -> None:
    expected = await answer(await opened(compute, "straight"))
    source = await opened(compute, "source")
    await source.feed(0, TokenIds(PROMPT[:40]))
    copies = [await opened(compute, name, prefix=Prefix(source.key, 33)) for name in ("first", "second")]
    await source.feed(5, TokenIds(PROMPT[:40]))
    assert await answer(copies[0], 33) == expected
    await compute.close(source.key)
    assert await answer(copies[1], 33) == expected


async def test_a_source_stays_as_it_is(compute: Compute) -> None:
    expected = await answer(await opened(compute, "straight"))
    source = await opened(compute, "source")
    await source.feed(0, TokenIds(PROMPT[:20]))
    copy = await opened(compute, "copy", prefix=Prefix(source.key, 20))
    await copy.feed(20, TokenIds(PROMPT[:20]))
    assert await answer(source, 20) == expected


async def test_without_its_source_a_session_begins_at_nothing(compute: Compute) -> None:
    gone = await opened(compute, "gone")
    await gone.feed(0, TokenIds(PROMPT[:9]))
    await compute.close(gone.key)
    session = CacheKey(SessionId("late"), WHOLE)
    assert await compute.open(session, 100, Sampling(), Prefix(gone.key, 9)) == 0
    assert await answer(Open(compute, session)) == await answer(await opened(compute, "straight"))


async def test_a_batch_whose_caller_gave_up_may_be_run_again(compute: Compute) -> None:
    expected = await answer(await opened(compute, "straight"))
    session = await opened(compute, "hasty")
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(session.feed(0, TokenIds(PROMPT[:40]), sample=True))
        await asyncio.sleep(0)
        task.cancel()
    assert await answer(session) == expected
