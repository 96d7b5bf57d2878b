"""`--kill NAME@TOKEN` is read once and clearly, and each device is killed at its token and once."""

from __future__ import annotations

import pytest

from mesh.errors import BadSetting
from nodes.demo.kills import Kill, KillList, missed_line, parse_kills
from tests.nodes.shown import DEVICES


def test_kills_are_read_and_sorted_by_token() -> None:
    kills = parse_kills(["tv@20", "phone@8", "car@20"], DEVICES, 20)
    assert kills == (Kill("phone", 8), Kill("tv", 20), Kill("car", 20))
    assert parse_kills([], DEVICES, 20) == ()


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["radio@8"], "there is no device 'radio' to kill; the demo has phone, car, tv"),
        (["tv"], "'tv' does not say whom to kill when; write NAME@TOKEN, for instance tv@8"),
        (["@8"], "'@8' does not say whom to kill when"),
        (["tv@0"], "'0' is no token to kill tv at; give a number from 1, like tv@8"),
        (["tv@-1"], "'-1' is no token"),
        (["tv@"], "'' is no token"),
        (["tv@soon"], "'soon' is no token"),
        (["tv@8.5"], "'8.5' is no token"),
        (["tv@٨"], "'٨' is no token"),
        (["tv@9", "phone@21"], "phone cannot be killed at token 21: the answer ends after 20 tokens"),
        (["tv@2", "phone@1", "tv@1"], "tv cannot be killed 2 times; give one --kill for each device"),
    ],
)
def test_a_kill_that_cannot_be_is_one_clear_line(texts: list[str], said: str) -> None:
    with pytest.raises(BadSetting) as raised:
        parse_kills(texts, DEVICES, 20)
    assert said in str(raised.value)


def test_each_is_killed_once_when_its_token_has_come() -> None:
    tv, phone, car = kills = [Kill("tv", 2), Kill("phone", 4), Kill("car", 9)]
    left = KillList(kills)
    assert [left.heard(count) for count in (1, 1, 0, 3, 1)] == [[], [tv], [], [phone], []]
    assert (left.num_tokens, left.left) == (6, (car,))


def test_a_piece_of_several_tokens_kills_all_that_are_due() -> None:
    kills = (Kill("tv", 1), Kill("phone", 3))
    assert KillList(kills).heard(3) == list(kills)


def test_who_was_not_killed_is_told() -> None:
    tv, car = Kill("tv", 30), Kill("car", 31)
    assert missed_line([tv], 23) == "the answer had only 23 tokens, so tv was not killed"
    assert missed_line([tv, car], 1) == "the answer had only 1 token, so tv and car were not killed"
