"""Times to rest are kept to the minute, over midnight too, and a mistake in them is one clear line."""

from __future__ import annotations

import pytest

from mesh.errors import BadSetting
from mesh.logic.rest import DAY_MINUTES, RestTime, is_within, next_change, parse_rest_time, resting_until


def times(*texts: str) -> list[RestTime]:
    return [parse_rest_time(text) for text in texts]


def minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("22:00-07:00", 22 * 60, 7 * 60),
        (" 9:05 - 17:30 ", 9 * 60 + 5, 17 * 60 + 30),
        ("00:00-24:00", 0, DAY_MINUTES),
        ("22:00-00:00", 22 * 60, 0),
        ("00:00-00:01", 0, 1),
    ],
)
def test_times_are_read(text: str, start: int, end: int) -> None:
    assert parse_rest_time(text) == RestTime(start, end)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "25:00-7",
        "22-7",
        "22:00",
        "22:00-",
        "24:01-07:00",
        "24:00-07:00",
        "22:60-07:00",
        "22:00-7:0",
        "-1:00-07:00",
        "22:00-07:00-09:00",
        "2200-0700",
        "22:00\u201307:00",
        "\u0662\u0662:00-07:00",
        "x" * 999,
    ],
)
def test_what_is_no_time_is_told_in_one_short_line(text: str) -> None:
    with pytest.raises(
        BadSetting, match=r"is no time of the day to rest; write for instance 22:00-07:00$"
    ) as told:
        parse_rest_time(text)
    assert len(str(told.value)) < 160
    assert text[:80] in str(told.value)


def test_a_time_without_length_is_told_with_how_to_write_the_whole_day() -> None:
    with pytest.raises(
        BadSetting, match=r"'07:00-7:00' ends as it starts; write 00:00-24:00 for the whole day"
    ):
        parse_rest_time("07:00-7:00")


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("22:00-07:00", ["22:00", "23:59", "00:00", "06:59"], ["07:00", "21:59", "12:00"]),
        ("09:00-17:00", ["09:00", "16:59"], ["08:59", "17:00", "00:00"]),
        ("22:00-00:00", ["22:00", "23:59"], ["00:00", "21:59"]),
        ("22:00-24:00", ["22:00", "23:59"], ["00:00", "21:59"]),
        ("00:00-24:00", ["00:00", "23:59"], []),
    ],
)
def test_a_time_holds_from_its_first_minute_to_before_its_end(
    text: str, inside: list[str], outside: list[str]
) -> None:
    assert [clock for clock in inside + outside if is_within(times(text), minute(clock))] == inside


@pytest.mark.parametrize(
    ("texts", "now", "change"),
    [
        (["22:00-07:00"], "12:00", "22:00"),
        (["22:00-07:00"], "23:00", "07:00"),
        (["22:00-07:00"], "06:59", "07:00"),
        (["22:00-07:00"], "07:00", "22:00"),
        (["22:00-07:00"], "22:00", "07:00"),
        (["22:00-02:00", "02:00-07:00"], "23:00", "07:00"),
        (["22:00-03:00", "02:00-07:00", "23:00-23:30"], "22:30", "07:00"),
        (["22:00-24:00", "00:00-07:00"], "23:00", "07:00"),
        (["08:00-09:00", "12:00-13:00"], "08:30", "09:00"),
        (["08:00-09:00", "12:00-13:00"], "09:00", "12:00"),
    ],
)
def test_the_next_change_is_where_rest_begins_or_ends(texts: list[str], now: str, change: str) -> None:
    assert next_change(times(*texts), minute(now)) == minute(change)


@pytest.mark.parametrize(
    "texts", [[], ["00:00-24:00"], ["00:00-12:00", "12:00-24:00"], ["22:00-21:00", "20:00-23:00"]]
)
def test_what_never_changes_has_no_next_change(texts: list[str]) -> None:
    assert {next_change(times(*texts), now) for now in range(DAY_MINUTES)} == {None}


def test_who_rests_is_told_until_when() -> None:
    night = times("22:00-2:30", "2:30-07:05")
    assert [resting_until(night, minute(now)) for now in ("21:59", "22:00", "07:04", "07:05")] == [
        None,
        "07:05",
        "07:05",
        None,
    ]
    assert resting_until(times("00:00-24:00"), 0) == "further notice"
    assert resting_until([], 0) is None
