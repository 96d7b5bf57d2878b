"""How much of a guess goes along: as much as pays, by what was seen of the session."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mesh.logic.drafting import Guess, Kind, Told
from mesh.logic.speculation import MOST_DRAFTS, Speculation
from mesh.types import Drafted, Drafting, Guesses

ALONE_S = 0.02
RIGHT = tuple(range(1, MOST_DRAFTS + 1))


class Same:
    """Guesses the same each time."""

    name = "same"

    def __init__(self, tokens: Sequence[int] = RIGHT, hope: float = 0.5) -> None:
        self.tokens = tuple(tokens)
        self.hope = hope
        self.heard: list[int] = []

    def came(self, tokens: Sequence[int]) -> None:
        self.heard.extend(tokens)

    def guess(self, most: int, pending: Sequence[int] = ()) -> Guess:
        tokens = self.tokens[:most]
        return Guess(tokens, (Kind("same", 0, self.hope),) * len(tokens))


def rounds(
    speculation: Speculation, number: int, *, num_right: int, row_share: float = 0.1, most: int = 100
) -> list[int]:
    """So many traversals, in each of which so many guesses are right; returns how many were sent."""
    depths = []
    for _ in range(number):
        (sending,) = speculation.sending(most)
        drafts = sending.tokens
        right = drafts[:num_right]
        speculation.took(ALONE_S * (1 + row_share * len(drafts)))
        if drafts:
            speculation.came((*right, 0))
        else:
            speculation.came((1 if num_right else 0,))
        depths.append(len(drafts))
    return depths


def test_guesses_that_are_always_right_are_sent_in_full() -> None:
    assert rounds(Speculation([Same()]), 60, num_right=MOST_DRAFTS)[-1] == MOST_DRAFTS


def test_guesses_that_are_never_right_are_soon_sent_no_more() -> None:
    depths = rounds(Speculation([Same()]), 60, num_right=0)
    assert sum(depths) < 20
    assert set(depths[-40:]) == {0}


def test_guesses_that_get_better_are_sent_again_though_none_was_for_long() -> None:
    speculation = Speculation([Same()])
    rounds(speculation, 60, num_right=0)
    assert rounds(speculation, 60, num_right=MOST_DRAFTS)[-1] == MOST_DRAFTS


@pytest.mark.parametrize(("row_share", "least", "most"), [(0.02, 4, MOST_DRAFTS), (0.45, 1, 2), (1.0, 0, 0)])
def test_where_a_row_costs_more_fewer_go_along(row_share: float, least: int, most: int) -> None:
    speculation = Speculation([Same()])
    rounds(speculation, 30, num_right=0, row_share=row_share)  # what one alone takes
    depths = rounds(speculation, 300, num_right=2, row_share=row_share)
    usual = sorted(depths[-50:])[25]
    assert least <= usual <= most


def test_no_more_is_sent_than_there_is_room_for() -> None:
    for most, sent in ((3, 3), (0, 0), (-1, 0)):
        (sending,) = Speculation([Same()], depth=5).sending(most)
        assert len(sending.tokens) == sent


def test_a_depth_that_is_given_is_kept_to_whatever_it_is_worth() -> None:
    assert set(rounds(Speculation([Same()], depth=3), 50, num_right=0)) == {3}
    assert set(rounds(Speculation([Same()], depth=0), 50, num_right=MOST_DRAFTS)) == {0}


def test_what_was_guessed_is_counted() -> None:
    speculation = Speculation([Same()], depth=3)
    speculation.begin((5, 6))
    speculation.came((7,))
    speculation.sending(10)
    speculation.came((1, 2, 9))
    speculation.sending(10)
    speculation.came((8,))
    assert speculation.guesses == Guesses(3, (Drafted("same", num_drafted=6, num_right=2),))
    assert speculation.guesses.accept_length == pytest.approx(5 / 3)


def test_guesses_that_went_down_with_a_route_are_not_judged() -> None:
    drafter = Same()
    speculation = Speculation([drafter], depth=3)
    speculation.came((7,))
    speculation.sending(10)
    speculation.nothing_sent()
    speculation.came((1,))
    assert speculation.guesses == Guesses(2, (Drafted("same", num_drafted=0, num_right=0),))
    assert drafter.heard == [7, 1]


def test_on_one_stage_nothing_goes_ahead() -> None:
    speculation = Speculation([Same(range(1, 24), hope=0.9)])
    for _ in range(10):
        assert [sending.is_ahead for sending in speculation.sending(100)] == [False]
        speculation.took(ALONE_S)
        speculation.came((99,))


@pytest.mark.parametrize(("hope", "goes_ahead"), [(0.95, True), (0.1, False)])
def test_guesses_that_are_mostly_right_go_ahead_on_several_stages(hope: float, *, goes_ahead: bool) -> None:
    speculation = Speculation([Same(range(1, 24), hope=hope)])
    speculation.route(3)
    speculation.sending(0)
    speculation.took(ALONE_S)
    speculation.came((99,))
    assert any(sending.is_ahead for sending in speculation.sending(100)) is goes_ahead


def test_where_nobody_knows_what_may_come_nothing_goes_ahead() -> None:
    speculation = Speculation([Same(())])
    speculation.route(3)
    for _ in range(5):
        (sending,) = speculation.sending(100)
        assert (sending.tokens, sending.is_ahead) == ((), False)
        speculation.took(ALONE_S)
        speculation.came((99,))


def test_what_went_ahead_and_was_right_is_counted_with_the_frame_that_it_came_with() -> None:
    speculation = Speculation([Same(range(1, 24))], depth=1, num_ahead=2)
    first, *ahead = speculation.sending(100)
    assert [sending.tokens for sending in (first, *ahead)] == [(1,), (2, 3), (4, 5)]
    kinds = [speculation.is_of_traversal]
    speculation.came((1, 2))
    kinds.append(speculation.is_of_traversal)
    assert kinds == [True, False]
    pending = [speculation.pending]
    speculation.came((3, 9))
    assert [*pending, speculation.pending] == [(3, 4, 5), ()]
    assert speculation.guesses == Guesses(1, (Drafted("same", num_drafted=5, num_right=3),))


def test_a_model_that_guesses_badly_is_seldom_asked() -> None:
    speculation = Speculation([Told(Drafting.MTP)])
    wanted = []
    for _ in range(60):
        (sending,) = speculation.sending(100)
        wanted.append(speculation.num_wanted)
        speculation.took(ALONE_S * (1 + 0.2 * len(sending.tokens)))
        speculation.came((99,))
        speculation.told(Drafting.MTP, (1, 2, 3)[: wanted[-1]])
    assert sum(count > 0 for count in wanted[-20:]) == 5


def test_a_model_that_guesses_well_is_asked_for_more() -> None:
    speculation = Speculation([Told(Drafting.MTP)])
    speculation.told(Drafting.MTP, (1, 2))
    for _ in range(40):
        (sending,) = speculation.sending(100)
        wanted = speculation.num_wanted
        speculation.took(ALONE_S * (1 + 0.05 * len(sending.tokens)))
        speculation.came((*sending.tokens, 7))
        speculation.told(Drafting.MTP, tuple(range(wanted)))
    assert len(sending.tokens) == MOST_DRAFTS
