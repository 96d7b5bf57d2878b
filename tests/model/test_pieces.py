"""Streaming decode: whatever the tokens, the pieces are the text."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.model.pieces import Utf8Pieces
from mesh.model.tokenizer import Tokenizer
from mesh.ports import Pieces
from tests.model.tokenizer_metadata import IM_END, THINK, tiny_metadata

TINY = Tokenizer.from_metadata(tiny_metadata())
# Bytes above 0x7F often, so that most runs are broken characters.
IDS = st.lists(st.integers(0, THINK + 5) | st.integers(0x80, 0xFF))


def start() -> Pieces:
    return Utf8Pieces(TINY.token_bytes)


def streamed(ids: list[int] | tuple[int, ...]) -> list[str]:
    pieces = start()
    return [*(pieces.push(token) for token in ids), pieces.finish()]


@given(IDS)
@settings(deadline=None)
def test_pieces_together_are_what_decoding_at_once_gives(ids: list[int]) -> None:
    assert "".join(streamed(ids)) == b"".join(map(TINY.token_bytes, ids)).decode("utf-8", "replace")


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(deadline=None)
def test_pieces_of_a_text_are_the_text_and_hold_no_half_character(text: str) -> None:
    pieces = streamed(TINY.encode(text, allow_special=False))
    assert "".join(pieces) == text
    assert sum(piece.count("\ufffd") for piece in pieces) == text.count("\ufffd")


def test_a_character_comes_with_its_last_byte() -> None:
    assert streamed([0xF0, 0x9F, 0x98, 0x80, ord("a")]) == ["", "", "", "😀", "a", ""]


def test_bytes_left_at_the_end_become_one_replacement_and_only_once() -> None:
    pieces = start()
    assert pieces.push(0xF0) + pieces.push(0x9F) == ""
    assert pieces.finish() == "\ufffd"
    assert pieces.finish() == ""


def test_a_control_token_emits_nothing_and_does_not_break_a_character() -> None:
    assert streamed([0xC3, IM_END, 0xA9]) == ["", "", "é", ""]


def test_two_answers_do_not_share_bytes() -> None:
    first, second = start(), start()
    assert first.push(0xC3) == ""
    assert second.push(ord("a")) == "a"
    assert first.push(0xA9) == "é"
