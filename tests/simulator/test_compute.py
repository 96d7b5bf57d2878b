"""The model without weights keeps the rules of the Compute port."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mesh.errors import ContextExceeded, PositionGap, ShapeMismatch, StageNotLoaded, UnknownSession
from mesh.ports import Sampled, Step
from mesh.types import Hidden, Payload, Precision, Sampling, SessionId, Span, StageKey, TokenIds
from simulator.compute import ROW_BYTES, TokenFunctionCompute
from simulator.library import TINY
from simulator.loop import run

OURS = SessionId("0123456789abcdef")
PROMPT = tuple(range(10, 30))


def key(start: int, end: int) -> StageKey:
    return StageKey(TINY.digest, Span(start, end), Precision.INT4)


async def opened(
    spans: Sequence[tuple[int, int]], sampling: Sampling | None = None, context: int = 64
) -> list[TokenFunctionCompute]:
    stages = []
    for start, end in spans:
        compute = TokenFunctionCompute(TINY)
        assert await compute.load(key(start, end)) == TINY.weights_bytes(Span(start, end), Precision.INT4)
        await compute.open(OURS, key(start, end), context, sampling or Sampling())
        stages.append(compute)
    return stages


async def through(stages: list[TokenFunctionCompute], start: int, ids: tuple[int, ...]) -> Sampled:
    payload: Payload = TokenIds(ids)
    for stage in stages:
        result = await stage.run(Step(OURS, start, payload, sample=True))
        if isinstance(result, Hidden):
            payload = result
    assert isinstance(result, Sampled)
    return result


async def answer(
    spans: Sequence[tuple[int, int]], sampling: Sampling | None = None, chunk: int = 100
) -> list[int]:
    stages = await opened(spans, sampling)
    for start in range(0, len(PROMPT), chunk):
        sampled = await through(stages, start, PROMPT[start : start + chunk])
    tokens = [sampled.token]
    while len(tokens) < 8:
        assert sampled.position == len(PROMPT) + len(tokens) - 1
        sampled = await through(stages, sampled.position, (sampled.token,))
        tokens.append(sampled.token)
    return tokens


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.8, seed=3)])
def test_split_and_chunks_change_no_token(sampling: Sampling) -> None:
    async def main() -> None:
        whole = await answer([(0, 12)], sampling)
        assert len(set(whole)) > 1
        for spans in ([(0, 5), (5, 12)], [(0, 1), (1, 11), (11, 12)]):
            assert await answer(spans, sampling) == whole
            assert await answer(spans, sampling, chunk=3) == whole

    run(main())


def test_the_seed_counts_only_above_temperature_zero() -> None:
    async def main() -> None:
        greedy = [await answer([(0, 12)], Sampling(seed=seed)) for seed in (1, 2)]
        drawn = [await answer([(0, 12)], Sampling(temperature=0.8, seed=seed)) for seed in (1, 2)]
        assert greedy[0] == greedy[1]
        assert drawn[0] != drawn[1]

    run(main())


@pytest.mark.parametrize("spans", [[(0, 5), (6, 12)], [(0, 6), (5, 12)]])
def test_a_layer_left_out_or_doubled_changes_the_token(spans: list[tuple[int, int]]) -> None:
    async def main() -> None:
        wrong = await through(await opened(spans), 0, PROMPT)
        assert wrong.token != (await answer([(0, 12)]))[0]

    run(main())


def test_a_frame_that_starts_earlier_cuts_the_cache_back() -> None:
    async def main() -> None:
        fresh, used = await opened([(0, 12)]), await opened([(0, 12)])
        await through(used, 0, PROMPT)
        await through(used, len(PROMPT), (1, 2, 3))
        assert await through(used, 5, (7, 8)) == await through(fresh, 0, (*PROMPT[:5], 7, 8))

    run(main())


def test_no_token_is_drawn_where_none_is_asked_for() -> None:
    async def main() -> None:
        (stage,) = await opened([(0, 12)])
        assert await stage.run(Step(OURS, 0, TokenIds((1, 2)), sample=False)) is None

    run(main())


def step(start: int, payload: Payload) -> Step:
    return Step(OURS, start, payload, sample=True)


@pytest.mark.parametrize(
    ("span", "bad", "error", "text"),
    [
        ((0, 12), step(3, TokenIds((1,))), PositionGap, "starts at 3 but the cache ends at 2"),
        ((0, 12), step(2, TokenIds((1,) * 63)), ContextExceeded, "ends at 65 but the cache has 64"),
        ((0, 12), step(2, TokenIds(())), ShapeMismatch, r"layers \[0, 12\) cannot take this TokenIds"),
        ((0, 12), step(2, TokenIds((256,))), ShapeMismatch, "cannot take this TokenIds"),
        ((0, 12), step(2, Hidden(bytes(8))), ShapeMismatch, "cannot take this Hidden"),
        ((0, 12), Step(SessionId("f" * 16), 0, TokenIds((1,)), sample=True), UnknownSession, "f" * 16),
    ],
)
def test_an_impossible_frame_is_refused_and_harms_nothing(
    span: tuple[int, int], bad: Step, error: type[Exception], text: str
) -> None:
    async def main() -> None:
        (harmed,), (whole,) = await opened([span]), await opened([span])
        await harmed.run(step(0, TokenIds((5, 6))))
        await whole.run(step(0, TokenIds((5, 6))))
        with pytest.raises(error, match=text):
            await harmed.run(bad)
        assert await harmed.run(step(2, TokenIds((7,)))) == await whole.run(step(2, TokenIds((7,))))

    run(main())


@pytest.mark.parametrize("data", [b"", bytes(ROW_BYTES - 1), bytes(ROW_BYTES + 1)])
def test_hidden_states_of_a_wrong_size_are_refused(data: bytes) -> None:
    async def main() -> None:
        (stage,) = await opened([(1, 12)])
        with pytest.raises(ShapeMismatch):
            await stage.run(step(0, Hidden(data)))
        with pytest.raises(ShapeMismatch):
            await stage.run(step(0, TokenIds((1,))))

    run(main())


def test_a_stage_must_be_loaded_before_a_session_opens_on_it() -> None:
    async def main() -> None:
        compute = TokenFunctionCompute(TINY)
        with pytest.raises(StageNotLoaded):
            await compute.open(OURS, key(0, 12), 64, Sampling())
        await compute.load(key(0, 12))
        await compute.load(key(0, 12))
        assert compute.stages == {key(0, 12)}
        await compute.unload(key(0, 12))
        assert compute.stages == frozenset()

    run(main())


def test_closing_frees_the_cache_and_may_be_done_twice() -> None:
    async def main() -> None:
        (stage,) = await opened([(0, 12)])
        assert stage.num_open == 1
        await stage.close_session(OURS)
        await stage.close_session(OURS)
        assert stage.num_open == 0
        with pytest.raises(UnknownSession):
            await stage.run(step(0, TokenIds((1,))))

    run(main())
