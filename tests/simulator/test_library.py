"""The library in memory keeps the rules of the Library port."""

from __future__ import annotations

import pytest

from mesh.errors import ModelNotPulled, UnknownModel
from mesh.types import ChatMessage, Digest
from simulator.library import TINY, MemoryLibrary
from simulator.loop import run


def test_the_model_is_found_by_name_and_by_digest() -> None:
    async def main() -> None:
        library = MemoryLibrary()
        assert library.models() == (TINY.ref,)
        assert await library.spec("tiny") == await library.spec_of(TINY.digest) == TINY

    run(main())


def test_what_is_not_there_is_told() -> None:
    async def main() -> None:
        with pytest.raises(UnknownModel, match="unknown model 'huge'; see `mesh models`"):
            await MemoryLibrary().spec("huge")
        with pytest.raises(ModelNotPulled, match="ffffffffffff is not on this device"):
            await MemoryLibrary().spec_of(Digest("f" * 64))
        empty = MemoryLibrary(None)
        assert empty.models() == ()
        with pytest.raises(ModelNotPulled, match="run `mesh pull tiny`"):
            await empty.codec("tiny")

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
    async def main() -> None:
        pieces = (await MemoryLibrary().codec("tiny")).pieces()
        assert pieces.push(0xF0) == ""
        assert pieces.finish() == "\N{REPLACEMENT CHARACTER}"

    run(main())
