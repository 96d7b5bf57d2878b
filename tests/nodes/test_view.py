"""What a person sees when a device of a demo is killed: as lines, and as a picture."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from nodes.demo.picture import Picture
from nodes.demo.story import Ended, Event, Killed, Met, Placed, Recovered, Said, Starting
from nodes.demo.view import Lines
from tests.nodes.shown import DEVICES, RECOVERY, WHOLE, WITHOUT_TV, device, summary

MET = Met(tuple(device(name) for name in ("phone", "car", "tv")))
BEGIN: list[Event] = [Starting(DEVICES, "Where?"), MET, Placed(WHOLE), Said("In To", 2, 1.0)]
LOSS: list[Event] = [Killed("tv", 2), Placed(WITHOUT_TV), Recovered(RECOVERY), Said("kyo.", 2, 1.4)]
END = Ended(summary(4, RECOVERY))

PAUSE = "tv was lost: 0.31 s pause; car goes on"


def drawn(*events: Event, color: bool = False, width: int = 100) -> str:
    """The picture after these events."""
    console = Console(
        file=io.StringIO(),
        width=width,
        height=40,
        force_terminal=color,
        color_system="standard" if color else None,
    )
    picture = Picture(console)
    for event in events:
        picture.take(event)
    with console.capture() as captured:
        console.print(picture.render())
    return captured.get()


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if f"│ {name} " in line)


def test_lines_tell_the_kill_and_the_pause_between_the_pieces(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for event in (*BEGIN, *LOSS, END):
        lines.take(event)
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == ["starting phone (100 MB), car (100 MB), tv (100 MB)", "> Where?"]
    begin = told.index("In To")
    assert told[begin + 1 :][:3] == ["tv was killed after token 2", PAUSE, "kyo."]
    assert told[-1].startswith("4 tokens, first after 0.10 s")
    assert sum(line.startswith("smollm2:135m on 3 devices") for line in told) == 1


def test_lines_leave_no_empty_line_where_the_text_ends_one(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for event in (Said("a\n", 1, 0.0), Killed("tv", 1), Recovered(RECOVERY), Said("", 1, 0.0), END):
        lines.take(event)
    assert capsys.readouterr().out.splitlines()[:3] == ["a", "tv was killed after token 1", PAUSE]


def test_the_picture_shows_a_killed_device_as_lost_at_once() -> None:
    before, after = drawn(*BEGIN), drawn(*BEGIN, LOSS[0])
    assert "mdns" in row(before, "tv")
    assert "lost" in row(after, "tv")
    assert "mdns" in row(after, "car")
    assert "tv was killed after token 2" in after


def test_the_picture_shows_what_is_lost_in_red() -> None:
    assert "\x1b[31m" not in drawn(*BEGIN, color=True)
    lost = row(drawn(*BEGIN, LOSS[0], color=True).replace("\x1b[0m", ""), "tv")
    assert "\x1b[31mlost" in lost
    assert "\x1b[31m█" in lost


def test_the_picture_shows_the_new_plan_and_the_pause() -> None:
    shown = drawn(*BEGIN, *LOSS)
    assert "[0, 10), [20, 30)" in row(shown, "car")
    assert "[10, 20)" in row(shown, "phone")
    assert "[" not in row(shown, "tv")
    assert "█" not in row(shown, "tv")
    assert PAUSE in shown
    assert "In Tokyo." in shown


def test_the_bar_of_a_device_with_two_spans_has_both() -> None:
    bar = row(drawn(*BEGIN, *LOSS), "car")
    assert bar.count("█") == 20
    assert "█" * 10 + "░" * 10 + "█" * 10 in bar


def test_two_spans_of_a_device_leave_room_for_everything_on_a_usual_screen() -> None:
    shown = drawn(*BEGIN, *LOSS, width=80)
    assert "…" not in shown
    assert "[0, 10), [20, 30)" in row(shown, "car")


def test_a_device_that_comes_back_into_the_plan_is_not_shown_as_lost() -> None:
    gone: list[Event] = [*BEGIN, Placed(WITHOUT_TV), Recovered(RECOVERY)]
    assert "lost" in row(drawn(*gone), "tv")
    assert "lost" not in row(drawn(*gone, Placed(WHOLE)), "tv")


def test_a_killed_device_stays_lost_whatever_the_plan_says() -> None:
    assert "lost" in row(drawn(*BEGIN, LOSS[0], Placed(WHOLE)), "tv")


def test_the_status_tells_what_is_waited_for() -> None:
    assert "finding each other by mDNS" in drawn(BEGIN[0])
    assert "loading the layers" in drawn(BEGIN[0], MET)
    assert "4 tokens, first after" in drawn(*BEGIN, *LOSS, END)


def test_the_picture_shows_what_is_thought_dimmed_and_apart() -> None:
    thought = Said("", 1, 1.0, "hm, \x1b[31mso")
    assert "hm, [31mso" in drawn(*BEGIN[:3], thought)
    shown = drawn(*BEGIN[:3], thought, Said("Tokyo", 1, 1.2), color=True)
    assert "\x1b[2mhm, [31mso\x1b[0m" in shown
    lines = [line.strip("│ ") for line in drawn(*BEGIN[:3], thought, Said("Tokyo", 1, 1.2)).splitlines()]
    assert lines[lines.index("hm, [31mso") :][:3] == ["hm, [31mso", "", "Tokyo"]
