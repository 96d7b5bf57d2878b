"""Guesses at what comes next, by where the text stood before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.logic.drafting import NOTHING, PromptLookup


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
        grades.append(drafter.guess(1).grade)
    assert grades == [0, *range(2, 17), 16, 16, 16, 16]


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
