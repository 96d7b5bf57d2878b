"""What one stage keeps of a session and sends on; and chains of stages, whatever is lost when."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mesh.config import MAX_FRAME_POSITIONS
from mesh.logic import relay as relay_module
from mesh.logic.relay import Relay, Rewound, Rows
from mesh.types import Ahead
from tests.logic.chain import Chain, answer, undivided


def rows(start: int, num_rows: int = 1, *, sample: bool = True) -> Rows:
    """Rows of one byte each, which is the position."""
    data = bytes(position % 256 for position in range(start, start + num_rows))
    return Rows(start, num_rows, data, sample)


def a_relay(*sizes: int) -> Relay:
    """One that has computed and sent on a prompt, and then one row after the other."""
    relay, start = Relay(), 0
    for size in sizes:
        assert relay.computed(rows(start, size)) == [rows(start, size)]
        start += size
    return relay


def test_rows_are_sent_on_as_they_are_made() -> None:
    relay = a_relay(20, 1, 1)
    assert relay.length == relay.kept_bytes == 22


def test_a_frame_that_starts_earlier_takes_back_what_followed_and_is_sent_on() -> None:
    relay = a_relay(20, 1, 1)
    assert relay.takes(10)
    assert relay.computed(rows(10, 2)) == [rows(10, 2)]
    assert relay.length == relay.kept_bytes == 12


@pytest.mark.parametrize(
    ("position", "lacking"),
    [
        pytest.param(0, [rows(0, 22)], id="it is new"),
        pytest.param(7, [rows(7, 15)], id="within a frame"),
        pytest.param(20, [rows(20, 2)], id="between two frames"),
        pytest.param(21, [rows(21, 1)], id="one was under way"),
        pytest.param(22, [], id="it has all"),
    ],
)
def test_the_next_hop_gets_what_it_lacks_in_one_frame(position: int, lacking: list[Rows]) -> None:
    relay = a_relay(20, 1, 1)
    assert relay.reopen(22) == Rewound(22, 22)
    assert relay.resumed(position) == lacking


def test_rows_beyond_what_the_gateway_knows_go_one_by_one_so_that_each_draws_its_token_again() -> None:
    relay = a_relay(20, 1, 1, 1)
    relay.reopen(21)
    assert relay.resumed(0) == [rows(0, 21), rows(21), rows(22)]


def test_a_gateway_that_knows_the_prompt_only_gets_the_first_token_again() -> None:
    relay = a_relay(20, 1, 1)
    relay.reopen(20)
    assert relay.resumed(0) == [rows(0, 20), rows(20), rows(21)]


def test_a_new_stage_sends_on_only_what_lies_beyond_that_which_the_next_hop_has() -> None:
    relay = Relay()
    assert relay.reopen(0) == Rewound(0, 0)
    assert relay.resumed(22) == []
    assert relay.computed(rows(0, 10, sample=False)) == []
    assert relay.computed(rows(10, 12, sample=False)) == []
    assert relay.computed(rows(22, 1)) == [rows(22, 1)]


def test_a_new_stage_between_two_frames_sends_the_part_that_lies_beyond() -> None:
    relay = Relay()
    relay.reopen(20)
    relay.resumed(15)
    assert relay.computed(rows(0, 20)) == [rows(15, 5)]


def test_nothing_is_sent_on_before_the_next_hop_has_said_what_it_has() -> None:
    relay = a_relay(20)
    relay.reopen(22)
    assert relay.computed(rows(20)) == []
    assert relay.computed(rows(21)) == []
    assert relay.resumed(20) == [rows(20, 2)]
    assert relay.computed(rows(22)) == [rows(22)]


def test_frames_that_were_sent_before_the_hop_before_was_asked_are_not_taken() -> None:
    relay = a_relay(20)
    relay.reopen(0)
    assert not relay.takes(21)
    assert relay.takes(20)
    assert relay.takes(21)


def test_rows_that_are_not_kept_any_more_are_asked_for_and_made_anew() -> None:
    relay = a_relay(20, 1)
    relay.forget()
    assert relay.kept_bytes == 0
    relay.computed(rows(21))
    relay.reopen(22)
    assert relay.resumed(5) == Rewound(5, 22)
    assert not relay.takes(22)
    assert relay.takes(5)
    assert relay.computed(rows(5, 17)) == [rows(5, 17)]
    assert relay.length == 22
    relay.reopen(22)
    assert relay.resumed(5) == [rows(5, 17)]  # those are kept now


def test_what_is_kept_still_is_sent_though_earlier_rows_were_forgotten() -> None:
    relay = a_relay(20)
    relay.forget()
    relay.computed(rows(20))
    relay.reopen(0)
    assert relay.resumed(20) == [rows(20)]


def test_a_stage_that_forgot_everything_and_is_not_asked_for_it_computes_nothing_again() -> None:
    relay = a_relay(20)
    relay.forget()
    relay.reopen(0)
    assert relay.resumed(20) == []
    assert relay.takes(20)
    assert relay.computed(rows(20)) == [rows(20)]


def test_what_is_sent_again_goes_in_frames_that_are_not_too_large_and_only_the_last_asks() -> None:
    whole = MAX_FRAME_POSITIONS
    relay = a_relay(whole, whole, 100, 1, 1)
    relay.reopen(2 * whole + 102)
    sent = relay.resumed(0)
    assert isinstance(sent, list)
    assert [(part.start, part.num_rows) for part in sent] == [(0, whole), (whole, whole), (2 * whole, 102)]
    assert [part.sample for part in sent] == [False, False, True]
    assert b"".join(part.data for part in sent) == rows(0, 2 * whole + 102).data


def test_rows_that_end_before_the_one_that_asks_do_not_ask() -> None:
    relay = Relay()
    relay.computed(rows(0, 10, sample=False))
    relay.reopen(30)
    assert relay.resumed(4) == [rows(4, 6, sample=False)]


def test_rows_that_were_made_in_one_frame_are_cut_where_the_gateway_lacks_their_tokens() -> None:
    relay = a_relay(22)
    relay.reopen(20)
    assert relay.resumed(0) == [rows(0, 20), rows(20), rows(21)]
    relay.reopen(20)
    assert relay.resumed(19) == [rows(19), rows(20), rows(21)]


def test_a_last_stage_that_has_not_the_token_that_is_wanted_asks_for_the_row_before_it() -> None:
    relay = Relay()
    relay.advanced(22)
    relay.reopen(20)
    assert relay.take_back(19) == Rewound(19, 22)
    assert not relay.takes(22)
    assert relay.takes(19)


def test_the_last_stage_has_no_rows_to_send() -> None:
    relay = Relay()
    relay.advanced(22)
    assert (relay.length, relay.kept_bytes) == (22, 0)
    assert relay.reopen(0) == Rewound(22, 22)


Step = tuple[str, int]

_STEPS = st.one_of(
    st.tuples(st.just("deliver"), st.integers(0, 9)),
    st.tuples(st.just("deliver many"), st.integers(0, 9)),
    st.tuples(st.just("lose"), st.integers(1, 15)),
    st.tuples(st.just("break links"), st.integers(0, 511)),
    st.tuples(st.just("forget"), st.integers(0, 3)),
)
_TAKE_OVER = st.tuples(st.just("take over"), st.integers(0, 3))
_ROLL_BACK = st.tuples(st.just("roll back"), st.integers(0, 20))


def do(chain: Chain, step: Step) -> None:
    kind, number = step
    acts: dict[str, Callable[[], None]] = {
        "deliver": lambda: chain.deliver(number),
        "deliver many": lambda: deliver_many(chain, number),
        "lose": lambda: chain.lose({i for i in range(len(chain.stages)) if number >> i & 1}),
        "break links": lambda: chain.break_links(number),
        "forget": lambda: chain.forget(number % len(chain.stages)),
        "take over": lambda: chain.take_over(number),
        "roll back": lambda: chain.roll_back(number, 77),
    }
    acts[kind]()


def deliver_many(chain: Chain, number: int) -> None:
    for turn in range(12):
        chain.deliver(number * (turn + 1))


def check(
    num_stages: int,
    prompt: list[int],
    num_positions: int,
    steps: list[Step],
    *,
    is_once: bool = True,
    guess: Callable[[list[int]], tuple[int, ...]] = lambda _: (),
    ahead: int = 0,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relay_module, "MAX_FRAME_POSITIONS", 4)
        chain = Chain(num_stages, prompt, num_positions, max_rows=4, guess=guess, ahead=ahead)
        for step in steps:
            do(chain, step)
        chain.deliver_all()
    assert chain.ids == answer(num_stages, chain.ids[: chain.num_prompt], chain.num_positions)
    assert chain.stages[-1].made[: len(chain.ids)] == undivided(num_stages, chain.ids)
    for stage in chain.stages:
        right = enumerate(undivided(stage.index + 1, chain.ids))
        assert stage.has_forgotten or not stage.given_up & set(right)
    if not is_once:
        return
    assert [stage.index for stage in chain.stages if stage.again and not stage.has_forgotten] == []


def guesses(num_stages: int, plan: list[tuple[int, int]]) -> Callable[[list[int]], tuple[int, ...]]:
    """Guess, in turn, so many tokens right and so many wrong."""
    turns = itertools.cycle(plan or [(0, 0)])

    def guess(ids: list[int]) -> tuple[int, ...]:
        num_right, num_wrong = next(turns)
        right = answer(num_stages, ids, len(ids) + num_right)[len(ids) :]
        return (*right, *(98 + number for number in range(num_wrong)))

    return guess


_CHAINS = {
    "num_stages": st.integers(2, 4),
    "prompt": st.lists(st.integers(1, 100), min_size=1, max_size=9),
    "num_positions": st.integers(0, 14),
}


@settings(max_examples=50, deadline=None)
@given(**_CHAINS, steps=st.lists(_STEPS, max_size=25))
def test_whatever_is_lost_when_the_answer_is_that_of_the_undivided_model_and_nobody_makes_a_row_twice(
    num_stages: int, prompt: list[int], num_positions: int, steps: list[Step]
) -> None:
    check(num_stages, prompt, num_positions, steps)


_LATE_LOSS: list[Step] = [*[("deliver", 0)] * 4, ("lose", 4), ("deliver many", 0), ("take over", 1)]
"""The last stage is replaced, and then a gateway goes on whose client has not heard the token before."""


@settings(max_examples=50, deadline=None)
@given(**_CHAINS, steps=st.lists(st.one_of(_STEPS, _TAKE_OVER), max_size=25))
@example(num_stages=3, prompt=[1], num_positions=2, steps=_LATE_LOSS)
def test_a_gateway_that_knows_less_than_the_stages_comes_to_the_same_answer(
    num_stages: int, prompt: list[int], num_positions: int, steps: list[Step]
) -> None:
    check(num_stages, prompt, num_positions, steps, is_once=False)


@settings(max_examples=50, deadline=None)
@given(**_CHAINS, steps=st.lists(st.one_of(_STEPS, _ROLL_BACK), max_size=15))
def test_what_a_gateway_takes_back_leaves_nothing_behind(
    num_stages: int, prompt: list[int], num_positions: int, steps: list[Step]
) -> None:
    check(num_stages, prompt, num_positions, steps)


def test_a_cache_that_begins_like_another_sends_on_what_it_computes_behind_that() -> None:
    relay = Relay()
    relay.begin_with(20)
    assert relay.reopen(30) == Rewound(20, 20)
    assert relay.resumed(20) == []
    assert relay.takes(20)
    assert relay.computed(rows(20, 10)) == [rows(20, 10)]
    assert relay.length == 30


def test_rows_that_another_session_has_made_are_made_anew_where_the_next_hop_lacks_them() -> None:
    relay = Relay()
    relay.begin_with(20)
    relay.reopen(30)
    assert relay.resumed(5) == Rewound(5, 20)
    assert not relay.takes(20)  # it was under way already
    assert relay.takes(5)
    assert relay.computed(rows(5, 25)) == [rows(5, 25)]


def test_a_stage_with_less_than_the_next_sends_on_only_what_that_one_lacks() -> None:
    relay = Relay()
    relay.begin_with(0)
    relay.reopen(30)
    assert relay.resumed(20) == []
    assert relay.computed(rows(0, 30)) == [rows(20, 10)]


_ANOTHER_GATEWAY: list[Step] = [("deliver many", 0), ("take over", 0)]
"""It knows the newest token, and the stages have the row of a wrong guess in its place."""
_UNHEARD: list[Step] = [*[("deliver", 0)] * 8, ("lose", 1)]
"""The last stage is further than a gateway that guesses wrong, and than the new stage before it."""
_MANY_UNHEARD: list[Step] = [("deliver", 0), ("deliver", 0), ("deliver many", 0), ("lose", 1)]
"""It has drawn tokens for right guesses, and tells them again one by one, as if they were those asked for."""
_LOST_BEFORE: list[Step] = [("deliver many", 0), ("break links", 2)]
"""A frame is lost, and the one that goes ahead of it comes to a stage with as many rows of other guesses."""
_GUESSES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=6)


@settings(max_examples=500, deadline=None)
@given(
    **_CHAINS,
    steps=st.lists(st.one_of(_STEPS, _TAKE_OVER), max_size=25),
    plan=_GUESSES,
    ahead=st.integers(0, 3),
)
@example(num_stages=2, prompt=[1], num_positions=6, steps=_ANOTHER_GATEWAY, plan=[(0, 1)], ahead=0)
@example(3, [1], 4, _LOST_BEFORE, [(0, 1)], 1)
@example(2, [1], 7, _UNHEARD, [(2, 0), (1, 0), (0, 1), (0, 1)], 2)
@example(2, [1], 9, _MANY_UNHEARD, [(0, 0), (2, 0), (0, 0)], 1)
def test_guesses_right_and_wrong_change_no_token_whatever_is_lost_when(
    num_stages: int,
    prompt: list[int],
    num_positions: int,
    steps: list[Step],
    plan: list[tuple[int, int]],
    ahead: int,
) -> None:
    guess = guesses(num_stages, plan)
    check(num_stages, prompt, num_positions, steps, is_once=False, guess=guess, ahead=ahead)


def test_what_follows_a_frame_that_was_lost_is_not_taken() -> None:
    relay = a_relay(20)
    relay.computed(replace(rows(20, 2), drafts=(98,)))
    ahead = Ahead(21, 21)
    assert relay.takes(22, ahead)
    assert not relay.takes(23, ahead)
    assert not relay.takes(22, Ahead(22, 22))  # it follows a frame with the token of position 21


@pytest.mark.parametrize("has", [3, 4, 6])
def test_of_guesses_of_which_the_next_hop_has_a_part_nothing_is_sent(has: int) -> None:
    relay = Relay()
    relay.reopen(2)
    relay.resumed(has)
    relay.computed(rows(0, 2))
    assert relay.computed(replace(rows(2, 3), drafts=(98, 98))) == []
    ahead = replace(rows(5, 2), drafts=(98, 98), ahead=Ahead(3, 3))
    assert relay.computed(ahead) == []  # as what is known a guess would be taken for a token


@pytest.mark.parametrize(
    ("newest", "length"),
    [
        pytest.param((8, 1, 2, 3), 24, id="all were right"),
        pytest.param((8, 1, 2, 7), 23, id="the last was wrong"),
        pytest.param((8, 7, 2, 3), 21, id="what follows a wrong one is void"),
        pytest.param((2,), 21, id="too few are told"),
        pytest.param((8, 1), 22, id="the gateway has not come further"),
    ],
)
def test_rows_of_guesses_that_a_reopened_route_shows_to_be_right_stay(
    newest: tuple[int, ...], length: int
) -> None:
    relay = a_relay(20)
    relay.computed(replace(rows(20, 3), drafts=(1, 2)))
    relay.computed(replace(rows(23, 1), drafts=(3,), ahead=Ahead(21, 21)))
    known = 23 if newest == (2,) else 20 + len(newest)
    assert relay.reopen(known, newest) == Rewound(length, length)
    lacking = relay.resumed(0)
    assert isinstance(lacking, list)
    (sent,) = lacking
    assert (sent.data, sent.drafts) == (rows(0, length).data, ())


def test_rows_of_guesses_of_which_nobody_has_said_that_they_are_right_are_given_up_with_the_route() -> None:
    relay = a_relay(20)
    guessed = replace(rows(20, 4), drafts=(1, 2, 3))
    assert relay.computed(guessed) == [guessed]
    assert (relay.length, relay.reached) == (24, 21)
    assert relay.reopen(21) == Rewound(21, 21)
    assert relay.resumed(0) == [rows(0, 21)]


def test_rows_of_guesses_that_were_right_stay_and_are_sent_again_as_known_ones() -> None:
    relay = a_relay(20)
    relay.computed(replace(rows(20, 4), drafts=(1, 2, 3)))
    following = replace(rows(22, 3), drafts=(4, 5))  # two were right
    assert relay.computed(following) == [following]
    assert relay.reopen(23) == Rewound(23, 23)
    assert relay.resumed(20) == [rows(20, 3)]
    after = replace(rows(23, 2), drafts=(6,))
    assert relay.computed(after) == [after]
