"""Whether a link is metered is asked seldom, and whatever goes wrong counts as not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mesh.adapters import metered_link
from mesh.adapters.metered_link import MeteredLink, Metering, ask_network_manager, metering

Tool = Callable[[str], None]


def is_metered(answer: str | None) -> bool:
    return MeteredLink(lambda: answer, lambda: 0.0).is_metered()


@pytest.mark.parametrize("said", ["yes", "yes (guessed)"])
def test_one_metered_link_of_several_is_enough(said: str) -> None:
    assert is_metered(f"GENERAL.METERED:unknown\n\nGENERAL.METERED:{said}\n\nGENERAL.METERED:no (guessed)\n")


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "",
        "yes",
        "GENERAL.METERED:no\n",
        "GENERAL.METERED:no (guessed)",
        "GENERAL.METERED:unknown\n\n",
        "?:\0",
    ],
)
def test_all_else_is_not_metered(answer: str | None) -> None:
    assert not is_metered(answer)


def test_it_is_asked_once_a_minute_and_believed_in_between() -> None:
    answers = iter(["GENERAL.METERED:yes", "GENERAL.METERED:no"])
    clock = iter([1000.0, 1010.0, 1059.9, 1060.0, 1119.9])
    link = MeteredLink(lambda: next(answers), lambda: next(clock))
    assert [link.is_metered() for _ in range(5)] == [True, True, True, False, False]


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """Have `nmcli` be this script, and nothing else be there."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def install(script: str) -> None:
        file = tmp_path / "nmcli"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    return install


def test_network_manager_is_asked_in_words_that_can_be_read(tool: Tool) -> None:
    tool('echo "$LC_ALL:$*"')
    assert ask_network_manager() == "C:-t -f GENERAL.METERED device show\n"


@pytest.mark.parametrize("script", ["echo GENERAL.METERED:yes; exit 8", "kill -9 $$", "exit 0"])
def test_a_tool_that_fails_or_says_nothing_is_no_yes(tool: Tool, script: str) -> None:
    tool(script)
    assert not MeteredLink().is_metered()


@pytest.mark.usefixtures("tool")
def test_without_the_tool_nothing_is_known() -> None:
    assert ask_network_manager() is None


def test_bytes_that_are_no_text_and_a_file_that_cannot_run_are_no_yes(tool: Tool, tmp_path: Path) -> None:
    tool("printf '\\377:\\376'")
    assert not MeteredLink().is_metered()
    (tmp_path / "nmcli").write_bytes(b"\0\1\2")
    assert ask_network_manager() is None


def test_a_tool_that_hangs_is_given_up(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metered_link, "_PATIENCE_S", 0.02)
    tool("while :; do :; done")
    assert ask_network_manager() is None


@pytest.mark.parametrize(("word", "told"), [(Metering.YES, [True]), (Metering.NO, [False])])
def test_the_owners_word_counts_and_nobody_is_asked(tool: Tool, word: Metering, told: Sequence[bool]) -> None:
    tool("echo GENERAL.METERED:yes" if word is Metering.NO else "echo GENERAL.METERED:no")
    assert [metering(word)()] == told


def test_auto_is_what_the_system_says(tool: Tool) -> None:
    tool("echo GENERAL.METERED:yes")
    assert metering(Metering.AUTO)()
