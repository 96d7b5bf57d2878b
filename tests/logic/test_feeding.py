"""What the first stage is sent, by what stages say of where their caches end."""

from __future__ import annotations

import pytest

from mesh.logic.feeding import Feeding
from mesh.logic.session import Session
from mesh.messages import Frame, Resume
from mesh.types import SessionId, TokenIds

OURS = SessionId("0123456789abcdef")
NUM_PROMPT = 100


def a_feeding(num_shared: int = 0) -> Feeding:
    feeding = Feeding(Session(OURS, tuple(range(NUM_PROMPT)), 5, frozenset()), num_shared)
    feeding.route(2, 0.0)
    return feeding


def spans(frames: list[Frame]) -> list[tuple[int, int]]:
    assert all(isinstance(frame.payload, TokenIds) for frame in frames)
    return [(f.start, f.start + len(f.payload.ids)) for f in frames if isinstance(f.payload, TokenIds)]


def says(position: int, index: int = 0) -> Resume:
    return Resume(OURS, 0, index, position, position)


def test_a_new_session_is_sent_whole_at_once() -> None:
    feeding = a_feeding()
    assert not feeding.is_fed_to(0)
    assert spans(feeding.opened(is_first=True)) == [(0, 64), (64, 100)]
    assert feeding.is_fed_to(100)
    assert feeding.num_reused == 0


def test_a_session_that_begins_like_another_is_sent_the_rest_at_once_and_only_once() -> None:
    feeding = a_feeding(70)
    assert spans(feeding.opened(is_first=True)) == [(70, 100)]
    assert feeding.resumed(says(70)) == feeding.resumed(says(70, index=1)) == []
    assert feeding.is_fed_to(100)
    assert feeding.num_reused == 70


@pytest.mark.parametrize("position", [0, 16, 69])
def test_where_the_first_stage_has_less_than_was_hoped_it_is_sent_from_there(position: int) -> None:
    feeding = a_feeding(70)
    feeding.opened(is_first=True)
    sent = spans(feeding.resumed(says(position)))
    assert (sent[0][0], sent[-1][1]) == (position, 100)
    assert feeding.num_reused == position


def test_where_a_later_stage_has_less_the_first_says_so_and_is_sent_from_there() -> None:
    feeding = a_feeding(70)
    feeding.opened(is_first=True)
    assert feeding.resumed(says(70)) == []
    assert feeding.resumed(says(20, index=1)) == []
    assert feeding.num_reused == 20
    assert spans(feeding.resumed(says(20))) == [(20, 84), (84, 100)]


def test_what_the_first_stage_asks_for_a_second_time_is_sent_a_second_time() -> None:
    """It has computed it, and keeps it no more."""
    feeding = a_feeding(70)
    feeding.opened(is_first=True)
    assert feeding.resumed(says(70)) == []
    assert spans(feeding.resumed(says(70))) == [(70, 100)]


def test_a_route_that_is_opened_anew_is_sent_nothing_before_it_has_spoken() -> None:
    feeding = a_feeding(70)
    feeding.opened(is_first=True)
    assert feeding.opened(is_first=False) == []
    assert not feeding.is_fed_to(100)
    assert spans(feeding.resumed(says(70))) == [(70, 100)]
    assert feeding.is_fed_to(100)
