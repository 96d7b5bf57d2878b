"""Whom an answer blames for a token that is overdue, look by look."""

from __future__ import annotations

import pytest

from mesh.logic.patience import Patience
from mesh.messages import Progress
from mesh.types import SessionId

OURS = SessionId("a" * 16)
POSITION = 20
NUM_STAGES = 3

Said = dict[int, Progress]


def says(index: int, position: int, working_s: float = 0.0, usual_s: float = 0.0) -> Progress:
    return Progress(OURS, 0, index, position, working_s, usual_s)


def all_say(*changed: Progress, done: int = POSITION) -> Said:
    """Every stage is done up to a position, but for those that are given."""
    return {index: says(index, done) for index in range(NUM_STAGES)} | {p.index: p for p in changed}


def looks(patience: Patience, said: Said, num_looks: int) -> list[int | None]:
    return [patience.culprit(NUM_STAGES, POSITION, said) for _ in range(num_looks)]


SLOW = all_say(says(1, 19, 1.0, 0.01), says(2, 19))
"""Stage 1 has been at one frame for a hundred times as long as such a frame takes."""
NEVER_CAME = all_say(says(1, 19), says(2, 19))
"""Stage 0 has done its work, and stage 1 has nothing to do."""
NO_TOKEN = all_say()
"""All have done their work."""
SILENT = {index: progress for index, progress in all_say().items() if index != 2}


@pytest.mark.parametrize(
    ("said", "num_looks", "culprit"),
    [
        pytest.param(SLOW, 3, 1, id="too slow at a frame"),
        pytest.param(NEVER_CAME, 8, 1, id="its frame never came"),
        pytest.param(NO_TOKEN, 8, 2, id="its token never came"),
        pytest.param(SILENT, 8, 2, id="does not answer"),
        pytest.param({}, 8, 0, id="nobody answers"),
        pytest.param(all_say(says(0, 19), says(1, 19), says(2, 19)), 8, 0, id="the first frame never came"),
    ],
)
def test_a_stage_is_blamed_after_so_many_looks_and_not_before(
    said: Said, num_looks: int, culprit: int
) -> None:
    assert looks(Patience(), said, num_looks) == [None] * (num_looks - 1) + [culprit]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(all_say(says(1, 19, 0.45, 0.01), says(2, 19)), id="below half a second"),
        pytest.param(all_say(says(1, 19, 3.0, 0.5), says(2, 19)), id="slow as a rule"),
        pytest.param(all_say(says(1, 19, 14.0, 0.0), says(2, 19)), id="nothing is known of its pace yet"),
        pytest.param(all_say(says(0, 0, 5.0, 1.0), says(1, 0), says(2, 0)), id="those behind have to wait"),
    ],
)
def test_a_stage_that_works_at_its_own_pace_is_never_blamed(said: Said) -> None:
    assert looks(Patience(), said, 100) == [None] * 100


def test_one_slow_step_is_forgiven_when_tokens_come_in_time_again() -> None:
    patience = Patience()
    for _ in range(10):
        assert looks(patience, SLOW, 2) == [None, None]
        patience.token_came(0.01)


def test_what_was_found_stays_in_mind_across_tokens_that_are_overdue_themselves() -> None:
    patience = Patience()
    patience.token_came(0.01)
    assert looks(patience, SLOW, 2) == [None, None]
    patience.token_came(1.0)
    assert looks(patience, SLOW, 1) == [1]


def test_another_suspect_is_looked_at_from_the_beginning() -> None:
    patience = Patience()
    looks(patience, SLOW, 2)
    assert looks(patience, all_say(says(2, 19, 1.0, 0.01)), 3) == [None, None, 2]


def test_a_look_that_finds_everybody_at_work_clears_the_suspect() -> None:
    patience = Patience()
    looks(patience, NEVER_CAME, 7)
    looks(patience, all_say(says(1, 19, 0.01, 0.01), says(2, 19)), 1)
    assert looks(patience, NEVER_CAME, 8) == [None] * 7 + [1]


def test_what_was_found_on_one_route_says_nothing_of_the_next() -> None:
    patience = Patience()
    looks(patience, SLOW, 2)
    patience.rerouted()
    assert looks(patience, SLOW, 3) == [None, None, 1]


def test_a_token_is_overdue_by_what_tokens_took_and_never_soon() -> None:
    patience = Patience()
    assert patience.overdue_s == 2.0
    patience.token_came(0.01)
    assert patience.overdue_s == 0.5
    slow = Patience()
    slow.token_came(1.5)
    assert slow.overdue_s == 12.0


def test_one_long_gap_does_not_make_an_answer_patient() -> None:
    patience = Patience()
    patience.token_came(0.1)
    patience.token_came(25.0)
    assert patience.overdue_s == pytest.approx(0.96)


def test_a_frame_that_waits_while_the_stage_turns_to_others_is_no_fault() -> None:
    """Between two batches a stage is at none for a moment, however much waits for it."""
    waiting = Progress(OURS, 0, 1, 19, 0.0, 0.0, num_waiting=1)
    assert looks(Patience(), all_say(waiting, says(2, 19)), 20) == [None] * 20
