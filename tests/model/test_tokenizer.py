"""The tokenizer on a vocabulary small enough to check by hand."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.errors import BadRequest, ModelCorrupt, UnsupportedModel
from mesh.model.pretokenizers import pre_tokenization
from mesh.model.tokenizer import Tokenizer
from tests.model.tokenizer_metadata import IM_END, IM_START, LETTERS, NORMAL_TOKENS, THINK, tiny_metadata

TINY = Tokenizer.from_metadata(tiny_metadata())
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text("<|im_end>startthink è1 2\n")


def spelled(*names: str) -> tuple[int, ...]:
    return tuple(NORMAL_TOKENS.index(name) for name in names)


def test_merges_apply_in_the_order_of_the_file() -> None:
    assert TINY.encode("hello world") == spelled("hell", "o", "Ġw", *"orld")


def test_empty_text_has_no_tokens() -> None:
    assert TINY.encode("") == ()
    assert TINY.encode("", allow_special=False) == ()


def test_single_digits_never_merge_for_smollm_but_do_for_gpt2() -> None:
    assert TINY.encode("12") == spelled("1", "2")
    assert Tokenizer.from_metadata(tiny_metadata(pre="gpt-2")).encode("12") == spelled("12")


def test_llama_takes_a_word_that_is_a_token_whole_where_merges_miss_it() -> None:
    changes = {
        "tokens": (*NORMAL_TOKENS, "word", "<|e|>"),
        "token_type": (*[1] * (len(NORMAL_TOKENS) + 1), 3),
    }
    word = len(NORMAL_TOKENS)
    whole = Tokenizer.from_metadata(tiny_metadata(pre="llama-bpe", eos_token_id=word + 1, **changes))
    merged = Tokenizer.from_metadata(tiny_metadata(pre="qwen2", eos_token_id=word + 1, **changes))
    assert whole.encode("word") == (word,)
    assert merged.encode("word") == spelled(*"word")


def test_a_word_that_reads_like_a_control_token_stays_text_for_llama() -> None:
    tokens = (*NORMAL_TOKENS, "stop")
    kinds = (*[1] * len(NORMAL_TOKENS), 3)
    llama = Tokenizer.from_metadata(
        tiny_metadata(pre="llama-bpe", tokens=tokens, token_type=kinds, eos_token_id=len(NORMAL_TOKENS))
    )
    assert llama.encode("stop", allow_special=False) == spelled(*"stop")
    assert llama.encode("stop") == (len(NORMAL_TOKENS),)


def test_qwen_composes_characters_and_smollm_does_not() -> None:
    qwen = Tokenizer.from_metadata(tiny_metadata(pre="qwen2"))
    assert qwen.encode("e\u0301") == qwen.encode("é")
    assert TINY.encode("e\u0301") != TINY.encode("é")


def test_control_tokens_are_read_only_where_they_are_allowed() -> None:
    assert TINY.encode("o<|im_end|>o") == (*spelled("o"), IM_END, *spelled("o"))
    assert IM_END not in TINY.encode("o<|im_end|>o", allow_special=False)
    assert TINY.decode(TINY.encode("o<|im_end|>o", allow_special=False)) == "o<|im_end|>o"


def test_a_control_token_next_to_half_of_one_is_found() -> None:
    assert TINY.encode("<|im_<|im_start|>") == (*spelled(*"<|im_"), IM_START)


def test_of_two_control_tokens_the_longer_is_taken() -> None:
    tokens, end = (*NORMAL_TOKENS, "<o>", "<o><l>"), len(NORMAL_TOKENS)
    kinds = (*[1] * end, 3, 3)
    longer = Tokenizer.from_metadata(tiny_metadata(tokens=tokens, token_type=kinds, eos_token_id=end))
    assert longer.encode("<o><l><o>") == (end + 1, end)


@pytest.mark.parametrize(
    ("pre", "words"),
    [
        ("gpt-2", ["I", "'", "LLpay", "Ġ12345", "?", "ĊĊĠ", "Ġok"]),
        ("smollm", ["I", "'", "LLpay", "Ġ", *"12345", "?", "ĊĊĠ", "Ġok"]),
        ("qwen2", ["I", "'LL", "pay", "Ġ", *"12345", "?ĊĊ", "Ġ", "Ġok"]),
        ("llama-bpe", ["I", "'LL", "pay", "Ġ", "123", "45", "?ĊĊ", "Ġ", "Ġok"]),
    ],
)
def test_each_family_cuts_its_own_words(pre: str, words: list[str]) -> None:
    cut = pre_tokenization(pre).split().pre_tokenize_str("I'LLpay 12345?\n\n  ok")
    assert [word for word, _ in cut] == words


def test_user_defined_tokens_are_text_that_stays_whole() -> None:
    assert TINY.encode("<think>", allow_special=False) == (THINK,)
    assert TINY.token_bytes(THINK) == b"<think>"
    assert TINY.token_bytes(THINK + 1) == "très".encode()


def test_each_letter_stands_for_its_byte() -> None:
    assert [TINY.token_bytes(byte) for byte in range(256)] == [bytes([byte]) for byte in range(256)]
    assert len(set(LETTERS)) == 256


@pytest.mark.parametrize("token", [IM_END, -1, 10**6])
def test_control_tokens_and_unknown_ids_have_no_bytes(token: int) -> None:
    assert TINY.token_bytes(token) == b""


def test_an_answer_ends_at_what_the_file_names_and_at_the_usual_tokens() -> None:
    assert TINY.stop_ids == {IM_END, IM_START - 1}
    named = Tokenizer.from_metadata(tiny_metadata(eos_token_id=None, eot_token_id=IM_START))
    assert named.stop_ids == {IM_START - 1, IM_START, IM_END}


def test_half_a_surrogate_pair_is_refused_by_name() -> None:
    with pytest.raises(BadRequest, match=r"U\+D83D"):
        TINY.encode("a\ud83d")


@given(TEXTS)
@settings(deadline=None)
def test_plain_tokens_spell_the_text_again(text: str) -> None:
    assert TINY.decode(TINY.encode(text, allow_special=False)) == text


@pytest.mark.parametrize("pre", ["gpt-2", "default", "llama-bpe", "qwen2"])
@given(text=TEXTS)
@settings(deadline=None, max_examples=30)
def test_every_pre_tokenizer_keeps_the_whole_text(pre: str, text: str) -> None:
    tokenizer = Tokenizer.from_metadata(tiny_metadata(pre=pre))
    kept = unicodedata.normalize("NFC", text) if pre == "qwen2" else text
    assert tokenizer.decode(tokenizer.encode(text, allow_special=False)) == kept


@pytest.mark.parametrize("key", ["model", "pre", "tokens", "token_type", "merges"])
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(ModelCorrupt, match=rf"tokenizer\.ggml\.{key} is missing"):
        Tokenizer.from_metadata(tiny_metadata(**{key: None}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", 7),
        ("tokens", ("a", 3)),
        ("tokens", ()),
        ("tokens", "abc"),
        ("token_type", (1, 1)),
        ("token_type", ("1",)),
        ("merges", ("ab",)),
        ("merges", ("a b c",)),
        ("merges", ("a zz",)),
        ("merges", (" a",)),
        ("eos_token_id", 10**6),
        ("eos_token_id", "2"),
        ("bos_token_id", -1),
    ],
)
def test_a_damaged_key_is_named(key: str, value: object) -> None:
    with pytest.raises(ModelCorrupt, match=rf"tokenizer\.ggml\.{key} ") as caught:
        Tokenizer.from_metadata(tiny_metadata(**{key: value}))
    assert "\n" not in str(caught.value)


def test_a_model_whose_answers_would_never_end_is_refused() -> None:
    kinds = (1,) * len(NORMAL_TOKENS)
    with pytest.raises(ModelCorrupt, match="eos_token_id"):
        Tokenizer.from_metadata(
            tiny_metadata(tokens=tuple(NORMAL_TOKENS), token_type=kinds, eos_token_id=None)
        )


def test_another_tokenizer_is_named_with_those_that_are_supported() -> None:
    with pytest.raises(UnsupportedModel, match=r"'llama'.*gpt2"):
        Tokenizer.from_metadata(tiny_metadata(model="llama"))


def test_another_pre_tokenizer_is_named_with_those_that_are_supported() -> None:
    with pytest.raises(UnsupportedModel, match=r"'tekken'.*llama-bpe.*qwen2.*smollm"):
        Tokenizer.from_metadata(tiny_metadata(pre="tekken"))


@pytest.mark.slow
def test_importing_the_codec_loads_no_engine() -> None:
    program = "import sys, mesh.model.text; print({'torch', 'transformers', 'asyncio'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
