"""Guesses at what comes next, by where the text stood before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.logic.drafting import NOTHING, PromptLookup, Told


def looked_up(*tokens: int, most: int = 4) -> tuple[int, ...]:
    drafter = PromptLookup()
    drafter.came(tokens)
    return drafter.guess(most).tokens


@pytest.mark.parametrize(
    ("tokens", "guessed"),
    [
        pytest.param((), (), id="nothing is known"),
        pytest.param((1,), (), id="one token"),
        pytest.param((1, 2, 3, 4, 5), (), id="nothing stood before"),
        pytest.param((1, 2, 3, 9, 3), (), id="a single token in common is chance"),
        pytest.param((1, 2, 3, 4, 5, 6, 9, 1, 2), (3, 4, 5, 6), id="what followed then"),
        pytest.param((1, 2, 3, 1, 2), (3, 1, 2, 3), id="round in circles"),
        pytest.param((7, 7, 7), (7, 7, 7, 7), id="the same again and again"),
        pytest.param((1, 2, 3, 9, 1, 2, 4, 8, 1, 2), (4, 8, 1, 2), id="the last time counts"),
        pytest.param((0, 1, 2, 3, 9, 5, 1, 2, 4, 8, 0, 1, 2), (3, 9, 5, 1), id="the longer run counts"),
    ],
)
def test_what_followed_the_same_tokens_before_is_guessed(
    tokens: tuple[int, ...], guessed: tuple[int, ...]
) -> None:
    assert looked_up(*tokens) == guessed


def test_no_more_is_guessed_than_is_wanted() -> None:
    assert looked_up(1, 2, 3, 4, 5, 9, 1, 2, most=2) == (3, 4)
    assert looked_up(1, 2, 3, 1, 2, most=0) == ()


def test_a_longer_run_in_common_is_another_grade() -> None:
    text = tuple(range(40))
    drafter = PromptLookup()
    drafter.came((*text, 99))
    grades = []
    for token in text[:20]:
        drafter.came((token,))
        grades += [kind.grade for kind in drafter.guess(1).kinds]
    assert grades == [0, 1, *[2] * 4, *[3] * 8, *[4] * 5]


def test_without_anything_in_common_there_is_no_guess() -> None:
    drafter = PromptLookup()
    assert drafter.guess(4) == NOTHING


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(0, 8))
def test_it_makes_no_difference_in_which_pieces_tokens_come(tokens: list[int], cut: int) -> None:
    pieces = PromptLookup()
    pieces.came(tokens[:cut])
    for token in tokens[cut:]:
        pieces.came((token,))
    assert pieces.guess(5).tokens == looked_up(*tokens, most=5)


def test_what_is_pending_counts_as_if_it_had_come() -> None:
    drafter = PromptLookup()
    drafter.came((1, 2, 3, 4, 5, 6, 9, 1, 2))
    assert drafter.guess(2, (3, 4)).tokens == (5, 6)
    assert drafter.guess(3, (7,)) == NOTHING
    drafter.came((7, 7, 7))
    assert drafter.guess(3, (7,)).tokens == (7, 7, 7)  # round in circles


def test_what_a_model_told_is_guessed_as_long_as_it_comes_true() -> None:
    drafter = Told("mtp")
    assert drafter.guess(3) == NOTHING
    drafter.told((1, 2, 3, 4))
    assert drafter.guess(2).tokens == (1, 2)
    assert drafter.guess(9, (1, 2)).tokens == (3, 4)
    assert drafter.guess(9, (1, 5)) == NOTHING
    drafter.came((1, 2))
    assert drafter.guess(9).tokens == (3, 4)
    assert [kind.grade for kind in drafter.guess(9).kinds] == [2, 3]
    drafter.came((5,))
    assert drafter.guess(9) == NOTHING


def test_what_is_no_token_of_the_model_is_no_guess() -> None:
    drafter = Told("model", vocab_size=10)
    drafter.told((1, 9, 10, 2))
    assert drafter.guess(9).tokens == (1, 9)
