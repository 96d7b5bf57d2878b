"""It is known from outside when a session should be gone, and never said of one that may live."""

from __future__ import annotations

import math

from mesh.types import SessionId
from simulator.asking import Asked
from simulator.leftovers import Leftovers
from tests.simulator.scripts import a_request

OURS, THEIRS, UNKNOWN = SessionId("0" * 16), SessionId("1" * 16), SessionId("2" * 16)


def asking(number: int) -> Asked:
    asked = Asked(a_request(number))
    asked.begin(1.0)
    return asked


def test_a_session_is_over_with_its_request_though_others_are_under_way() -> None:
    leftovers, first, second = Leftovers(), asking(1), asking(2)
    leftovers.routed(first, OURS)
    leftovers.routed(second, THEIRS)
    assert leftovers.over_since_s(OURS) == math.inf
    leftovers.ended(first, 5.0)
    assert leftovers.over_since_s(OURS) == 5.0
    assert leftovers.over_since_s(THEIRS) == math.inf


def test_every_session_that_a_request_had_is_over_with_it() -> None:
    leftovers, asked = Leftovers(), asking(1)
    leftovers.routed(asked, OURS)
    leftovers.routed(asked, THEIRS)  # at another gateway
    leftovers.ended(asked, 5.0)
    assert (leftovers.over_since_s(OURS), leftovers.over_since_s(THEIRS)) == (5.0, 5.0)


def test_a_session_that_goes_on_in_the_next_attempt_lives() -> None:
    leftovers, asked = Leftovers(), asking(1)
    leftovers.routed(asked, OURS)
    leftovers.ended(asked, 5.0)
    leftovers.routed(asked, OURS)
    assert leftovers.over_since_s(OURS) == math.inf


def test_a_session_that_no_client_heard_of_may_live_as_long_as_anybody_asks() -> None:
    leftovers, first, second = Leftovers(), asking(1), asking(2)
    first.ended_s = 3.0
    leftovers.look([first, second])
    assert leftovers.over_since_s(UNKNOWN) == math.inf
    second.ended_s = 7.0
    leftovers.look([first, second])
    assert leftovers.over_since_s(UNKNOWN) == 7.0
