"""What others say cannot steer the terminal that it is shown on."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import cast

import pytest

from mesh.client import Answer
from mesh.console import complain
from mesh.decision import Decision, Explanation, Option, OptionKind, Privacy, Share
from mesh.messages import Piece
from mesh.types import Recovery, Span, Summary
from nodes.commands.ask import print_answer
from nodes.commands.up import _Format
from nodes.decisions import print_explanation
from nodes.demo.story import Ended, Said
from nodes.demo.view import Lines
from nodes.present import (
    devices_table,
    plan_line,
    plan_table,
    print_json,
    print_table,
    recovery_line,
    remarks,
)
from nodes.terminal import in_one_line, without_controls
from tests.nodes.shown import device, piece, plan, stage, summary
from tests.nodes.test_view import BEGIN, drawn

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
EVIL = "\x1b[31mtv\x1b]0;title\x07\x9b2J\x7f\r\n"
HARMLESS = "[31mtv]0;title2J"


@dataclass
class Spoken:
    """An answer in pieces, with its summary."""

    pieces: tuple[str | Piece, ...]
    summary: Summary
    decision: Decision | None = None

    async def __aiter__(self) -> AsyncIterator[object]:
        for each in self.pieces:
            yield piece(each) if isinstance(each, str) else each


def printed(*pieces: str | Piece, chosen: Option | None = None, ended: Summary | None = None) -> str:
    options = (chosen,) if chosen else ()
    answer = Spoken(pieces, ended or summary(1), Decision("tiny", Privacy.MESH, 1, options, ""))
    return asyncio.run(print_answer(cast("Answer", answer)))


def assert_no_controls(text: str) -> None:
    assert [letter for letter in text if letter in CONTROLS and letter != "\n"] == []


def test_of_all_control_characters_only_newline_and_tab_are_left() -> None:
    assert without_controls("".join(CONTROLS)) == "\t\n"
    assert in_one_line("a\nb\tc" + "".join(CONTROLS)) == "a b c  "
    assert without_controls("Zürich – 東京 🦊") == "Zürich – 東京 🦊"


def test_an_answer_is_printed_without_them_however_it_is_cut_and_returned_as_it_was_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pieces = ("a\x1b", "[31mb", "\x1b]0;ti", "tle\x07", "\x9b2J", "c\td\r\ne")
    assert printed(*pieces) == "".join(pieces)
    assert capsys.readouterr().out == "a[31mb]0;title2Jc\td\ne\n"


def thought(text: str, said: str = "") -> Piece:
    return Piece(1, said, (1,), text)


def test_what_is_thought_stands_dimmed_on_standard_error_and_is_no_part_of_the_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert printed(thought("so \x1b[31m"), thought("on", "To"), "kyo") == "Tokyo"
    shown = capsys.readouterr()
    assert shown.out == "Tokyo\n"
    assert shown.err.startswith("\x1b[2mso [31m\x1b[0m\x1b[2mon\x1b[0m\n\n\x1b[2m1 tokens, ")


def test_an_answer_that_is_thought_alone_prints_nothing_on_standard_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert printed(thought("so on")) == ""
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("\x1b[2mso on\x1b[0m\n\n")


def test_who_reads_no_terminal_sees_nothing_of_what_is_thought(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(thought("so on"), "Tokyo") == "Tokyo"
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("Tokyo\n", "")


def test_at_a_terminal_the_server_that_answered_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    server = Option(OptionKind.UPSTREAM, "tiny", upstream=f"studio{EVIL}")
    printed("Hi", chosen=server, ended=summary(0))
    line = f"first after 0.10 s, then 20.0 a second; the server studio{HARMLESS} "
    assert capsys.readouterr().err == f"\x1b[2m{line}\x1b[0m\n"


def test_a_demo_is_shown_without_them(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for event in (Said(EVIL, 1, 0.0), Ended(summary(1))):
        lines.take(event)
    assert capsys.readouterr().out.startswith(f"{HARMLESS}\n1 tokens")
    shown = drawn(*BEGIN, Said(EVIL, 1, 2.0))
    assert HARMLESS in shown
    assert_no_controls(shown)


def test_what_devices_tell_is_shown_without_them(capsys: pytest.CaptureFixture[str]) -> None:
    tv = device("tv", leaving=EVIL)
    tv = replace(tv, record=replace(tv.record, name=EVIL), kept_out=EVIL)
    print_table(devices_table([tv]))
    part = stage("tv", 0, 10)
    evil_plan = plan(replace(part, node=replace(part.node, name=EVIL)))
    print_table(plan_table(evil_plan))
    model = replace(evil_plan.model, name=EVIL)
    one_line = [*remarks([tv]), plan_line(replace(evil_plan, model=model))]
    one_line.append(recovery_line(Recovery((EVIL,), (EVIL,), 0.1, 0.3, 0, 0)))
    assert all("\n" not in line for line in one_line)
    shown = capsys.readouterr().out
    assert "[31mtv" in shown
    assert_no_controls(shown + "".join(one_line))


def test_a_decision_is_shown_without_them(capsys: pytest.CaptureFixture[str]) -> None:
    share = (Share(EVIL, Span(0, 12)),)
    options = (
        Option(OptionKind.DEVICE, "tiny", share, waits_for=EVIL),
        Option(OptionKind.UPSTREAM, "tiny", upstream=EVIL, excluded=EVIL),
    )
    print_explanation(
        Explanation(Decision("tiny", Privacy.MESH, 1, options, EVIL, (EVIL,)), None), as_json=False
    )
    shown = capsys.readouterr().out
    assert shown.startswith(f"{HARMLESS} \n{HARMLESS} \n")
    assert_no_controls(shown)


def test_json_escapes_them_all_and_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": "".join(CONTROLS), "name": "Zürich"})
    shown = capsys.readouterr().out
    assert_no_controls(shown)
    assert json.loads(shown) == {"text": "".join(CONTROLS), "name": "Zürich"}
    assert "Zürich" in shown


def test_an_agents_log_is_written_without_them() -> None:
    record = logging.LogRecord("mesh", logging.INFO, "", 1, "%s joined", (EVIL,), None)
    assert_no_controls(_Format().format(record))


def test_an_error_line_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert complain("mesh", "the server \x1b]0;x\x07 \x9b31m\nsaid no", 1) == 1
    assert capsys.readouterr().err == "mesh: the server ]0;x 31m said no\n"
