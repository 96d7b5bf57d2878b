"""The gateway's half of a session, as events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from mesh.config import MAX_FRAME_POSITIONS
from mesh.errors import BadSetting, ContextExceeded
from mesh.logic.drafting import Guess, Kind, Told
from mesh.logic.session import (
    EPOCHS_A_GATEWAY,
    Session,
    frame_rows,
    needed_context,
    planned_context,
)
from mesh.logic.speculation import Speculation
from mesh.messages import Frame, Resume, Token
from mesh.types import (
    Address,
    DeviceClass,
    Drafted,
    Drafting,
    FinishReason,
    Guesses,
    NodeId,
    NodeRecord,
    Plan,
    PlannedStage,
    Precision,
    ProtocolVersion,
    SessionId,
    Span,
    TokenIds,
)
from tests.shapes import SMOLLM2

OURS = SessionId("0123456789abcdef")
STOP = 2


def a_session(num_prompt: int = 5, max_tokens: int = 3) -> Session:
    return Session(OURS, tuple(range(100, 100 + num_prompt)), max_tokens, frozenset({STOP}))


def token(position: int, token: int = 7) -> Token:
    return Token(OURS, 0, position, token)


@pytest.mark.parametrize(
    ("num_prompt", "sizes"),
    [
        (1, [1]),
        (MAX_FRAME_POSITIONS - 1, [MAX_FRAME_POSITIONS - 1]),
        (MAX_FRAME_POSITIONS, [MAX_FRAME_POSITIONS]),
        (MAX_FRAME_POSITIONS + 1, [MAX_FRAME_POSITIONS, 1]),
        (2 * MAX_FRAME_POSITIONS, [MAX_FRAME_POSITIONS] * 2),
    ],
)
def test_a_prompt_goes_in_frames_of_which_only_the_last_asks(num_prompt: int, sizes: list[int]) -> None:
    frames = a_session(num_prompt).frames_from(0)
    ids = [frame.payload.ids for frame in frames if isinstance(frame.payload, TokenIds)]
    assert [len(part) for part in ids] == sizes
    assert sum(ids, ()) == tuple(range(100, 100 + num_prompt))
    assert [frame.start for frame in frames] == [MAX_FRAME_POSITIONS * index for index in range(len(sizes))]
    assert [frame.sample for frame in frames] == [False] * (len(sizes) - 1) + [True]
    assert {(frame.session_id, frame.epoch) for frame in frames} == {(OURS, 0)}


def test_each_token_asks_for_the_next_until_the_length_is_reached() -> None:
    session = a_session(num_prompt=5, max_tokens=3)
    for position in (5, 6):
        accepted = session.accept(token(position, position))
        assert accepted is not None
        assert (accepted.reason, accepted.text) == (None, (position,))
        assert session.ask() == (Frame(OURS, 0, 0, position, TokenIds((position,)), sample=True),)
    last = session.accept(token(7, 7))
    assert last is not None
    assert (session.ask(), last.reason, last.text) == ((), FinishReason.LENGTH, (7,))
    assert session.tokens == (5, 6, 7)


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_stop_token_ends_the_answer_and_is_no_part_of_it(before: int) -> None:
    session = a_session(max_tokens=3)
    for index in range(before):
        assert session.accept(token(5 + index)) is not None
    last = session.accept(token(5 + before, STOP))
    assert last is not None
    assert (session.ask(), last.reason, last.text) == ((), FinishReason.STOP, ())
    assert session.tokens == (7,) * before


def test_an_answer_of_one_token_ends_with_it() -> None:
    session = a_session(max_tokens=1)
    accepted = session.accept(token(5))
    assert accepted is not None
    assert (session.ask(), accepted.reason) == ((), FinishReason.LENGTH)


@pytest.mark.parametrize(
    "stray",
    [
        replace(token(6), session_id=SessionId("f" * 16)),
        replace(token(6), epoch=1),
        token(5),  # repeated
        token(7),  # overtaken
        token(0),
    ],
)
def test_a_token_that_is_not_waited_for_changes_nothing(stray: Token) -> None:
    session = a_session()
    session.accept(token(5))
    assert session.accept(stray) is None
    assert session.tokens == (7,)
    assert session.accept(token(6)) is not None


@pytest.mark.parametrize("last", [STOP, 7])
def test_nothing_is_taken_after_the_end(last: int) -> None:
    session = a_session(max_tokens=1)
    session.accept(token(5, last))
    before = session.tokens
    assert session.accept(token(session.position)) is None
    assert session.accept(token(5, last)) is None
    assert session.tokens == before


def test_tokens_of_the_route_before_are_dropped() -> None:
    session = a_session()
    session.epoch = 1
    assert session.accept(token(5)) is None
    assert session.accept(replace(token(5), epoch=1)) is not None
    assert {frame.epoch for frame in session.frames_from(0)} == {1}


@pytest.mark.parametrize(
    ("position", "ids", "starts"),
    [
        pytest.param(0, (100, 101, 102, 103, 104, 7, 8), [0], id="all"),
        pytest.param(3, (103, 104, 7, 8), [3], id="within the prompt"),
        pytest.param(6, (8,), [6], id="the newest token"),
        pytest.param(7, (), [], id="nothing: somebody behind has it"),
        pytest.param(9, (), [], id="the stages know more than the gateway"),
    ],
)
def test_a_first_stage_is_sent_what_it_lacks(position: int, ids: tuple[int, ...], starts: list[int]) -> None:
    session = a_session(max_tokens=9)
    session.accept(token(5, 7))
    session.accept(token(6, 8))
    frames = session.frames_from(position)
    sent = [frame.payload.ids for frame in frames if isinstance(frame.payload, TokenIds)]
    assert sum(sent, ()) == ids
    assert [frame.start for frame in frames] == starts
    assert all(frame.sample for frame in frames)


def test_what_is_sent_again_goes_in_frames_of_which_only_the_last_asks() -> None:
    session = a_session(num_prompt=MAX_FRAME_POSITIONS)
    session.accept(token(MAX_FRAME_POSITIONS))
    frames = session.frames_from(10)
    assert [(frame.start, frame.sample) for frame in frames] == [(10, True)]
    frames = session.frames_from(0)
    assert [(frame.start, frame.sample) for frame in frames] == [(0, False), (MAX_FRAME_POSITIONS, True)]


@pytest.mark.parametrize("epoch", [0, 1, EPOCHS_A_GATEWAY - 1, EPOCHS_A_GATEWAY, 3 * EPOCHS_A_GATEWAY + 5])
def test_a_gateway_that_goes_on_begins_above_every_epoch_of_the_one_before(epoch: int) -> None:
    session = a_session()
    session.go_on(epoch, (7, 8))
    before = epoch // EPOCHS_A_GATEWAY
    assert session.epoch == (before + 1) * EPOCHS_A_GATEWAY
    assert (session.tokens, session.position) == ((7, 8), 7)
    assert session.accept(replace(token(7), epoch=epoch)) is None
    accepted = session.accept(replace(token(7), epoch=session.epoch))
    assert accepted is not None
    assert (session.ask(), accepted.reason) == ((), FinishReason.LENGTH)


def test_an_answer_is_full_with_its_last_token_and_not_before() -> None:
    session = a_session(max_tokens=2)
    found = [session.is_full]
    for position in (5, 6):
        session.accept(token(position))
        found.append(session.is_full)
    assert found == [False, False, True]
    whole = a_session(max_tokens=2)
    whole.go_on(0, (7, 8))
    assert whole.is_full


def test_the_context_is_needed_to_its_last_position_and_no_further() -> None:
    assert needed_context(6, 4, 10) == 10
    with pytest.raises(ContextExceeded, match=r"of 7 tokens and an answer of up to 4 make 11, .* is 10"):
        needed_context(7, 4, 10)
    with pytest.raises(ContextExceeded, match="11 tokens are more than the model's context"):
        needed_context(0, 11, 10)


@pytest.mark.parametrize("max_tokens", [0, -1])
def test_an_answer_of_no_tokens_is_refused(max_tokens: int) -> None:
    with pytest.raises(BadSetting, match=f"max_tokens is {max_tokens}"):
        needed_context(1, max_tokens, 10)


@pytest.mark.parametrize(
    ("needed", "planned"), [(1, 1024), (1023, 1024), (1024, 1024), (1025, 2048), (2049, 2500), (2500, 2500)]
)
def test_the_planned_context_is_the_next_step_within_the_limit(needed: int, planned: int) -> None:
    assert planned_context(needed, step=1024, limit=2500) == planned


@pytest.mark.parametrize(
    ("num_rows", "num_stages", "row_s", "expected"),
    [
        (300, 2, 0.0, 64),  # nothing is known
        (300, 1, 0.001, MAX_FRAME_POSITIONS),  # nobody waits for the first part
        (2000, 2, 0.0005, 96),  # 50 ms
        (2000, 2, 0.01, 16),  # never less
        (300, 2, 0.0005, 80),  # a short prompt goes in several all the same
        (300, 3, 0.0005, 48),
        (300, 3, 0.00002, 256),  # but no frame takes less than 5 ms
        (40, 3, 0.0005, 16),
        (30_000, 2, 0.000001, MAX_FRAME_POSITIONS),
    ],
)
def test_a_frame_is_long_enough_to_be_worth_it_and_short_enough_for_stages_to_work_at_once(
    num_rows: int, num_stages: int, row_s: float, expected: int
) -> None:
    assert frame_rows(num_rows, num_stages, row_s) == expected


def test_a_prompt_goes_in_frames_of_so_many_rows_as_are_asked_for() -> None:
    frames = a_session(100).frames_from(10, 40)
    assert [(f.start, _num_ids(f), f.sample) for f in frames] == [
        (10, 40, False),
        (50, 40, False),
        (90, 10, True),
    ]


def _num_ids(frame: Frame) -> int:
    assert isinstance(frame.payload, TokenIds)
    return len(frame.payload.ids)


class Echo:
    """Guesses that the last two tokens come again."""

    name = "echo"

    def __init__(self) -> None:
        self.heard: list[int] = []

    def came(self, tokens: Sequence[int]) -> None:
        self.heard.extend(tokens)

    def guess(self, most: int, pending: Sequence[int] = ()) -> Guess:
        tokens = (tuple((*self.heard, *pending)[-2:]) * 9)[:most]
        return Guess(tokens, (Kind("echo", 0, 0.5),) * len(tokens))


def a_guessing_session(max_tokens: int = 9, depth: int = 2, num_ahead: int = 0) -> tuple[Session, Echo]:
    echo = Echo()
    prompt = tuple(range(100, 105))
    speculation = Speculation([echo], depth, num_ahead)
    return Session(OURS, prompt, max_tokens, frozenset({STOP}), speculation), echo


def route(*versions: ProtocolVersion) -> Plan:
    """A route of stages on nodes of these versions."""
    count = len(versions)
    nodes = (
        NodeRecord(NodeId("1" * 32), "tv", DeviceClass.TV, Address("127.0.0.1", 1), "home", version, 1)
        for version in versions
    )
    stages = (PlannedStage(node, Span(at, at + 1), 1, 1) for at, node in enumerate(nodes))
    return Plan(SMOLLM2.ref, Precision.INT4, 64 * count, tuple(stages))


@dataclass(frozen=True)
class Heard:
    """What tokens led to."""

    text: tuple[int, ...]
    reason: FinishReason | None
    frames: tuple[Frame, ...]


def heard(session: Session, token: Token) -> Heard:
    """Have tokens accepted, and the next asked for."""
    accepted = session.accept(token)
    assert accepted is not None
    return Heard(accepted.text, accepted.reason, session.ask())


def test_guesses_go_along_with_the_newest_token() -> None:
    session, echo = a_guessing_session()
    accepted = heard(session, token(5, 7))
    assert accepted.frames == (Frame(OURS, 0, 0, 5, TokenIds((7, 104, 7)), sample=True, drafts=(104, 7)),)
    assert echo.heard == [100, 101, 102, 103, 104, 7]


def test_all_that_was_guessed_right_is_taken_and_the_next_frame_starts_behind_it() -> None:
    session, echo = a_guessing_session()
    heard(session, token(5, 7))
    accepted = heard(session, Token(OURS, 0, 6, 104, (7, 8)))
    assert accepted.text == (104, 7, 8)
    assert session.tokens == (7, 104, 7, 8)
    assert accepted.frames == (Frame(OURS, 0, 0, 8, TokenIds((8, 7, 8)), sample=True, drafts=(7, 8)),)
    assert echo.heard[-4:] == [7, 104, 7, 8]
    assert session.accept(token(7, 7)) is None  # what came is not waited for any more


@pytest.mark.parametrize(
    ("tokens", "text", "reason"),
    [
        ((104, STOP, 9), (104,), FinishReason.STOP),
        ((STOP, 7, 9), (), FinishReason.STOP),
        ((104, 7, 9), (104, 7), FinishReason.LENGTH),
    ],
)
def test_what_comes_behind_the_end_is_dropped(
    tokens: tuple[int, ...], text: tuple[int, ...], reason: FinishReason
) -> None:
    session, _ = a_guessing_session(max_tokens=3)
    heard(session, token(5, 7))
    accepted = heard(session, Token(OURS, 0, 6, tokens[0], tokens[1:]))
    assert (accepted.text, accepted.reason, accepted.frames) == (text, reason, ())
    assert session.tokens == (7, *text)


def test_no_more_is_guessed_than_the_answer_may_have() -> None:
    session, _ = a_guessing_session(max_tokens=3)
    accepted = heard(session, token(5, 7))
    assert accepted.frames[0].drafts == (104,)  # with what is drawn behind it the answer has three
    accepted = heard(session, token(6, 8))
    assert accepted.frames[0].drafts == ()


def test_nothing_is_guessed_on_a_route_that_does_not_understand_it() -> None:
    session, _ = a_guessing_session()
    session.take_route(route(ProtocolVersion(1, 0)))
    accepted = heard(session, token(5, 7))
    assert accepted.frames == (Frame(OURS, 0, 0, 5, TokenIds((7,)), sample=True),)


def test_others_begin_only_with_what_the_stages_have_for_sure() -> None:
    session, _ = a_guessing_session(max_tokens=4)
    assert session.reusable == session.history
    heard(session, token(5, 7))
    heard(session, Token(OURS, 0, 6, 104, (8,)))  # the row of position 7 is of a 7 that was guessed wrong
    assert session.reusable == (*range(100, 105), 7, 104)
    plain = a_session()
    plain.accept(token(5, 7))
    assert plain.reusable == plain.history


def test_another_route_asks_for_the_token_without_the_guesses_of_the_last() -> None:
    session, _ = a_guessing_session()
    heard(session, token(5, 7))
    session.reopened()
    assert session.epoch == 1
    (frame,) = session.frames_from(3)
    assert (frame.payload, frame.drafts, frame.sample) == (TokenIds((103, 104, 7)), (), True)
    heard(session, Token(OURS, 1, 6, 104))
    guesses = session.guesses
    assert guesses is not None
    assert (guesses.num_drafted, guesses.num_traversals) == (0, 2)


def starts(frames: Sequence[Frame]) -> list[tuple[int, tuple[int, ...], int | None]]:
    """Where frames start, what is guessed in them, and what was verified before those that go ahead."""
    verified = [frame.ahead.verified_to if frame.ahead else None for frame in frames]
    return [(frame.start, frame.drafts, to) for frame, to in zip(frames, verified, strict=True)]


def test_what_may_follow_goes_ahead_in_frames_of_its_own() -> None:
    session, _ = a_guessing_session(max_tokens=20, depth=1, num_ahead=2)
    accepted = heard(session, token(5, 7))
    assert starts(accepted.frames) == [(5, (104,), None), (7, (7, 104), 6), (9, (7, 104), 6)]
    assert [frame.payload for frame in accepted.frames] == [
        TokenIds((7, 104)),
        TokenIds((7, 104)),
        TokenIds((7, 104)),
    ]


def test_while_all_is_right_only_another_one_goes_ahead() -> None:
    session, _ = a_guessing_session(max_tokens=20, depth=1, num_ahead=2)
    heard(session, token(5, 7))
    accepted = heard(session, Token(OURS, 0, 6, 104, (7,)))
    assert (accepted.text, starts(accepted.frames)) == ((104, 7), [(11, (7, 104), 8)])
    accepted = heard(session, Token(OURS, 0, 8, 104, (7,)))
    assert starts(accepted.frames) == [(13, (7, 104), 10)]
    assert session.guesses == Guesses(2, (Drafted("echo", 4, 4),))


@pytest.mark.parametrize("more", [(), (8,)])
def test_a_wrong_guess_makes_void_what_went_ahead_of_it(more: tuple[int, ...]) -> None:
    session, _ = a_guessing_session(max_tokens=20, depth=1, num_ahead=2)
    heard(session, token(5, 7))
    first = 104 if more else 8
    accepted = heard(session, Token(OURS, 0, 6, first, more))
    assert accepted.frames[0].start == session.position - 1
    assert accepted.frames[0].ahead is None
    assert accepted.frames[1].start == session.position + 1
    assert session.guesses == Guesses(2, (Drafted("echo", 5, int(bool(more))),))


def test_no_more_goes_ahead_than_the_answer_may_have() -> None:
    session, _ = a_guessing_session(max_tokens=5, depth=1, num_ahead=3)
    accepted = heard(session, token(5, 7))
    assert starts(accepted.frames) == [(5, (104,), None), (7, (7, 104), 6)]
    accepted = heard(session, Token(OURS, 0, 6, 104, (7,)))
    assert accepted.frames == ()
    accepted = heard(session, Token(OURS, 0, 8, 104, (9,)))
    assert (accepted.reason, session.tokens) == (FinishReason.LENGTH, (7, 104, 7, 104, 9))


def test_what_went_ahead_by_the_last_route_is_void() -> None:
    session, _ = a_guessing_session(max_tokens=20, depth=1, num_ahead=2)
    heard(session, token(5, 7))
    session.reopened()
    session.resumed(Resume(OURS, 1, 0, 6, 6))
    accepted = heard(session, Token(OURS, 1, 6, 104))
    assert starts(accepted.frames)[0] == (6, (7,), None)


def test_nothing_is_guessed_until_all_that_the_stages_of_a_reopened_route_have_is_known() -> None:
    session, _ = a_guessing_session(max_tokens=20, depth=1, num_ahead=1)
    session.take_route(route(ProtocolVersion(1, 1), ProtocolVersion(1, 1)))
    heard(session, token(5, 7))
    session.reopened()
    session.resumed(Resume(OURS, 1, 0, 0, 0))
    accepted = heard(session, Token(OURS, 1, 6, 104))
    assert starts(accepted.frames) == [(6, (), None)]  # the other stage has not spoken
    session.resumed(Resume(OURS, 1, 1, 8, 8))
    for position in (7, 8):
        assert not session.has_caught_up
        accepted = heard(session, Token(OURS, 1, position, 104))
    assert session.has_caught_up
    assert starts(accepted.frames) == [(8, (104,), None), (10, (104, 104), 9)]


def test_a_reopened_route_is_told_by_which_tokens_guesses_were_right() -> None:
    session, _ = a_guessing_session()
    heard(session, token(5, 7))
    assert session.newest == ()  # nothing was guessed before the first route
    session.reopened()
    assert session.newest == (*range(100, 105), 7)
    plain = a_session()
    plain.reopened()
    assert plain.newest == ()


def test_a_stage_that_guesses_is_told_the_tokens_and_what_it_guessed_goes_along() -> None:
    prompt = tuple(range(100, 105))
    session = Session(OURS, prompt, 9, frozenset({STOP}), Speculation([Told(Drafting.MTP)], 2))
    asked = session.frames_from(0, 3)
    assert [(frame.tokens, frame.num_wanted) for frame in asked] == [(prompt[:3], 0), (prompt[3:], 2)]
    accepted = heard(session, Token(OURS, 0, 5, 7, (), (8, 9)))
    (frame,) = accepted.frames
    assert (frame.drafts, frame.tokens, frame.num_wanted) == ((8, 9), (7, 8, 9), 2)
