"""Which way a request is answered, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesh.decision import Option, OptionKind, Prediction, Privacy, Share
from mesh.errors import InsufficientMemory
from mesh.logic.capacity import Candidate
from mesh.logic.cost import Work
from mesh.logic.explaining import reason, seconds
from mesh.logic.routing import Asked, Known, Standing, decision, obstacles, usual_aim, ways
from mesh.types import Aim, Span
from tests.logic.houses import DEMAND, ENDS, LAYER, candidate, loaded, node_id, route

WHOLE = DEMAND.whole_bytes
ASKED = Asked(Work(20, 100), node_id("a"))


def found(*devices: Candidate, asked: Asked = ASKED) -> list[str]:
    return [way.option.name for way in ways(DEMAND, devices, asked)]


def half(name: str, rate: float | None = None) -> Candidate:
    return candidate(name, 3 * LAYER + ENDS, rate=rate)


def test_the_ways_are_each_device_that_holds_all_and_the_best_split_by_what_they_take() -> None:
    devices = candidate("a", WHOLE, rate=1e8), candidate("b", WHOLE, rate=8e8), half("c", 4e8), half("d", 4e8)
    ranked = ways(DEMAND, devices, ASKED)
    assert [way.option.name for way in ranked] == ["b", "a"]
    assert [way.seconds for way in ranked] == sorted(way.seconds for way in ranked)
    assert found(candidate("a", WHOLE, rate=1e7), *devices[2:])[0] in ("c + d", "d + c")


def test_a_route_that_stands_stays_first_unless_another_is_better_by_the_margin() -> None:
    here = replace(candidate("a", WHOLE, rate=1e8), stages=loaded((0, 6)))
    standing = replace(ASKED, known=(Known(route([("a", 0, 6)])),))
    for rate, first in ((1.05e8, "a"), (1.2e8, "a"), (1.4e8, "b"), (4e8, "b")):
        there = replace(candidate("b", WHOLE, rate=rate), stages=loaded((0, 6)))
        assert found(here, there, asked=standing)[0] == first


def test_what_others_have_loaded_is_taken_unless_another_way_is_better_by_the_margin() -> None:
    for rate, first in ((1e8, "b"), (1.2e8, "b"), (2e8, "a")):
        loaded_there = replace(candidate("b", 2 * WHOLE, rate=1e8), stages=loaded((0, 6)))
        assert found(candidate("a", WHOLE, rate=rate), loaded_there)[0] == first


def test_a_way_whose_memory_is_in_use_comes_after_those_that_have_room() -> None:
    used = replace(loaded((0, 3))[0], is_in_use=True)
    quick = candidate("a", WHOLE, used.weights_bytes, (used,), rate=4e8)
    slow = candidate("b", WHOLE, rate=1e8)
    best, *_ = others = ways(DEMAND, [quick, slow], ASKED)
    assert [(way.option.name, way.option.waits_for) for way in others] == [("b", None), ("a", "a")]
    assert "for a, a lacks memory until other answers end" in reason([way.option for way in others])
    stands = replace(ASKED, known=(Known(route([("a", 0, 6)])),))
    assert found(quick, slow, asked=stands)[0] == "b"
    assert best.standing is Standing.NOT


def test_what_stages_have_of_the_prompt_speaks_for_them() -> None:
    devices = [replace(candidate(name, WHOLE, rate=1e8), stages=loaded((0, 6))) for name in "ab"]
    asked = Asked(Work(4000, 1), node_id("a"), (Known(route([("b", 0, 6)]), 3990),))
    first = ways(DEMAND, devices, asked)[0]
    assert (first.option.name, first.num_known) == ("b", 3990)


def test_without_any_figures_what_has_the_prompt_is_first_then_the_fewest_devices() -> None:
    devices = half("a"), half("b"), candidate("c", WHOLE)
    assert found(*devices) == ["c"]
    stands = Known(route([("a", 0, 3), ("b", 3, 6)]))
    assert found(*devices, asked=replace(ASKED, known=(stands,))) == ["c", "a + b"]
    assert found(*devices, asked=replace(ASKED, known=(replace(stands, num_positions=18),)))[0] == "a + b"


def test_a_way_is_named_once() -> None:
    device = candidate("a", WHOLE, rate=1e8)
    assert found(device, asked=replace(ASKED, known=(Known(route([("a", 0, 6)]), 5),))) == ["a"]


def test_without_room_it_is_said_what_is_missing() -> None:
    with pytest.raises(InsufficientMemory, match="MB are missing"):
        ways(DEMAND, [half("a")], ASKED)
    names = [name for name, _ in obstacles(DEMAND, [half("a"), candidate("b", WHOLE)])]
    assert names == ["a"]


def test_while_many_ask_all_that_is_made_counts() -> None:
    device = candidate("a", 1)
    assert usual_aim([device]) is Aim.LATENCY
    assert usual_aim([replace(device, num_sessions=3)]) is Aim.LATENCY
    assert usual_aim([device, replace(device, num_sessions=4)]) is Aim.THROUGHPUT
    assert usual_aim([]) is Aim.LATENCY


def test_while_many_ask_a_split_is_among_the_ways_which_for_one_alone_is_not() -> None:
    devices = [candidate(name, WHOLE, rate=1e8) for name in "abc"]
    busy = [replace(device, num_sessions=6) for device in devices]
    kinds, busy_kinds = ([way.option.kind for way in ways(DEMAND, some, ASKED)] for some in (devices, busy))
    assert OptionKind.SPLIT not in kinds
    assert OptionKind.SPLIT in busy_kinds


def test_a_decision_names_what_is_out_of_question_last() -> None:
    made = decision(DEMAND, Privacy.MESH, 20, [option("tv")], [("fridge", "it is lost")])
    assert [one.name for one in made.options] == ["tv", "fridge"]
    assert made.chosen == made.options[0]
    none = decision(DEMAND, Privacy.MESH, 20, [], [("fridge", "it is lost")])
    assert none.chosen is None
    assert none.reason == "nobody can answer: fridge: it is lost"


def option(*names: str, seconds: float | None = None, excluded: str | None = None) -> Option:
    kind = OptionKind.DEVICE if len(names) == 1 else OptionKind.SPLIT
    prediction = None if seconds is None else Prediction(0.0, seconds / 2, seconds / 20, 11)
    shares = tuple(Share(name, Span(at, at + 1)) for at, name in enumerate(names))
    return Option(kind, "small", shares, prediction=prediction, excluded=excluded)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            [option("tv", seconds=2.0), option("tv", "car", seconds=5.0)],
            "tv answers alone, 11 tokens in about 2.0 s (the first after 1.0): "
            "splitting it over tv + car would take 2.5 times as long",
        ),
        (
            [option("tv", "car", seconds=2.0), option("tv", seconds=3.0)],
            "tv + car share the layers, 11 tokens in about 2.0 s (the first after 1.0): "
            "tv would take 1.5 times as long",
        ),
        (
            [option("tv", seconds=2.0), option("car", seconds=1.8)],
            "tv answers alone, 11 tokens in about 2.0 s (the first after 1.0): "
            "car would not be better by enough",
        ),
        (
            [option("tv", seconds=2.0), option("car", seconds=2.02)],
            "tv answers alone, 11 tokens in about 2.0 s (the first after 1.0): car would take as long",
        ),
        (
            [option("tv", "car"), option("tv", excluded="no room")],
            "tv + car share the layers: no device holds the model alone",
        ),
        ([option("tv")], "tv answers alone: there is no other way"),
        (
            [option("tv", seconds=0.1)],
            "tv answers alone, 11 tokens in about 0.1 s (the first after 0.05): there is no other way",
        ),
        (
            [option("tv"), option("car")],
            "tv answers alone: how fast the devices are is not known, "
            "so the fewest that have room were taken",
        ),
    ],
)
def test_why_in_a_sentence(options: list[Option], text: str) -> None:
    assert reason(options) == text


@pytest.mark.parametrize(
    ("value_s", "text"),
    [
        (12.34, "12.3"),
        (1.0, "1.0"),
        (0.996, "1.0"),
        (0.994, "0.99"),
        (0.5, "0.5"),
        (0.0512, "0.051"),
        (0.00012, "0.00012"),
        (0.00001, "0.0"),
        (0.0, "0.0"),
    ],
)
def test_seconds_below_one_have_two_significant_digits(value_s: float, text: str) -> None:
    assert seconds(value_s) == text
