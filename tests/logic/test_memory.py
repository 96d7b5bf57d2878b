"""The books of a node's memory never show more than the budget, whatever is asked of them."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mesh.errors import Busy, InsufficientMemory
from mesh.logic.memory import MemoryLedger
from mesh.types import CacheKey, Digest, LoadedStage, Precision, SessionId, Span, StageKey

MB = 1_000_000


def key(number: int) -> StageKey:
    return StageKey(Digest("0" * 64), Span(number, number + 1), Precision.INT4)


def cache(session: int, stage: StageKey) -> CacheKey:
    return CacheKey(SessionId(f"{session:016x}"), stage)


def ledger_with(*sizes: int, budget: int = 100 * MB) -> MemoryLedger:
    ledger = MemoryLedger(budget)
    for number, size in enumerate(sizes):
        ledger.book_stage(key(number), size * MB)
        ledger.stage_arrived(key(number))
    return ledger


def stages(ledger: MemoryLedger) -> list[StageKey]:
    return [stage.key for stage in ledger.stages]


def test_what_is_booked_is_announced() -> None:
    ledger = ledger_with(40, 20)
    ledger.book_cache(cache(0, key(0)), 5 * MB)
    assert ledger.used_bytes == 65 * MB
    assert ledger.num_sessions == 1
    assert set(ledger.stages) == {LoadedStage(key(0), 40 * MB), LoadedStage(key(1), 20 * MB)}


def test_two_caches_of_one_session_are_one_session() -> None:
    ledger = ledger_with(10, 10)
    ledger.book_cache(cache(0, key(0)), 5 * MB)
    ledger.book_cache(cache(0, key(1)), 6 * MB)
    assert (ledger.num_sessions, ledger.used_bytes) == (1, 31 * MB)
    ledger.drop_cache(cache(0, key(0)))
    assert (ledger.num_sessions, ledger.used_bytes) == (1, 26 * MB)


def test_a_stage_that_fits_to_the_last_byte_evicts_nothing() -> None:
    ledger = ledger_with(40, 20)
    assert ledger.book_stage(key(2), 40 * MB) == []
    assert ledger.used_bytes == ledger.budget_bytes


def test_only_as_many_idle_stages_go_as_must_the_least_recently_used_first() -> None:
    ledger = ledger_with(30, 30, 30)
    ledger.book_cache(cache(0, key(0)), 1 * MB)
    ledger.drop_cache(cache(0, key(0)))  # used last, so it goes last
    assert ledger.book_stage(key(3), 40 * MB) == [key(1)]
    assert ledger.book_stage(key(4), 60 * MB) == [key(2), key(0)]


def test_stages_in_use_are_never_evicted() -> None:
    ledger = ledger_with(30, 30)
    ledger.book_cache(cache(0, key(0)), 10 * MB)
    with pytest.raises(Busy, match=r"a stage of 61 MB does not fit: 100 MB .* 70 MB of them"):
        ledger.book_stage(key(2), 61 * MB)
    assert ledger.book_stage(key(2), 60 * MB) == [key(1)]


def test_a_cache_takes_the_room_of_idle_stages_but_not_of_its_own() -> None:
    """Else a stage of an old plan, which nobody needs, would turn every answer away for ever."""
    ledger = ledger_with(40, 50)
    assert ledger.book_cache(cache(0, key(1)), 20 * MB) == [key(0)]
    with pytest.raises(Busy, match=r"a cache of 31 MB does not fit .* 30 MB are free"):
        ledger.book_cache(cache(1, key(1)), 31 * MB)


def test_a_stage_on_its_way_is_not_there_yet_and_not_evicted() -> None:
    ledger = ledger_with(40)
    ledger.book_stage(key(1), 50 * MB)
    assert not ledger.has_stage(key(1))
    with pytest.raises(Busy):
        ledger.book_cache(cache(0, key(0)), 20 * MB)
    ledger.stage_arrived(key(1))
    assert ledger.has_stage(key(1))
    assert ledger.book_cache(cache(0, key(0)), 20 * MB) == [key(1)]
    assert not ledger.has_stage(key(1))


def test_a_stage_that_could_not_be_loaded_leaves_its_room() -> None:
    ledger = ledger_with()
    ledger.book_stage(key(0), 100 * MB)
    ledger.drop_stage(key(0))
    assert ledger.used_bytes == 0
    ledger.book_stage(key(1), 100 * MB)
    ledger.stage_arrived(key(1))
    assert ledger.has_stage(key(1))


def test_without_a_budget_nothing_fits() -> None:
    with pytest.raises(InsufficientMemory):
        MemoryLedger(0).book_stage(key(0), 1)


SIZES = st.integers(0, 60)


class AnyCalls(RuleBasedStateMachine):
    """Whatever is booked and dropped, as the worker may: a stage once, a cache on a stage that is there."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = MemoryLedger(100)
        self.caches: set[CacheKey] = set()
        self.last_used: list[StageKey] = []

    def books(self) -> tuple[object, ...]:
        return self.ledger.stages, self.ledger.used_bytes, self.ledger.num_sessions

    def in_use(self) -> set[StageKey]:
        return {named.stage for named in self.caches}

    def check_evictions(self, doomed: list[StageKey], before: list[StageKey]) -> None:
        assert not set(doomed) & self.in_use()
        idle = [k for k in self.last_used if k in before and k not in self.in_use()]
        assert doomed == [k for k in idle if k in doomed]
        for survivor in idle:  # nobody more recently used went before it
            if survivor in stages(self.ledger) and survivor != self.spared:
                assert all(idle.index(k) < idle.index(survivor) for k in doomed)

    @rule(number=st.integers(0, 5), size=SIZES)
    def book_stage(self, number: int, size: int) -> None:
        if key(number) in stages(self.ledger):
            return
        before, books = stages(self.ledger), self.books()
        self.spared: StageKey | None = None
        try:
            doomed = self.ledger.book_stage(key(number), size)
        except (InsufficientMemory, Busy):
            assert self.books() == books
            return
        self.check_evictions(doomed, before)
        self.ledger.stage_arrived(key(number))
        self.last_used = [k for k in self.last_used if k != key(number)] + [key(number)]

    @precondition(lambda self: self.ledger.stages)
    @rule(number=st.integers(0, 9), place=st.integers(0, 9), size=SIZES)
    def book_cache(self, number: int, place: int, size: int) -> None:
        before, books = stages(self.ledger), self.books()
        chosen = before[place % len(before)]
        named = cache(number, chosen)
        if named in self.caches:
            return
        self.spared = chosen
        try:
            doomed = self.ledger.book_cache(named, size)
        except Busy:
            assert self.books() == books
            return
        assert chosen in stages(self.ledger)
        self.check_evictions(doomed, before)
        self.caches.add(named)
        self.last_used = [k for k in self.last_used if k != chosen] + [chosen]

    @rule(number=st.integers(0, 9), place=st.integers(0, 5))
    def drop_cache(self, number: int, place: int) -> None:
        self.ledger.drop_cache(cache(number, key(place)))
        self.caches.discard(cache(number, key(place)))

    @invariant()
    def the_budget_holds(self) -> None:
        assert 0 <= self.ledger.used_bytes <= self.ledger.budget_bytes
        assert self.ledger.num_sessions == len({named.session_id for named in self.caches})
        assert self.in_use() <= set(stages(self.ledger))


AnyCalls.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAnyCalls = pytest.mark.slow(AnyCalls.TestCase)
