"""Which ways a node measures, when, and what it tells of them."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from mesh.config import MAX_LINKS
from mesh.logic.echo import PADDING_BYTES
from mesh.logic.echoes import Echoes
from mesh.types import LinkRecord, NodeId

OWN = NodeId(f"{1:032x}")
OTHERS = [NodeId(f"{number:032x}") for number in range(2, 52)]


class House:
    """Others that answer, each after its own round trip, by a clock that jumps from question to question."""

    def __init__(self, *nodes: NodeId, own: NodeId = OWN, at_s: float = 100.0) -> None:
        self.echoes = Echoes(own, 20.0)
        self.now = at_s
        self.round_trips_s = {node_id: 0.002 * (1 + place) for place, node_id in enumerate(nodes)}
        self.silent: set[NodeId] = set()
        self.asked: dict[NodeId, list[float]] = {node_id: [] for node_id in nodes}
        self.rated: list[tuple[float, NodeId]] = []
        """When the large padding was sent, and to whom."""
        self.told: list[tuple[float, tuple[LinkRecord, ...]]] = []
        """Each list of ways that is not as the one before, looked at once a second."""
        for node_id in nodes:
            self.echoes.reached(node_id, self.now)

    def run(self, seconds: float) -> None:
        until_s = self.now + seconds
        while self.now < until_s:
            for node_id in self.echoes.due(self.now):
                self.asked[node_id].append(self.now)
                self._ask(node_id)
            look_s = math.floor(self.now) + 1.0
            self.now = max(math.nextafter(self.now, math.inf), min(self.echoes.next_s, look_s, until_s))
            if self.now == look_s:
                self._look()

    def _ask(self, node_id: NodeId) -> None:
        padding: int | None = 0
        at_s = self.now
        while padding is not None:
            question = self.echoes.ask(node_id, padding, at_s)
            assert question is not None
            if padding == PADDING_BYTES:
                self.rated.append((at_s, node_id))
            if node_id in self.silent:
                return
            at_s += self.round_trips_s[node_id] + padding / 10e6
            padding = self.echoes.answered(node_id, question.number, at_s)

    def _look(self) -> None:
        links = self.echoes.links(self.now)
        if not self.told or self.told[-1][1] != links:
            self.told.append((self.now, links))

    @property
    def links(self) -> dict[NodeId, LinkRecord]:
        return {record.node_id: record for record in self.echoes.links(self.now)}


def test_the_one_with_the_lower_id_asks() -> None:
    low, high = House(OTHERS[1], own=OTHERS[0]), House(OTHERS[0], own=OTHERS[1])
    for house in (low, high):
        house.run(60)
    assert len(low.asked[OTHERS[1]]) >= 3
    assert high.asked[OTHERS[0]] == []
    assert high.echoes.links(high.now) == ()
    assert high.echoes.next_s == math.inf


def test_the_first_question_comes_within_a_second_the_second_within_an_interval_then_one_each() -> None:
    house = House(*OTHERS)
    house.run(30)
    for times in house.asked.values():
        assert 0 <= times[0] - 100 <= 1
        assert 0 < times[1] - times[0] <= 20
    alone = House(OTHERS[0])
    alone.run(245)
    gaps = [later - sooner for sooner, later in pairwise(alone.asked[OTHERS[0]][1:])]
    assert sum(gap == pytest.approx(20) for gap in gaps) >= len(gaps) - 3  # a turn for the rate comes sooner


def test_the_questions_of_many_are_spread_evenly_over_the_interval() -> None:
    house = House(*OTHERS)
    house.run(21)
    seconds = [math.floor(times[1] - 100) for times in house.asked.values()]
    assert max(seconds.count(second) for second in range(21)) <= 8
    assert len({times[0] for times in house.asked.values()}) == len(OTHERS)


def test_the_same_nodes_are_asked_at_the_same_times() -> None:
    one, other = House(*OTHERS), House(*OTHERS)
    for house in (one, other):
        house.run(100)
    assert (one.asked, one.rated, one.told) == (other.asked, other.rated, other.told)
    assert House(*OTHERS, own=OTHERS[0]).asked != one.asked


def test_who_is_reached_again_goes_on_in_its_time() -> None:
    house = House(OTHERS[0])
    for _second in range(60):
        house.run(1)
        house.echoes.reached(OTHERS[0], house.now)
    assert len(house.asked[OTHERS[0]]) <= 8


def test_turns_for_the_rate_are_fifteen_seconds_apart_and_two_minutes_for_a_pair() -> None:
    house = House(*OTHERS[:3])
    house.run(600)
    times = [at_s for at_s, _ in house.rated]
    assert times[0] - 100 <= 16.1
    assert min(later - sooner for sooner, later in pairwise(times)) >= 14.9
    for node_id in OTHERS[:3]:
        own = [at_s for at_s, rated in house.rated if rated == node_id]
        assert 4 <= len(own) <= 5
        assert min(later - sooner for sooner, later in pairwise(own)) >= 119.9


def test_among_many_each_has_its_turn_before_any_has_two() -> None:
    house = House(*OTHERS[:39])
    house.run(39 * 15 + 20)
    assert len({node_id for _, node_id in house.rated[:39]}) == 39


def test_one_that_never_answers_takes_nobody_s_turn_and_is_never_told_of() -> None:
    house = House(*OTHERS[:3])
    house.silent.add(OTHERS[0])
    house.run(70)
    assert list(house.links) == OTHERS[1:3]
    assert {node_id for _, node_id in house.rated} == set(OTHERS[1:3])
    (first_s, _), (second_s, _) = house.rated
    assert first_s <= 116
    assert second_s - first_s == pytest.approx(15, abs=0.1)
    assert len(house.asked[OTHERS[0]]) == pytest.approx(4, abs=1)


def test_what_is_told_is_the_nearest_first_and_has_what_was_measured() -> None:
    house = House(*OTHERS[:3])
    house.round_trips_s = dict(zip(OTHERS[:3], (0.008, 0.002, 0.004), strict=True))
    house.run(100)
    assert list(house.links) == [OTHERS[1], OTHERS[2], OTHERS[0]]
    for node_id, record in house.links.items():
        assert record.round_trip_s == pytest.approx(house.round_trips_s[node_id], rel=0.1)
        assert record.rate_bytes_per_s == pytest.approx(10e6, rel=0.1)


def test_of_many_only_the_nearest_are_told_of() -> None:
    house = House(*OTHERS)
    house.round_trips_s = {node_id: 0.2 - 0.003 * place for place, node_id in enumerate(OTHERS)}
    house.run(40)
    assert len(house.links) == MAX_LINKS
    nearest = max(record.round_trip_s for record in house.links.values())
    left_out = [house.round_trips_s[node_id] for node_id in OTHERS if node_id not in house.links]
    assert nearest <= 1.2 * min(left_out)


def test_a_home_that_starts_is_told_of_in_a_few_steps_and_then_seldom() -> None:
    house = House(*OTHERS)
    house.run(60)
    assert house.told[0] == (101.0, ())
    assert 100 + 2 <= house.told[1][0] <= 100 + 3
    assert len(house.told) <= 6
    assert min(later[0] - sooner[0] for sooner, later in pairwise(house.told[1:])) >= 14.9
    house.run(3600)
    assert len(house.told) <= 5 + len(OTHERS)  # each has a rate for the first time, once


def test_a_way_that_got_slower_is_told_of_within_a_minute() -> None:
    for wait_s in (100, 103, 107, 111, 117):
        house = House(*OTHERS[:3])
        house.run(wait_s)
        house.round_trips_s[OTHERS[1]] = 0.05
        house.run(58)
        assert house.links[OTHERS[1]].round_trip_s == pytest.approx(0.05, rel=0.1)


def test_a_node_that_is_gone_is_not_told_of_from_that_moment_and_not_asked() -> None:
    house = House(*OTHERS[:3])
    house.run(40)
    house.echoes.gone(OTHERS[1])
    assert list(house.links) == [OTHERS[0], OTHERS[2]]
    num_asked = len(house.asked[OTHERS[1]])
    house.run(40)
    assert len(house.asked[OTHERS[1]]) == num_asked
    assert house.echoes.ask(OTHERS[1], 0, house.now) is None
    assert house.echoes.answered(OTHERS[1], 1, house.now) is None
    assert list(house.links) == [OTHERS[0], OTHERS[2]]


def test_a_node_that_is_back_is_measured_anew() -> None:
    house = House(*OTHERS[:2])
    house.run(40)
    house.echoes.gone(OTHERS[0])
    house.round_trips_s[OTHERS[0]] = 0.08
    house.echoes.reached(OTHERS[0], house.now)
    house.run(20)
    assert house.links[OTHERS[0]].round_trip_s == pytest.approx(0.08, rel=0.1)
