"""The books of a node's memory never show more than the budget, whatever is asked of them."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mesh.errors import Busy, InsufficientMemory
from mesh.logic.memory import Doomed, MemoryLedger
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
        ledger.stage_aged(key(number))
    return ledger


def idle(*numbers: int) -> Doomed:
    """That these stages are given up, and no cache."""
    return Doomed(stages=tuple(key(number) for number in numbers))


def ledger_with_parked(*sizes: int, budget: int = 100 * MB) -> MemoryLedger:
    """A stage of 10 MB, and parked caches on it, the first of them parked first."""
    ledger = ledger_with(10, budget=budget)
    for session, size in enumerate(sizes):
        ledger.book_cache(cache(session, key(0)), size * MB)
        assert ledger.park_cache(cache(session, key(0))) == Doomed()
    return ledger


def parked(*sessions: int) -> tuple[CacheKey, ...]:
    return tuple(cache(session, key(0)) for session in sessions)


def stages(ledger: MemoryLedger) -> list[StageKey]:
    return [stage.key for stage in ledger.stages]


def test_what_is_booked_is_announced() -> None:
    ledger = ledger_with(40, 20)
    ledger.book_cache(cache(0, key(0)), 5 * MB)
    assert ledger.used_bytes == 65 * MB
    assert ledger.num_sessions == 1
    assert set(ledger.stages) == {
        LoadedStage(key(0), 40 * MB, is_in_use=True),
        LoadedStage(key(1), 20 * MB),
    }


def test_two_caches_of_one_session_are_one_session() -> None:
    ledger = ledger_with(10, 10)
    ledger.book_cache(cache(0, key(0)), 5 * MB)
    ledger.book_cache(cache(0, key(1)), 6 * MB)
    assert (ledger.num_sessions, ledger.used_bytes) == (1, 31 * MB)
    ledger.drop_cache(cache(0, key(0)))
    assert (ledger.num_sessions, ledger.used_bytes) == (1, 26 * MB)


def test_a_stage_that_fits_to_the_last_byte_evicts_nothing() -> None:
    ledger = ledger_with(40, 20)
    assert ledger.book_stage(key(2), 40 * MB) == Doomed()
    assert ledger.used_bytes == ledger.budget_bytes


def test_only_as_many_idle_stages_go_as_must_the_least_recently_used_first() -> None:
    ledger = ledger_with(30, 30, 30)
    ledger.book_cache(cache(0, key(0)), 1 * MB)
    ledger.drop_cache(cache(0, key(0)))  # used last, so it goes last
    assert ledger.book_stage(key(3), 40 * MB) == idle(1)
    assert ledger.book_stage(key(4), 60 * MB) == idle(2, 0)


def test_stages_in_use_are_never_evicted() -> None:
    ledger = ledger_with(30, 30)
    ledger.book_cache(cache(0, key(0)), 10 * MB)
    with pytest.raises(Busy, match=r"a stage of 61 MB does not fit: 100 MB .* 70 MB of them"):
        ledger.book_stage(key(2), 61 * MB)
    assert ledger.book_stage(key(2), 60 * MB) == idle(1)


def test_a_cache_takes_the_room_of_idle_stages_but_not_of_its_own() -> None:
    """Else a stage of an old plan, which nobody needs, would turn every answer away for ever."""
    ledger = ledger_with(40, 50)
    assert ledger.book_cache(cache(0, key(1)), 20 * MB) == idle(0)
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
    ledger.stage_aged(key(1))
    assert ledger.book_cache(cache(0, key(0)), 20 * MB) == idle(1)
    assert not ledger.has_stage(key(1))


def test_a_stage_that_could_not_be_loaded_leaves_its_room() -> None:
    ledger = ledger_with()
    ledger.book_stage(key(0), 100 * MB)
    ledger.drop_stage(key(0))
    assert ledger.used_bytes == 0
    ledger.book_stage(key(1), 100 * MB)
    ledger.stage_arrived(key(1))
    assert ledger.has_stage(key(1))


def test_a_parked_cache_counts_as_used_and_as_no_session() -> None:
    ledger = ledger_with_parked(20, 30)
    assert (ledger.used_bytes, ledger.parked_bytes, ledger.num_sessions) == (60 * MB, 50 * MB, 0)
    assert ledger.parked == parked(0, 1)
    ledger.drop_cache(cache(0, key(0)))
    assert (ledger.used_bytes, ledger.parked) == (40 * MB, parked(1))


def test_a_stage_that_has_just_arrived_makes_no_room_until_it_could_be_used() -> None:
    ledger = MemoryLedger(100 * MB)
    ledger.book_stage(key(0), 60 * MB)
    ledger.stage_arrived(key(0))
    with pytest.raises(Busy):
        ledger.book_stage(key(1), 60 * MB)
    ledger.stage_aged(key(0))
    assert ledger.book_stage(key(1), 60 * MB) == idle(0)


def test_parked_caches_make_room_before_stages_do_the_least_recently_used_first() -> None:
    ledger = ledger_with_parked(20, 20, 20)
    ledger.book_stage(key(1), 10 * MB)
    ledger.stage_arrived(key(1))
    ledger.stage_aged(key(1))
    assert ledger.book_cache(cache(8, key(0)), 25 * MB) == Doomed(caches=parked(0))
    assert ledger.book_cache(cache(9, key(0)), 60 * MB) == Doomed(caches=parked(1, 2), stages=(key(1),))
    assert ledger.parked_bytes == 0


def test_the_source_of_a_new_cache_goes_only_where_there_is_no_other_way_and_counts_as_used() -> None:
    ledger = ledger_with_parked(20, 20, 20)
    source = cache(0, key(0))
    assert ledger.book_cache(cache(7, key(0)), 40 * MB, source) == Doomed(caches=parked(1))
    assert ledger.parked == parked(2, 0)
    assert ledger.book_cache(cache(8, key(0)), 40 * MB, source) == Doomed(caches=parked(2, 0))


def test_what_does_not_fit_beside_what_runs_is_refused_and_parked_caches_stay() -> None:
    ledger = ledger_with_parked(30)
    ledger.book_cache(cache(9, key(0)), 40 * MB)
    with pytest.raises(Busy, match=r"a cache of 51 MB does not fit beside what runs: 50 MB are free"):
        ledger.book_cache(cache(8, key(0)), 51 * MB)
    with pytest.raises(Busy, match=r"100 MB are lent to the mesh and 50 MB of them are in use"):
        ledger.book_stage(key(1), 51 * MB)
    assert ledger.parked == parked(0)


def test_a_stage_that_only_parked_caches_use_is_idle() -> None:
    ledger = ledger_with_parked(30)
    assert ledger.book_stage(key(1), 95 * MB) == Doomed(caches=parked(0), stages=(key(0),))


def test_room_for_what_is_kept_is_made_by_parked_caches_alone() -> None:
    ledger = ledger_with_parked(20, 20)
    assert ledger.free_parked(50 * MB) == Doomed()
    assert ledger.free_parked(51 * MB) == Doomed(caches=parked(0))
    assert ledger.free_parked(1000 * MB) == Doomed(caches=parked(1))
    assert stages(ledger) == [key(0)]


def test_no_more_caches_are_parked_than_anybody_remembers() -> None:
    ledger = ledger_with(0)
    given_up: list[CacheKey] = []
    for session in range(300):
        ledger.book_cache(cache(session, key(0)), 1)
        given_up += ledger.park_cache(cache(session, key(0))).caches
    assert given_up == list(parked(*range(300 - 256)))


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
        self.parked: set[CacheKey] = set()
        self.source: CacheKey | None = None
        self.last_used: list[StageKey] = []

    def books(self) -> tuple[object, ...]:
        return self.ledger.stages, self.ledger.used_bytes, self.ledger.num_sessions, self.ledger.parked

    def in_use(self) -> set[StageKey]:
        return {named.stage for named in self.caches}

    def check_evictions(self, given_up: Doomed, before: list[StageKey]) -> None:
        assert set(given_up.caches) <= self.parked
        self.parked -= set(given_up.caches)
        doomed = list(given_up.stages)
        if doomed:  # parked caches went before any stage
            assert not self.parked - {self.source}
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
        self.source = None
        try:
            doomed = self.ledger.book_stage(key(number), size)
        except (InsufficientMemory, Busy):
            assert self.books() == books
            return
        self.check_evictions(doomed, before)
        self.ledger.stage_arrived(key(number))
        self.ledger.stage_aged(key(number))
        self.last_used = [k for k in self.last_used if k != key(number)] + [key(number)]

    @precondition(lambda self: self.ledger.stages)
    @rule(number=st.integers(0, 9), place=st.integers(0, 9), size=SIZES, like=st.integers(0, 12))
    def book_cache(self, number: int, place: int, size: int, like: int) -> None:
        before, books = stages(self.ledger), self.books()
        chosen = before[place % len(before)]
        named = cache(number, chosen)
        if named in self.caches | self.parked:
            return
        self.spared = chosen
        self.source = next((c for c in self.ledger.parked[like:] if c.stage == chosen), None)
        try:
            doomed = self.ledger.book_cache(named, size, self.source)
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
        self.parked.discard(cache(number, key(place)))

    @rule(number=st.integers(0, 9), place=st.integers(0, 5))
    def park_cache(self, number: int, place: int) -> None:
        named = cache(number, key(place))
        if named in self.caches:
            assert self.ledger.park_cache(named) == Doomed()
            self.caches.discard(named)
            self.parked.add(named)

    @invariant()
    def the_budget_holds(self) -> None:
        assert 0 <= self.ledger.used_bytes <= self.ledger.budget_bytes
        assert self.ledger.num_sessions == len({named.session_id for named in self.caches})
        assert self.in_use() | {named.stage for named in self.parked} <= set(stages(self.ledger))
        assert set(self.ledger.parked) == self.parked


AnyCalls.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAnyCalls = pytest.mark.slow(AnyCalls.TestCase)
