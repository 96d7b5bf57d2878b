"""What a node makes of the answers to its questions about one way."""

from __future__ import annotations

import math

import pytest

from mesh.config import MAX_PADDING_BYTES
from mesh.logic.echo import PADDING_BYTES, TRIAL_BYTES, Gauge
from mesh.types import LinkRecord, NodeId

TV = NodeId("2" * 32)
STEP = 2**0.25


class Network:
    """Answers a gauge's questions as a way of some round trip and rate would."""

    def __init__(self, round_trip_s: float = 0.01, rate: float = 10e6) -> None:
        self.gauge = Gauge()
        self.round_trip_s, self.rate = round_trip_s, rate
        self.now = 0.0
        self.paddings: list[int] = []
        """Of the questions that followed an answer."""

    def ask(self, *lates_s: float) -> None:
        """Ask once, with whatever follows; `lates_s` is what the first answers wait somewhere."""
        lates = list(lates_s)
        padding: int | None = 0
        while padding is not None:
            question = self.gauge.ask(padding, self.now)
            self.now += self.round_trip_s + padding / self.rate + (lates.pop(0) if lates else 0.0)
            padding = self.gauge.answered(question.number, self.now)
            self.paddings += [padding] if padding is not None else []
        self.now += 20.0

    def rate_turn(self) -> None:
        self.gauge.want_rate()
        self.ask()

    @property
    def told(self) -> LinkRecord:
        record = self.gauge.record(TV)
        assert record is not None
        return record


def exact(network: Network) -> LinkRecord:
    """What a gauge would tell that had told nothing before."""
    fresh = Gauge()
    fresh._round_trips_s, fresh._rates = network.gauge._round_trips_s, network.gauge._rates
    record = fresh.record(TV)
    assert record is not None
    return record


def about(figure: float) -> object:
    """Half a step more or less."""
    return pytest.approx(figure, rel=STEP**0.5 - 1 + 1e-9)


def test_nothing_is_told_before_the_first_answer() -> None:
    gauge = Gauge()
    gauge.ask(0, 0.0)
    assert gauge.record(TV) is None
    assert not gauge.has_answer


@pytest.mark.parametrize("round_trip_s", [0.0003, 0.004, 0.01, 0.12])
@pytest.mark.parametrize("rate", [2e5, 1e6, 10e6, 120e6])
def test_round_trip_and_rate_are_those_of_the_way(round_trip_s: float, rate: float) -> None:
    network = Network(round_trip_s, rate)
    network.ask()
    assert network.told == LinkRecord(TV, network.told.round_trip_s, None)
    network.rate_turn()
    assert network.told.round_trip_s == about(round_trip_s)
    assert network.told.rate_bytes_per_s == about(rate)


def test_what_is_told_lies_on_a_grain_of_a_fourth_of_an_octave() -> None:
    for figure in (0.00123, 0.0047, 0.011):
        network = Network(figure)
        network.ask()
        steps = 4 * math.log2(network.told.round_trip_s)
        assert steps == pytest.approx(round(steps), abs=1e-9)


@pytest.mark.parametrize("lates_s", [(0.2, 0.0, 0.2, 0.2), (0.0, 0.3, 0.1, 0.5), (0.3, 0.3, 0.3, 0.0)])
def test_the_round_trip_is_the_least_of_four_whatever_made_the_others_late(
    lates_s: tuple[float, ...],
) -> None:
    network = Network()
    network.ask(*lates_s[:2])
    network.ask(*lates_s[2:])
    assert exact(network).round_trip_s == about(0.01)


def test_every_small_question_is_followed_by_another_and_no_more() -> None:
    network = Network()
    network.ask()
    network.ask()
    assert network.paddings == [0, 0]


def test_a_way_that_sleeps_between_questions_is_measured_awake() -> None:
    network = Network()
    network.gauge.want_rate()
    for _turn in range(5):
        network.ask(0.08)
        network.gauge.want_rate()
    assert network.told.round_trip_s == about(0.01)
    assert network.told.rate_bytes_per_s == about(10e6)


