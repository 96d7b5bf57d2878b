"""The library in memory keeps the rules of the Library port."""

from __future__ import annotations

import itertools

import pytest

from mesh.errors import ModelNotPulled, UnknownModel
from mesh.types import ChatMessage, Digest
from simulator.library import TINY, ByteCodec, MemoryLibrary, word
from simulator.loop import run
from simulator.profiles import model_spec

MIMO = model_spec("mimo:7b-rl")


def test_models_are_found_by_name_and_by_digest() -> None:
    async def main() -> None:
        library = MemoryLibrary((TINY, MIMO))
        assert library.models() == (MIMO.ref, TINY.ref)
        for spec in (TINY, MIMO):
            assert await library.spec(spec.name) == await library.spec_of(spec.digest) == spec
        assert MemoryLibrary().models() == (TINY.ref,)

    run(main())


def test_what_is_not_there_is_told() -> None:
    async def main() -> None:
        with pytest.raises(UnknownModel, match="unknown model 'huge'; see `mesh models`"):
            await MemoryLibrary().spec("huge")
        with pytest.raises(ModelNotPulled, match="run `mesh pull mimo:7b-rl`"):
            await MemoryLibrary().spec(MIMO.name)
        with pytest.raises(ModelNotPulled, match="ffffffffffff is not on this device"):
            await MemoryLibrary().spec_of(Digest("f" * 64))
        empty = MemoryLibrary(())
        assert empty.models() == ()
        with pytest.raises(ModelNotPulled, match="run `mesh pull tiny`"):
            await empty.codec("tiny")
        with pytest.raises(ModelNotPulled):
            await empty.encode_chat("tiny", [])

    run(main())


def test_text_goes_round_and_never_in_halves() -> None:
    async def main() -> None:
        codec = await MemoryLibrary().codec("tiny")
        turns = [ChatMessage("user", "Grüße 🙂")]
        tokens = await MemoryLibrary().encode_chat("tiny", turns)
        pieces = codec.pieces()
        texts = [pieces.push(token) for token in tokens]
        assert "".join(texts) == "user: Grüße 🙂\nassistant: "
        assert "\N{REPLACEMENT CHARACTER}" not in "".join(texts)
        assert texts[tokens.index(0xF0) : tokens.index(0xF0) + 4] == ["", "", "", "🙂"]
        assert pieces.finish() == ""

    run(main())


def test_half_a_character_at_the_end_is_shown_as_what_it_is() -> None:
    pieces = ByteCodec().pieces()
    assert pieces.push(0xF0) == ""
    assert pieces.finish() == "\N{REPLACEMENT CHARACTER}"


def test_half_a_character_before_a_word_is_shown_as_what_it_is() -> None:
    pieces = ByteCodec().pieces()
    texts = [pieces.push(token) for token in (0xF0, 256, ord("x"))]
    assert texts == ["", "\N{REPLACEMENT CHARACTER} ba", "x"]
    assert pieces.finish() == ""


def test_every_token_of_a_big_vocabulary_has_a_readable_word_of_its_own() -> None:
    words = [word(token) for token in range(256, MIMO.vocab_size)]
    assert len(set(words)) == len(words)
    assert all(text[0] == " " and text[1:].isalpha() and len(text) <= 7 for text in words)
    assert list(itertools.islice(words, 3)) == [" ba", " be", " bi"]


def test_token_zero_ends_an_answer() -> None:
    assert ByteCodec().stop_ids == {0}
