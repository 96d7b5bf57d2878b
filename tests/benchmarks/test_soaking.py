"""The arithmetic of a soak: what counts as growth, and as left over; who asks what."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from benchmarks.soak import Soaked
from benchmarks.soaking.leftovers import leftovers
from benchmarks.soaking.memory import Sample, growth
from benchmarks.soaking.users import Wishes
from mesh.ports import Pieces
from mesh.types import (
    ChatMessage,
    Device,
    Digest,
    LoadedStage,
    NodeState,
    Precision,
    SamplingAdvice,
    Span,
    StageKey,
)
from tests.nodes.shown import device

STAGE = LoadedStage(StageKey(Digest("a" * 64), Span(0, 15), Precision.INT4), 1_000)


class Codec:
    """A word is a token."""

    stop_ids: frozenset[int] = frozenset()
    thinks = False
    vocabulary = "words"
    advice: SamplingAdvice | None = None

    def encode_chat(self, messages: Sequence[ChatMessage]) -> tuple[int, ...]:
        return tuple(range(len(messages[0].content.split()) + 4))

    def pieces(self) -> Pieces:
        raise NotImplementedError

    def opens_thinking(self, prompt: Sequence[int]) -> bool:
        raise NotImplementedError


def samples(*megabytes: int, booked: int = 0, every_s: float = 60.0) -> list[Sample]:
    return [
        Sample(at * every_s, (value + booked) * 1_000_000, booked * 1_000_000)
        for at, value in enumerate(megabytes)
    ]


def test_memory_that_comes_and_goes_is_flat() -> None:
    one = growth(samples(*[100, 140, 90] * 40), warm_s=1800)
    assert (one.share, one.is_flat) == (0, True)


@pytest.mark.parametrize(("grown", "is_flat"), [(102, True), (103, False)])
def test_three_percent_is_too_much(grown: int, is_flat: bool) -> None:
    assert growth(samples(*[100] * 30, *[grown] * 30), warm_s=0).is_flat is is_flat


def test_what_is_booked_may_grow_for_it_is_bounded_by_its_owner() -> None:
    before, after = samples(*[100] * 30), samples(*[100] * 60, booked=900)[30:]
    assert growth([*before, *after], warm_s=0).is_flat
    leaking = samples(*[150] * 60, booked=900)[30:]
    assert not growth([*before, *leaking], warm_s=0).is_flat


def test_what_grows_in_the_warm_up_does_not_count() -> None:
    assert growth(samples(*range(50), *[100] * 50), warm_s=3000).share == 0


@pytest.mark.parametrize(("grown", "is_flat"), [(119, True), (121, False)])
def test_within_minutes_an_allocators_swings_are_borne(grown: int, is_flat: bool) -> None:
    assert growth(samples(*[100] * 30, *[grown] * 30, every_s=2), warm_s=0).is_flat is is_flat


def test_without_a_sample_after_the_warm_up_nothing_can_be_said() -> None:
    with pytest.raises(ValueError, match="no sample after the warm-up of 5 s"):
        growth(samples(1, 2, every_s=1), warm_s=5)


def holding(used_bytes: int, *, parked_bytes: int = 0, num_sessions: int = 0) -> Device:
    one = device("tv")
    assert one.status is not None
    status = replace(
        one.status,
        stages=(STAGE,),
        used_bytes=used_bytes,
        parked_bytes=parked_bytes,
        num_sessions=num_sessions,
    )
    return replace(one, status=status)


def test_weights_and_parked_caches_are_not_left_over() -> None:
    assert leftovers([holding(1_000), holding(1_300, parked_bytes=300)]) == []


def test_sessions_and_all_other_bytes_are() -> None:
    assert leftovers([holding(1_300, parked_bytes=200, num_sessions=2)]) == [
        "tv has 2 sessions",
        "tv holds 100 bytes beside weights and parked caches",
    ]


def test_a_device_that_is_gone_is_told() -> None:
    assert leftovers([replace(holding(1_000), state=NodeState.LOST)]) == ["tv is lost"]


def test_the_same_seed_asks_the_same_and_everything_occurs() -> None:
    one, other = (Wishes(Codec(), random.Random(3)) for _ in range(2))
    wishes = [one.next() for _ in range(200)]
    assert wishes == [other.next() for _ in range(200)]
    assert len({wish.prompt for wish in wishes}) < 190
    assert 20 < sum(wish.most_tokens is not None for wish in wishes) < 80
    assert 5 < sum(wish.most_s is not None for wish in wishes) < 40
    lengths = [len(wish.prompt.split()) + 4 for wish in wishes]
    assert min(lengths) < 50 < 500 < max(lengths) <= 700


def test_a_soak_complains_of_everything_that_does_not_hold_once() -> None:
    grown = samples(*[100] * 30, *[120] * 30)
    soaked = Soaked(samples={"tv": grown}, left=["tv has 2 sessions"], warm_s=0.0)
    soaked.tally.errors = ["stalled: no token came"] * 3
    assert soaked.complaints() == [
        "an answer failed: stalled: no token came",
        "left over: tv has 2 sessions",
        "tv's memory beside its books grew by 20.0% of all that it had",
    ]


def test_a_soak_that_was_never_warm_says_nothing_of_memory() -> None:
    soaked = Soaked(samples={"tv": samples(*[100] * 30, *[120] * 30)})
    soaked.tally.num_answers, soaked.tally.num_given_up = 40, 39
    assert soaked.complaints() == ["too few answers to warm up: 79 of 80"]
