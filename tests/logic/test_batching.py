"""The order of work: tokens first and together, prompts cut and in turn, each session's own order kept."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.logic.batching import Alone, Batch, Line, Size, Turn
from mesh.types import Digest, Precision, SessionId, Span, StageKey

HERE, THERE = (StageKey(Digest("0" * 64), Span(at, at + 1), Precision.INT4) for at in range(2))


@dataclass
class Table:
    """A line fed by words: `a5` is a frame of 5 rows of session a, `a!` something else for it.

    `a5'` is a frame at another stage, `a?` one of which nothing is known, `!` concerns no session.
    """

    budget: int = 64
    line: Line[str] = field(init=False)

    def __post_init__(self) -> None:
        self.line = Line(_size, lambda _: self.budget)

    def add(self, *words: str) -> Table:
        for word in words:
            if word == "!":
                self.line.add_last(word)
            else:
                self.line.add(SessionId(word[0]), word, is_frame="!" not in word, num_bytes=10)
        return self

    def turn(self) -> str:
        """The next turn: frames with their rows, or one piece alone."""
        return _said(self.line.take())

    def turns(self, most: int = 100) -> list[str]:
        """All turns until nothing waits."""
        found: list[str] = []
        while (turn := self.turn()) and len(found) < most:
            found.append(turn)
        return found


def _size(word: str) -> Size | None:
    digits = word[1:].rstrip("'")
    return Size(THERE if word.endswith("'") else HERE, int(digits)) if digits.isdigit() else None


def _said(turn: Turn[str] | None) -> str:
    match turn:
        case None:
            return ""
        case Alone(item):
            return item
        case Batch(_, portions):
            return " ".join(f"{p.item[0]}[{p.start}:{p.end}]" for p in portions)


def test_nothing_waits_at_the_beginning() -> None:
    assert Table().turn() == ""


@pytest.mark.parametrize(
    ("words", "turns"),
    [
        ("a1 b1 c1", ["a[0:1] b[0:1] c[0:1]"]),
        ("a1 a1 b1", ["a[0:1] b[0:1]", "a[0:1]"]),
        ("a200", ["a[0:64]", "a[64:128]", "a[128:192]", "a[192:200]"]),
        ("a100 b100", ["a[0:64]", "b[0:64]", "a[64:100] b[64:92]", "b[92:100]"]),
        ("a20 b20 c20 d20", ["a[0:20] b[0:20] c[0:20]", "d[0:20]"]),
        ("a128 b1 c1", ["b[0:1] c[0:1]", "a[0:64]", "a[64:128]"]),
        ("a! b1 b! a1", ["a!", "a[0:1] b[0:1]", "b!"]),
        ("a1 b! a!", ["b!", "a[0:1]", "a!"]),
        ("a1 b1' c1", ["a[0:1] c[0:1]", "b[0:1]"]),
        ("a1 b? c1", ["b?", "a[0:1] c[0:1]"]),
        ("a! ! b!", ["a!", "!", "b!"]),
        ("a100 !", ["!", "a[0:64]", "a[64:100]"]),
        ("a1 a! ! b!", ["b!", "a[0:1]", "a!", "!"]),
    ],
)
def test_what_waits_is_done_in_this_order(words: str, turns: list[str]) -> None:
    assert Table().add(*words.split()).turns() == turns


def test_tokens_and_parts_of_a_prompt_take_turns() -> None:
    table = Table().add("a200", "b1", "c1")
    assert table.turn() == "b[0:1] c[0:1]"
    assert table.add("b1").turn() == "a[0:64] b[0:1]"  # it came since its last turn, and goes along
    assert table.add("b1", "c1").turn() == "c[0:1] b[0:1]"
    assert table.turn() == "a[64:128]"
    assert table.add("c1").turn() == "c[0:1]"
    assert table.turn() == "a[128:192]"


def test_a_token_waits_for_one_part_of_however_many_prompts() -> None:
    table = Table().add(*(f"{letter}500" for letter in "bcdefg"))
    for _ in range(20):
        table.turn()
        table.add("a1")
        assert table.turn().startswith("a[0:1]") or "a[0:1]" in table.turn()


def test_who_comes_while_others_are_served_goes_before_them() -> None:
    table = Table().add("a200", "b200")
    assert table.turn() == "a[0:64]"
    assert table.add("c200").turns()[:4] == ["b[0:64]", "c[0:64]", "a[64:128]", "b[64:128]"]


@pytest.mark.parametrize(("budget", "rows"), [(0, 16), (16, 16), (100, 100), (10_000, 512)])
def test_a_part_has_16_rows_at_least_and_a_batch_512_at_most(budget: int, rows: int) -> None:
    assert Table(budget).add("a600").turn() == f"a[0:{rows}]"


def test_tokens_of_very_many_do_not_make_a_long_batch() -> None:
    letters = [chr(ord("A") + at) for at in range(80)]
    table = Table().add(*(f"{letter}1" for letter in letters))
    assert [len(turn.split()) for turn in table.turns()] == [64, 16]


def test_what_is_void_is_forgotten_also_the_rest_of_a_frame() -> None:
    table = Table().add("a200", "a100", "a!", "b100")
    assert table.turn() == "a[0:64]"
    table.line.discard(SessionId("a"), lambda word: word != "a100")
    assert table.turns() == ["b[0:64]", "a[0:64]", "b[64:100] a[64:92]", "a[92:100]", "a!"]


def test_what_waits_is_counted() -> None:
    table = Table().add("a100", "a1", "a!", "b1", "!")
    line = table.line
    assert (len(line), line.num_frames, line.num_bytes) == (5, 3, 40)
    assert [line.num_waiting(SessionId(letter)) for letter in "abc"] == [2, 1, 0]
    table.turns()
    assert (len(line), line.num_frames, line.num_bytes) == (0, 0, 0)


WORDS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["1", "3", "20", "70", "300", "!", "7'", "90'"])),
    max_size=30,
)


@given(words=WORDS, budget=st.integers(0, 200), pauses=st.lists(st.booleans(), min_size=30, max_size=30))
def test_every_row_has_its_turn_once_and_in_its_sessions_order(
    words: list[tuple[str, str]], budget: int, pauses: list[bool]
) -> None:
    table, turns = Table(budget), list[Turn[str]]()
    for (letter, what), pause in zip(words, pauses, strict=False):
        table.add(letter + what)
        if pause and (turn := table.line.take()):
            turns.append(turn)
    while turn := table.line.take():
        turns.append(turn)
    done: dict[str, list[str]] = {}
    for turn in turns:
        for letter, rows in _rows(turn, budget):
            done.setdefault(letter, []).extend(rows)
    asked: dict[str, list[str]] = {}
    for letter, what in words:
        num_rows = int(what.rstrip("'")) if what != "!" else 1
        asked.setdefault(letter, []).extend(f"{what}/{row}" for row in range(num_rows))
    assert done == asked


def _rows(turn: Turn[str], budget: int) -> list[tuple[str, list[str]]]:
    if isinstance(turn, Alone):
        return [(turn.item[0], [f"{turn.item[1:]}/0"])]
    sessions = [portion.item[0] for portion in turn.portions]
    assert len(set(sessions)) == len(sessions)
    longer = [p.end - p.start for p in turn.portions if p.end - p.start > 8]
    assert sum(longer) <= max(16, budget)
    assert len({_size(portion.item).stage for portion in turn.portions}) == 1  # type: ignore[union-attr]
    return [(p.item[0], [f"{p.item[1:]}/{row}" for row in range(p.start, p.end)]) for p in turn.portions]
