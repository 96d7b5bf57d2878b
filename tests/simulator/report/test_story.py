"""A run in words says what was promised, what was seen, what came before and how to repeat it."""

from __future__ import annotations

from dataclasses import replace

from simulator.report.sessions import requests_of_sessions
from simulator.report.story import describe, sum_up, tell, what_mattered
from simulator.result import Complaint
from simulator.trace import Event, Kind
from tests.simulator.report.results import block, broken_household, household, unmet_household


def test_a_broken_run_tells_promise_sight_traceback_and_command() -> None:
    story = tell(broken_household())
    assert "tv_off_mid_answer, seed 42: BROKEN" in story
    assert "Promised:  no_internal_error, always" in story
    assert "Seen:      at 3.400 s: request 1: AssertionError" in story
    assert "    AssertionError: a frame" not in story  # indented by two only
    assert "  AssertionError: a frame from 12 on a cache of 9" in story
    assert "  3.400 s  streams_end: request 1 has neither an end nor an error" in story
    assert story.endswith("  mesh-sim run tv_off_mid_answer --seed 42")


def test_the_events_that_led_there_are_told_and_the_rest_is_not() -> None:
    story = tell(broken_household())
    for said in ("tv crashes.", "tv starts (incarnation 2).", "phone logs (warning)", "asked request 1"):
        assert said in story
    for dull in ("heartbeat", "request 2", "starts (incarnation 1)", "in use"):
        assert dull not in story


def test_what_came_before_is_in_order_aligned_and_at_most_twenty_lines() -> None:
    result = broken_household()
    lines, num_left_out = what_mattered(result, result.complaints[0])
    times_s = [at_s for at_s, _ in lines]
    assert times_s == sorted(times_s)
    assert len(lines) <= 20
    assert num_left_out > 0
    assert f"({num_left_out} earlier lines left out)" in tell(result)


def test_many_faults_leave_room_for_the_request_and_are_cut_to_twenty_lines() -> None:
    result = broken_household()
    noise = tuple(Event(2.0 + n / 1e3, Kind.FAULT_BEGAN, "", {"kind_of_fault": "slow"}) for n in range(100))
    events = tuple(sorted((*result.events, *noise), key=lambda event: event.at_s))
    lines, num_left_out = what_mattered(replace(result, events=events), result.complaints[0])
    assert len(lines) == 20
    assert num_left_out > 80
    assert any("asked request 1" in said for _, said in lines)


def test_nothing_after_the_complaint_is_told() -> None:
    result = broken_household()
    lines, _ = what_mattered(result, Complaint("x", 2.4, "request 1"))
    assert all(at_s <= 2.4 for at_s, _ in lines)


def test_of_several_requests_only_the_one_concerned_is_told() -> None:
    lines, _ = what_mattered(household(), Complaint("x", 10.0, "request 1 came too late"))
    told = " ".join(said for _, said in lines)
    assert "request 1" in told
    assert "equest 2" not in told


def test_a_promise_that_never_came_is_told_with_its_bound() -> None:
    story = tell(unmet_household())
    assert "a promise was NOT KEPT" in story
    assert "every_request_ends, eventually: within 20 s of 8.000 s" in story
    assert "Traceback" not in story


def test_tokens_without_news_between_them_are_one_line() -> None:
    assert "Tokens 1 to 16 of request 1 have come within 730 ms." in tell(broken_household())


def test_a_run_that_held_is_summed_up_in_a_few_lines() -> None:
    text = sum_up(household())
    assert text == tell(household())
    assert "everything held" in text
    assert "2 asked, 2 answered, 0 failed; 100 tokens" in text
    assert "median 481 ms, at most 544 ms" in text
    assert household().digest in text
    assert len(text.splitlines()) <= 8


def test_a_name_with_spaces_is_quoted_in_the_command() -> None:
    result = broken_household()
    script = replace(result.script, scenario="my homes/evening.toml")
    assert tell(replace(result, script=script)).endswith("mesh-sim run 'my homes/evening.toml' --seed 42")


def test_describe_is_offered_beside_the_story() -> None:
    assert describe(Event(1.0, Kind.PAUSED, "tv", {})) == "tv stands still."


def test_sessions_are_tied_to_the_requests_that_they_answered() -> None:
    result = block(2, num_requests=12, num_tokens=8)  # six at once in each household
    owners = requests_of_sessions(result)
    assert sorted(owners.values()) == list(range(12))
    assert list(owners.values()) == sorted(owners.values())
