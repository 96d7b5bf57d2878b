"""The tokenizer against llama.cpp, on the real model's vocabulary.

tests/data/tokenizer_reference.json holds llama.cpp's own tokens, written by
scripts/make_tokenizer_reference.py. transformers is no reference here: its reader of GGUF files leaves out
that SmolLM2 takes digits one by one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from mesh.model.gguf import GgufFile
from mesh.model.tokenizer import Tokenizer

pytestmark = pytest.mark.model

REFERENCE = Path(__file__).parent.parent / "data" / "tokenizer_reference.json"
ROWS = json.loads(REFERENCE.read_text())["rows"]


@pytest.fixture(scope="module")
def metadata(smollm2_path: Path) -> Mapping[str, object]:
    with GgufFile.open(smollm2_path) as file:
        return dict(file.metadata)


@pytest.fixture(scope="module")
def tokenizer(metadata: Mapping[str, object]) -> Tokenizer:
    return Tokenizer.from_metadata(metadata)


def test_the_reference_has_two_hundred_texts() -> None:
    assert len({row["text"] for row in ROWS}) >= 200


def test_tokens_are_llama_cpps(tokenizer: Tokenizer) -> None:
    for row in ROWS:
        assert tokenizer.encode(row["text"]) == tuple(row["smollm"]), row["text"]


def test_tokens_of_spelled_out_control_tokens_are_llama_cpps(tokenizer: Tokenizer) -> None:
    for row in ROWS:
        assert tokenizer.encode(row["text"], allow_special=False) == tuple(row["plain"]), row["text"]


@pytest.mark.parametrize("pre", ["gpt-2", "qwen2", "llama-bpe"])
def test_other_families_cut_text_as_llama_cpp_does(pre: str, metadata: Mapping[str, object]) -> None:
    other = Tokenizer.from_metadata({**metadata, "tokenizer.ggml.pre": pre})
    for row in ROWS:
        assert other.encode(row["text"]) == tuple(row[pre]), row["text"]


def test_tokens_spell_each_text_again_but_for_the_bytes_that_the_vocabulary_lacks(
    tokenizer: Tokenizer,
) -> None:
    held = {tokenizer.token_bytes(token) for token in range(len(tokenizer.vocabulary.tokens))}
    for row in ROWS:
        data = row["text"].encode()
        kept = b"".join(bytes([byte]) for byte in data if bytes([byte]) in held)
        assert tokenizer.decode(row["plain"]) == kept.decode("utf-8", "replace")


def test_an_answer_ends_at_both_of_smollm2s_ends(tokenizer: Tokenizer) -> None:
    assert tokenizer.stop_ids == {0, 2}
