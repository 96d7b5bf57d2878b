"""What is thought is told apart from the answer, however the text is cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.logic.thinking import Split, ThoughtSplitter
from mesh.types import Thinking

NONE, MAY, BEGUN = Thinking.NONE, Thinking.MAY_BEGIN, Thinking.BEGUN


def split(thinking: Thinking, pieces: Sequence[str]) -> tuple[str, str]:
    """All the reasoning and all the text."""
    splitter = ThoughtSplitter(thinking)
    splits = [*map(splitter.take, pieces), splitter.finish()]
    return "".join(each.reasoning for each in splits), "".join(each.text for each in splits)


WHOLE = [
    (MAY, "<think>\nhm, so\n</think>\n\nTokyo.\n", ("hm, so", "Tokyo.\n")),
    (MAY, " \n <think>hm</think>Tokyo", ("hm", "Tokyo")),
    (MAY, "<think>\n\n</think>\n\nTokyo", ("", "Tokyo")),
    (MAY, "<think></think>", ("", "")),
    (MAY, "Tokyo", ("", "Tokyo")),
    (MAY, "  Tokyo", ("", "  Tokyo")),
    (MAY, "", ("", "")),
    (MAY, " \n", ("", " \n")),
    (MAY, "<thinking> is a word", ("", "<thinking> is a word")),
    (MAY, " <thi", ("", " <thi")),
    (MAY, "Write <think>x</think>", ("", "Write <think>x</think>")),
    (MAY, "</think> Tokyo", ("", "</think> Tokyo")),
    (MAY, "<think>a</think>b<think>c</think>d", ("a", "b<think>c</think>d")),
    (MAY, "<think>a</think> <think>b</think> c", ("a", "<think>b</think> c")),
    (MAY, "<think>a <think> b</think>c", ("a <think> b", "c")),
    (MAY, "<think>if a < b and c </ d\n\n  then</think> e", ("if a < b and c </ d\n\n  then", "e")),
    (MAY, "<think>cut off", ("cut off", "")),
    (MAY, "<think>cut off \n", ("cut off", "")),
    (MAY, "<think>cut off\n</thi", ("cut off\n</thi", "")),
    (MAY, "<think>", ("", "")),
    (MAY, "<think>a</think>", ("a", "")),
    (MAY, "<think>a</think> \n", ("a", "")),
    (BEGUN, "hm\n</think>\n\nTokyo", ("hm", "Tokyo")),
    (BEGUN, "\nhm</think>Tokyo", ("hm", "Tokyo")),
    (BEGUN, "</think>Tokyo", ("", "Tokyo")),
    (BEGUN, "<think>\nhm</think>Tokyo", ("hm", "Tokyo")),
    (BEGUN, "<thi", ("<thi", "")),
    (BEGUN, "a <think>b</think>c", ("a <think>b", "c")),
    (BEGUN, "cut off", ("cut off", "")),
    (BEGUN, " ", ("", "")),
    (NONE, "<think>a</think> b", ("", "<think>a</think> b")),
    (NONE, " \n<thi", ("", " \n<thi")),
]


@pytest.mark.parametrize(("thinking", "whole", "parts"), WHOLE)
def test_only_a_block_at_the_beginning_is_thought(
    thinking: Thinking, whole: str, parts: tuple[str, str]
) -> None:
    assert split(thinking, [whole]) == parts


@pytest.mark.parametrize(("thinking", "whole", "parts"), WHOLE)
def test_cuts_change_nothing(thinking: Thinking, whole: str, parts: tuple[str, str]) -> None:
    assert split(thinking, list(whole)) == parts
    for cut in range(len(whole) + 1):
        assert split(thinking, [whole[:cut], whole[cut:]]) == parts


TEXTS = st.lists(st.sampled_from(["<think>", "</think>", "<", "/", "think", ">", " ", "\n", "a", "b"]))


@given(st.sampled_from(Thinking), TEXTS, st.lists(st.integers(0, 60)))
def test_cuts_change_nothing_whatever_the_text(thinking: Thinking, parts: list[str], cuts: list[int]) -> None:
    whole = "".join(parts)
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[start:end] for start, end in pairwise(places)]
    assert split(thinking, pieces) == split(thinking, [whole])


@pytest.mark.parametrize(
    ("thinking", "events"),
    [
        (
            MAY,
            [
                (" ", Split()),
                ("<th", Split()),
                ("ink>\n", Split()),
                ("so", Split("so")),
                (" a <", Split(" a")),
                (" b", Split(" < b")),
                (" \n</thi", Split()),
                ("nk", Split()),
                (">", Split()),
                (" \n", Split()),
                (" Tokyo", Split("", "Tokyo")),
                (" <think>", Split("", " <think>")),
            ],
        ),
        (MAY, [("<th", Split()), ("ree>", Split("", "<three>")), ("<think>", Split("", "<think>"))]),
        (MAY, [("<think>a</think>b", Split("a", "b"))]),
        (BEGUN, [("\n", Split()), ("so ", Split("so")), ("on</think>x", Split(" on", "x"))]),
        (NONE, [("<th", Split("", "<th")), (" ", Split("", " "))]),
    ],
)
def test_nothing_is_held_back_that_is_certain(thinking: Thinking, events: list[tuple[str, Split]]) -> None:
    splitter = ThoughtSplitter(thinking)
    assert [(text, splitter.take(text)) for text, _ in events] == events


def test_what_is_held_is_let_go_once() -> None:
    splitter = ThoughtSplitter(MAY)
    splitter.take(" <thin")
    assert [splitter.finish(), splitter.finish()] == [Split("", " <thin"), Split()]
