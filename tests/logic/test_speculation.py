"""How much of a guess goes along: as much as pays, by what was seen of the session."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mesh.logic.drafting import Guess
from mesh.logic.speculation import MOST_DRAFTS, Speculation
from mesh.types import Guesses

ALONE_S = 0.02
RIGHT = tuple(range(1, MOST_DRAFTS + 1))


class Same:
    """Guesses the same each time."""

    name = "same"

    def __init__(self, tokens: Sequence[int] = RIGHT) -> None:
        self.tokens = tuple(tokens)
        self.heard: list[int] = []

    def came(self, tokens: Sequence[int]) -> None:
        self.heard.extend(tokens)

    def guess(self, most: int) -> Guess:
        return Guess(self.tokens[:most], 4)


def rounds(
    speculation: Speculation, number: int, *, num_right: int, row_share: float = 0.1, most: int = 100
) -> list[int]:
    """So many traversals, in each of which so many guesses are right; returns how many were sent."""
    depths = []
    for _ in range(number):
        drafts = speculation.drafts(most)
        right = drafts[:num_right]
        speculation.took(ALONE_S * (1 + row_share * len(drafts)))
        if drafts:
            speculation.came((*right, 0))
        else:
            speculation.came((1 if num_right else 0,))
        depths.append(len(drafts))
    return depths


def test_guesses_that_are_always_right_are_sent_in_full() -> None:
    assert rounds(Speculation(Same()), 60, num_right=MOST_DRAFTS)[-1] == MOST_DRAFTS


def test_guesses_that_are_never_right_are_soon_sent_no_more() -> None:
    depths = rounds(Speculation(Same()), 60, num_right=0)
    assert sum(depths) < 20
    assert set(depths[-40:]) == {0}


def test_guesses_that_get_better_are_sent_again_though_none_was_for_long() -> None:
    speculation = Speculation(Same())
    rounds(speculation, 60, num_right=0)
    assert rounds(speculation, 60, num_right=MOST_DRAFTS)[-1] == MOST_DRAFTS


@pytest.mark.parametrize(("row_share", "least", "most"), [(0.02, 5, MOST_DRAFTS), (0.45, 1, 2), (1.0, 0, 0)])
def test_where_a_row_costs_more_fewer_go_along(row_share: float, least: int, most: int) -> None:
    speculation = Speculation(Same())
    rounds(speculation, 30, num_right=0, row_share=row_share)  # what one alone takes
    depths = rounds(speculation, 300, num_right=2, row_share=row_share)
    usual = sorted(depths[-50:])[25]
    assert least <= usual <= most


def test_no_more_is_sent_than_there_is_room_for() -> None:
    speculation = Speculation(Same(), depth=5)
    assert len(speculation.drafts(3)) == 3
    assert speculation.drafts(0) == ()
    assert speculation.drafts(-1) == ()


def test_a_depth_that_is_given_is_kept_to_whatever_it_is_worth() -> None:
    assert set(rounds(Speculation(Same(), depth=3), 50, num_right=0)) == {3}
    assert set(rounds(Speculation(Same(), depth=0), 50, num_right=MOST_DRAFTS)) == {0}


def test_what_was_guessed_is_counted() -> None:
    speculation = Speculation(Same(), depth=3)
    speculation.begin((5, 6))
    speculation.came((7,))
    speculation.drafts(10)
    speculation.came((1, 2, 9))
    speculation.drafts(10)
    speculation.came((8,))
    assert speculation.guesses == Guesses("same", num_drafted=6, num_right=2, num_traversals=3)
    assert speculation.guesses.accept_length == pytest.approx(5 / 3)


def test_guesses_that_went_down_with_a_route_are_not_judged() -> None:
    drafter = Same()
    speculation = Speculation(drafter, depth=3)
    speculation.came((7,))
    speculation.drafts(10)
    speculation.nothing_sent()
    speculation.came((1,))
    assert speculation.guesses == Guesses("same", num_drafted=0, num_right=0, num_traversals=2)
    assert drafter.heard == [7, 1]
