"""Which tokens count, over which time."""

from __future__ import annotations

import pytest

from benchmarks.beside.hearing import Heard, decode_rate, joint_rate
from mesh.errors import InternalError


def heard(*arrivals: tuple[float, int], asked_s: float = 0.0) -> Heard:
    return Heard(asked_s, arrivals)


def test_what_came_first_starts_the_clock_and_is_not_counted() -> None:
    assert decode_rate(heard((1.0, 1), (2.0, 1), (3.0, 3))) == 2.0


def test_users_count_only_while_all_of_them_are_answered() -> None:
    early = heard((0.0, 1), (1.0, 1), (2.0, 1), (3.0, 1))
    late = heard((1.0, 1), (2.0, 2), (3.0, 2), (4.0, 2), (9.0, 2))
    assert joint_rate([early, late]) == (2 + 4) / 2.0


def test_the_first_token_counts_from_the_question() -> None:
    assert heard((2.5, 1), asked_s=1.0).first_token_s == 1.5


@pytest.mark.parametrize(
    "answers", [[heard((1.0, 1))], [heard((0.0, 1), (1.0, 1)), heard((2.0, 1), (3.0, 1))]]
)
def test_answers_that_do_not_overlap_are_refused(answers: list[Heard]) -> None:
    with pytest.raises(InternalError, match="nothing could be measured"):
        joint_rate(answers)