def test_a_way_that_got_slower_shows_after_four_answers_and_one_that_got_faster_at_once() -> None:
    network = Network()
    for _answer in range(10):
        network.ask()
    network.round_trip_s = 0.05
    network.ask()
    assert network.told.round_trip_s == about(0.01)
    network.ask()
    assert network.told.round_trip_s == about(0.05)
    network.round_trip_s = 0.01
    network.ask()
    assert network.told.round_trip_s == about(0.01)


def test_the_rate_is_the_median_of_five() -> None:
    network = Network()
    for rate in (10e6, 1e6, 10e6, 90e6, 10e6):
        network.rate = rate
        network.rate_turn()
    assert exact(network).rate_bytes_per_s == about(10e6)


def test_noise_at_the_border_of_two_steps_changes_nothing_that_is_told() -> None:
    border_s = 2 ** ((round(4 * math.log2(0.01)) + 0.5) / 4)
    network = Network(border_s * 0.96)
    network.ask()
    first = network.told
    for turn in range(40):
        network.round_trip_s = border_s * (1.04 if turn // 4 % 2 else 0.96)
        network.ask()
        assert network.told == first
    assert exact(network) != first


def test_a_rate_is_asked_for_only_in_a_turn_and_the_small_padding_goes_first() -> None:
    network = Network()
    network.ask()
    network.rate_turn()
    network.ask()
    assert network.paddings == [0, 0, TRIAL_BYTES, PADDING_BYTES, 0]
    assert TRIAL_BYTES < PADDING_BYTES <= MAX_PADDING_BYTES


@pytest.mark.parametrize(("rate", "follows"), [(15e3, False), (120e3, False), (140e3, True), (1e9, True)])
def test_a_slow_way_is_spared_the_large_padding(rate: float, *, follows: bool) -> None:
    """The large one takes a quarter of a second at 131 KB/s."""
    network = Network(0.12, rate)
    network.rate_turn()
    assert network.paddings == [0, TRIAL_BYTES, PADDING_BYTES][: 2 + follows]
    assert network.told.rate_bytes_per_s == about(min(rate, 2**30))


@pytest.mark.parametrize("number", [0, 2, -1, 2**63])
def test_an_answer_to_another_question_is_passed_over(number: int) -> None:
    gauge = Gauge()
    question = gauge.ask(0, 0.0)
    assert question.number == 1
    assert gauge.answered(number, 0.001) is None
    assert not gauge.has_answer
    gauge.answered(question.number, 0.01)
    assert gauge.has_answer


def test_an_answer_that_nobody_waits_for_or_that_comes_twice_is_passed_over() -> None:
    gauge = Gauge()
    gauge.answered(0, 1.0)
    gauge.answered(1, 1.0)
    assert not gauge.has_answer
    question = gauge.ask(0, 2.0)
    gauge.answered(question.number, 2.01)
    for now in (2.02, 2.03, 3.0):
        gauge.answered(question.number, now)
    assert len(gauge._round_trips_s) == 1


def test_a_question_without_an_answer_is_given_up_with_the_next() -> None:
    gauge = Gauge()
    lost = gauge.ask(0, 0.0)
    question = gauge.ask(0, 10.0)
    gauge.answered(lost.number, 10.001)
    assert not gauge.has_answer
    gauge.answered(question.number, 10.004)
    record = gauge.record(TV)
    assert record is not None
    assert record.round_trip_s == about(0.004)


def test_a_turn_whose_answer_is_lost_is_taken_up_with_the_next_answer() -> None:
    network = Network()
    network.gauge.want_rate()
    network.gauge.ask(0, network.now)
    network.ask()
    assert network.told.rate_bytes_per_s == about(10e6)


def test_a_padding_that_takes_no_longer_than_nothing_says_no_rate() -> None:
    network = Network(0.01, math.inf)
    for _turn in range(3):
        network.rate_turn()
    assert network.told.rate_bytes_per_s is None


def test_figures_stay_where_they_can_be_rounded_on_a_way_that_takes_no_time() -> None:
    network = Network(0.0, 3e9)
    network.rate_turn()
    assert network.told.round_trip_s == about(1e-4)
    assert network.told.rate_bytes_per_s == 2.0**30
