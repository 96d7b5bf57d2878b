"""The model without weights keeps the rules of the Compute port, and notices whatever goes wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest

from mesh.errors import (
    ContextExceeded,
    ModelNotPulled,
    PositionGap,
    ShapeMismatch,
    StageNotLoaded,
    UnknownSession,
)
from mesh.logic.session import Session
from mesh.messages import Token
from mesh.ports import Prefix, Sampled, Step
from mesh.types import (
    CacheKey,
    Digest,
    FinishReason,
    Hidden,
    Payload,
    Precision,
    Sampling,
    SessionId,
    Span,
    StageKey,
    TokenIds,
)
from simulator.profiles import model_spec
from simulator.token_function import TokenFunction, reference_tokens

TINY, MIMO = model_spec("tiny"), model_spec("mimo:7b-rl")
OURS = SessionId("0123456789abcdef")
PROMPT = tuple(range(10, 30))
NEVER: frozenset[int] = frozenset()
ROW_BYTES = TINY.row_bytes(Precision.INT4)
GREEDY = Sampling()
DRAWN = Sampling(temperature=0.8, seed=3)


def key(start: int, end: int) -> StageKey:
    return StageKey(TINY.digest, Span(start, end), Precision.INT4)


def cache(start: int = 0, end: int = 12) -> CacheKey:
    return CacheKey(OURS, key(start, end))


class Part:
    """A span on a device of its own, with one session open on it."""

    def __init__(self, span: tuple[int, int], context: int, sampling: Sampling) -> None:
        self.maths, self.cache = TokenFunction([TINY]), cache(*span)
        assert self.maths.load(self.cache.stage) == TINY.weights_bytes(Span(*span), Precision.INT4)
        self.maths.open(self.cache, context, sampling)

    def run(self, start: int, payload: Payload) -> Hidden | Sampled | None:
        return self.maths.run(Step(self.cache, start, payload, sample=True))


def opened(*spans: tuple[int, int], sampling: Sampling = GREEDY, context: int = 64) -> list[Part]:
    return [Part(span, context, sampling) for span in spans]


def step(start: int, payload: Payload) -> Step:
    return Step(cache(), start, payload, sample=True)


def through(stages: Sequence[Part], start: int, ids: tuple[int, ...]) -> Sampled:
    payload: Payload = TokenIds(ids)
    for stage in stages:
        result = stage.run(start, payload)
        if isinstance(result, Hidden):
            payload = result
    assert isinstance(result, Sampled)
    return result


def hidden(stage: Part, start: int, ids: tuple[int, ...]) -> bytes:
    result = stage.run(start, TokenIds(ids))
    assert isinstance(result, Hidden)
    return result.data


def answer(stages: Sequence[Part], chunk: int = 100) -> tuple[int, ...]:
    for start in range(0, len(PROMPT), chunk):
        sampled = through(stages, start, PROMPT[start : start + chunk])
    tokens = [sampled.token]
    while len(tokens) < 8:
        assert sampled.position == len(PROMPT) + len(tokens) - 1
        sampled = through(stages, sampled.position, (sampled.token,))
        tokens.append(sampled.token)
    return tuple(tokens)


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
@pytest.mark.parametrize("chunk", [3, 100])
@pytest.mark.parametrize("spans", [[(0, 12)], [(0, 5), (5, 12)], [(0, 1), (1, 11), (11, 12)]])
def test_split_and_chunks_give_the_undivided_models_tokens(
    spans: list[tuple[int, int]], chunk: int, sampling: Sampling
) -> None:
    expected, reason = reference_tokens(TINY, PROMPT, sampling, 8, NEVER)
    assert answer(opened(*spans, sampling=sampling), chunk) == expected
    assert reason is FinishReason.LENGTH
    assert len(set(expected)) > 1


@pytest.mark.parametrize("precision", list(Precision))
def test_rows_go_over_the_wire_at_the_models_size(precision: Precision) -> None:
    maths = TokenFunction([MIMO])
    stage = StageKey(MIMO.digest, Span(0, 3), precision)
    maths.load(stage)
    named = CacheKey(OURS, stage)
    maths.open(named, 64, GREEDY)
    size = 4096 * (4 if precision is Precision.F32 else 2)
    rows = maths.run(Step(named, 0, TokenIds((1, 2, 3)), sample=True))
    assert isinstance(rows, Hidden)
    assert len(rows.data) == 3 * size == 3 * MIMO.row_bytes(precision)


@pytest.mark.parametrize("spans", [[(0, 5), (6, 12)], [(0, 6), (5, 12)]])
def test_a_layer_left_out_or_doubled_changes_every_token(spans: list[tuple[int, int]]) -> None:
    right = answer(opened((0, 12)))
    wrong = answer(opened(*spans))
    assert all(a != b for a, b in zip(right, wrong, strict=True))


@pytest.mark.parametrize("spans", [[(1, 2), (2, 3)], [(2, 3), (1, 2)], [(1, 2), (3, 4)], [(4, 5), (2, 3)]])
def test_another_layer_or_another_order_makes_another_row(spans: list[tuple[int, int]]) -> None:
    result: Payload = Hidden(hidden(opened((0, 1))[0], 0, (7,)))
    rows = []
    for way in (spans, [(1, 3)]):
        payload = result
        for stage in opened(*way):
            passed = stage.run(0, payload)
            assert isinstance(passed, Hidden)
            payload = passed
        rows.append(payload)
    assert (rows[0] == rows[1]) == (spans == [(1, 2), (2, 3)])


def test_a_wrong_row_changes_every_row_behind_it() -> None:
    (right,), (wrong,) = opened((0, 5)), opened((0, 5))
    rows = [hidden(stage, 0, (*ids, *PROMPT)) for stage, ids in ((right, (4, 5)), (wrong, (4, 6)))]
    pairs = [
        (rows[0][at : at + ROW_BYTES], rows[1][at : at + ROW_BYTES])
        for at in range(0, len(rows[0]), ROW_BYTES)
    ]
    assert pairs[0][0] == pairs[0][1]
    assert all(a != b for a, b in pairs[1:])


def test_a_row_at_the_wrong_position_changes_the_rows_behind_it() -> None:
    (right,), (wrong,) = opened((0, 5)), opened((0, 5))
    for stage in (right, wrong):
        hidden(stage, 0, PROMPT)
    assert hidden(right, 20, (7,)) != hidden(wrong, 19, (7,))


@pytest.mark.parametrize("at", [0, 3, 7, 8, 9, ROW_BYTES - 1, ROW_BYTES, 2 * ROW_BYTES - 1])
def test_a_bit_turned_anywhere_changes_every_row_behind_it(at: int) -> None:
    first, whole, spoilt = (*opened((0, 5)), *opened((5, 11)), *opened((5, 11)))
    data = hidden(first, 0, (1, 2))
    turned = bytearray(data)
    turned[at] ^= 1
    right, wrong = (stage.run(0, Hidden(sent)) for stage, sent in ((whole, data), (spoilt, bytes(turned))))
    assert isinstance(right, Hidden)
    assert isinstance(wrong, Hidden)
    for start in range(at // ROW_BYTES * ROW_BYTES, 2 * ROW_BYTES, ROW_BYTES):
        assert right.data[start : start + 8] != wrong.data[start : start + 8]


def test_the_seed_counts_only_above_temperature_zero() -> None:
    greedy = [reference_tokens(TINY, PROMPT, Sampling(seed=seed), 8, NEVER) for seed in (1, 2)]
    drawn = [
        reference_tokens(TINY, PROMPT, Sampling(temperature=0.8, seed=seed), 8, NEVER) for seed in (1, 2)
    ]
    assert greedy[0] == greedy[1]
    assert drawn[0] != drawn[1]


def test_models_of_one_shape_but_other_bytes_answer_differently() -> None:
    other = TokenFunction([TINY])
    with pytest.raises(ModelNotPulled, match="ffffffffffff is not on this device"):
        other.load(StageKey(Digest("f" * 64), Span(0, 12), Precision.INT4))
    assert reference_tokens(model_spec("qwen3:8b"), PROMPT, GREEDY, 8, NEVER) != reference_tokens(
        MIMO, PROMPT, GREEDY, 8, NEVER
    )


def test_tokens_come_from_the_whole_vocabulary_alike() -> None:
    tokens, _ = reference_tokens(TINY, PROMPT, GREEDY, 6000, NEVER)
    counts = Counter(tokens)
    assert len(counts) == 256
    assert max(counts.values()) < 3 * 6000 / 256
    assert len(set(pairwise(tokens))) > 5500  # no short cycles
    big, _ = reference_tokens(MIMO, PROMPT, GREEDY, 500, NEVER)
    assert max(big) > 140_000
    assert max(big) < MIMO.vocab_size
    assert len(set(big)) > 490


@pytest.mark.parametrize("max_tokens", [1, 5, 8])
def test_the_reference_ends_as_the_session_does(max_tokens: int) -> None:
    (stage,) = opened((0, 12))
    stop_ids = frozenset({answer(opened((0, 12)))[4]})
    session = Session(OURS, PROMPT, max_tokens, stop_ids)
    frames = session.frames_from(0)
    while True:
        (frame,) = frames
        sampled = stage.run(frame.start, frame.payload)
        assert isinstance(sampled, Sampled)
        accepted = session.accept(Token(OURS, 0, sampled.position, sampled.token))
        assert accepted is not None
        if not (frames := list(session.ask())):
            break
    expected = reference_tokens(TINY, PROMPT, GREEDY, max_tokens, stop_ids)
    assert (session.tokens, accepted.reason) == expected
    assert expected[1] is (FinishReason.STOP if max_tokens > 4 else FinishReason.LENGTH)


def test_a_frame_that_starts_earlier_cuts_the_cache_back() -> None:
    fresh, used = opened((0, 12)), opened((0, 12))
    through(used, 0, PROMPT)
    through(used, len(PROMPT), (1, 2, 3))
    assert through(used, 5, (7, 8)) == through(fresh, 0, (*PROMPT[:5], 7, 8))
    assert through(used, 0, PROMPT) == through(opened((0, 12)), 0, PROMPT)


def test_no_token_is_drawn_where_none_is_asked_for() -> None:
    (stage,) = opened((0, 12))
    assert stage.maths.run(Step(cache(), 0, TokenIds((1, 2)), sample=False)) is None


@pytest.mark.parametrize(
    ("bad", "error", "text"),
    [
        (step(3, TokenIds((1,))), PositionGap, "starts at 3 but the cache ends at 2"),
        (step(2, TokenIds((1,) * 63)), ContextExceeded, "ends at 65 but the cache has 64"),
        (step(2, TokenIds(())), ShapeMismatch, r"layers \[0, 12\) cannot take this TokenIds"),
        (step(2, TokenIds((256,))), ShapeMismatch, "cannot take this TokenIds"),
        (step(2, TokenIds((-1,))), ShapeMismatch, "cannot take this TokenIds"),
        (step(2, Hidden(bytes(ROW_BYTES))), ShapeMismatch, "cannot take this Hidden"),
        (
            Step(CacheKey(SessionId("f" * 16), key(0, 12)), 0, TokenIds((1,)), sample=True),
            UnknownSession,
            "f" * 16,
        ),
    ],
)
def test_an_impossible_frame_is_refused_and_harms_nothing(
    bad: Step, error: type[Exception], text: str
) -> None:
    harmed, whole = opened((0, 12)), opened((0, 12))
    through(harmed, 0, (5, 6))
    through(whole, 0, (5, 6))
    with pytest.raises(error, match=text):
        harmed[0].maths.run(bad)
    assert through(harmed, 2, (7,)) == through(whole, 2, (7,))


@pytest.mark.parametrize("data", [b"", bytes(ROW_BYTES - 1), bytes(ROW_BYTES + 1), bytes(8)])
def test_hidden_states_of_a_wrong_size_are_refused(data: bytes) -> None:
    (stage,) = opened((1, 12))
    with pytest.raises(ShapeMismatch):
        stage.run(0, Hidden(data))
    with pytest.raises(ShapeMismatch):
        stage.run(0, TokenIds((1,)))


def test_a_session_needs_a_loaded_stage_and_ends_when_closed() -> None:
    maths = TokenFunction([TINY])
    with pytest.raises(StageNotLoaded, match=r"layers \[0, 12\) are not loaded"):
        maths.open(cache(), 64, GREEDY)
    maths.load(key(0, 12))
    maths.open(cache(), 64, GREEDY)
    maths.close(cache())
    maths.close(cache())
    with pytest.raises(UnknownSession):
        maths.run(step(0, TokenIds((1,))))
    maths.unload(key(0, 12))
    with pytest.raises(StageNotLoaded):
        maths.open(cache(), 64, GREEDY)


def test_a_long_answer_of_a_deep_model_takes_milliseconds() -> None:
    # 36 layers and 260 positions: 2 ms where it was written; the bound leaves room for busy machines
    began_s = time.process_time()
    reference_tokens(MIMO, tuple(range(60)), GREEDY, 200, NEVER)
    assert time.process_time() - began_s < 0.05


@pytest.mark.parametrize(("wanted", "has"), [(7, 7), (20, 20), (25, 20)])
def test_a_cache_may_begin_like_another_and_goes_on_with_the_same_rows(wanted: int, has: int) -> None:
    (part,) = opened((0, 12), sampling=DRAWN)
    right = part.run(0, TokenIds((*PROMPT, 1, 2)))
    part.run(0, TokenIds(PROMPT))
    other = CacheKey(SessionId("f" * 16), part.cache.stage)
    assert part.maths.open(other, 64, DRAWN, Prefix(part.cache, wanted)) == has
    rest = TokenIds((*PROMPT, 1, 2)[has:])
    assert part.maths.run(Step(other, has, rest, sample=True)) == right
    assert part.run(20, TokenIds((1, 2))) == right  # the source is as it was


def test_a_cache_that_is_to_begin_like_one_that_is_not_there_is_empty() -> None:
    (part,) = opened((0, 12))
    other, gone = (CacheKey(SessionId(letter * 16), part.cache.stage) for letter in "ab")
    assert part.maths.open(other, 64, GREEDY, Prefix(gone, 10)) == 0
