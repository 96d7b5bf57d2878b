"""The tokenizer of a folder gives what the same one in a GGUF file gives, or says what is wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mesh.errors import ModelCorrupt, ModelError, UnsupportedModel
from mesh.model.text import ModelTextCodec
from mesh.types import ChatMessage, SamplingAdvice
from tests.model.tiny_folder import tokenizer_json, write_folder
from tests.model.tokenizer_metadata import CONTROL, IM_END, IM_START, tiny_metadata

TEXTS = ["hello world", "1234 12", "<|endoftext|>he", "très <think> é", "<|im_end|> hell", "a\n\n  b\t"]
TEXTS += ["😀 ÿ", ""]


def _now() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


def _codec(path: Path) -> ModelTextCodec:
    return ModelTextCodec.from_path(path, _now)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("allow_special", [True, False])
def test_tokens_are_those_of_the_same_tokenizer_in_gguf(
    tmp_path: Path, text: str, allow_special: bool
) -> None:
    ours = _codec(write_folder(tmp_path)).tokenizer
    expected = ModelTextCodec.from_metadata(tiny_metadata(), _now).tokenizer
    tokens = ours.encode(text, allow_special=allow_special)
    assert tokens == expected.encode(text, allow_special=allow_special)
    assert ours.decode(tokens) == expected.decode(tokens)


def test_the_ends_are_those_that_the_folder_names(tmp_path: Path) -> None:
    """And the usual ones that it holds: <|endoftext|> has the id before <|im_start|>."""
    codec = _codec(write_folder(tmp_path))
    assert codec.stop_ids == {IM_END, IM_START, IM_START - 1}
    (tmp_path / "generation_config.json").unlink()
    assert _codec(tmp_path).stop_ids == {IM_END, IM_START - 1}


@pytest.mark.parametrize(("named", "listed"), [("<|im_end|>", [151643, 151645]), ("<|endoftext|>", 151645)])
def test_a_folder_of_mimo_ends_at_both_of_its_ends(
    tmp_path: Path, named: str, listed: int | list[int]
) -> None:
    content = json.dumps(tokenizer_json())
    for text, token in ((CONTROL[0], 151643), (CONTROL[1], 151644), (CONTROL[2], 151645)):
        content = content.replace(f'"id": {IM_START - 1 + CONTROL.index(text)},', f'"id": {token},')
        content = content.replace(f'"{text}": {IM_START - 1 + CONTROL.index(text)}', f'"{text}": {token}')
    (write_folder(tmp_path) / "tokenizer.json").write_text(content)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": named}))
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": listed}))
    assert _codec(tmp_path).stop_ids == {151643, 151645}


@pytest.mark.parametrize(
    ("config", "advice"),
    [
        ({"temperature": 0.6, "top_p": 0.95}, SamplingAdvice(temperature=0.6, top_p=0.95)),
        ({"do_sample": True, "temperature": 1, "top_k": 20}, SamplingAdvice(temperature=1.0, top_k=20)),
        ({"do_sample": True, "min_p": 0.05, "seed": 3}, SamplingAdvice(min_p=0.05)),
        ({"do_sample": False, "temperature": 0.6}, None),
        ({"do_sample": True}, None),
        ({"temperature": None}, None),
        ({"temperature": "hot", "top_p": 0.9}, SamplingAdvice(top_p=0.9)),
        ({"temperature": -1.0, "top_p": 2, "top_k": 0, "min_p": True}, None),
        ({}, None),
    ],
)
def test_a_folder_may_recommend_how_tokens_are_drawn(
    tmp_path: Path, config: dict[str, object], advice: SamplingAdvice | None
) -> None:
    write_folder(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps(config))
    assert _codec(tmp_path).advice == advice


def test_a_folder_without_generation_config_recommends_nothing(tmp_path: Path) -> None:
    (write_folder(tmp_path) / "generation_config.json").unlink()
    assert _codec(tmp_path).advice is None


@pytest.mark.parametrize("where", ["beside", "in the settings", "among others"])
def test_the_template_is_found_wherever_it_is(tmp_path: Path, where: str) -> None:
    write_folder(tmp_path)
    source = "{{ eos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
    named = [{"name": "rag", "template": "x"}, {"name": "default", "template": source}]
    settings = {"eos_token": "<|im_end|>", "chat_template": named if where == "among others" else source}
    if where == "beside":
        (tmp_path / "chat_template.jinja").write_text(source)
        settings["chat_template"] = "another"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    codec = _codec(tmp_path)
    assert codec.encode_chat([ChatMessage("user", "he")]) == (IM_END, *codec.tokenizer.encode("he"))


def test_without_a_template_chatml_is_taken_where_its_tokens_are(tmp_path: Path) -> None:
    tokens = _codec(write_folder(tmp_path)).encode_chat([ChatMessage("user", "he")])
    assert tokens[0] == IM_START
    assert tokens.count(IM_END) == 1


def test_a_control_token_spelled_out_in_a_message_stays_text(tmp_path: Path) -> None:
    tokens = _codec(write_folder(tmp_path)).encode_chat([ChatMessage("user", CONTROL[2])])
    assert tokens.count(IM_END) == 1


def test_a_folder_without_tokenizer_says_so_in_one_line(tmp_path: Path) -> None:
    (write_folder(tmp_path) / "tokenizer.json").unlink()
    with pytest.raises(ModelCorrupt, match=r"has no tokenizer\.json, without which .*put the model's own"):
        _codec(tmp_path)


def test_a_folder_that_names_no_end_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text().replace("<|im_end|>", "<|other|>"))
    content["added_tokens"] = [t for t in content["added_tokens"] if "endoftext" not in t["content"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    (tmp_path / "generation_config.json").unlink()
    with pytest.raises(ModelCorrupt, match="names no eos_token"):
        _codec(tmp_path)


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"model": {"type": "Unigram", "vocab": [["a", 0.5]]}}, UnsupportedModel,
         "of the kind Unigram; supported: byte-level BPE"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, UnsupportedModel, "kind BPE, not of bytes"),
        ({"model": 3}, UnsupportedModel, "of the kind None"),
        ({"model": {"type": "BPE", "merges": []}}, ModelCorrupt, "is damaged .*vocab"),
        ({"added_tokens": [{"id": "x", "content": "y", "special": True}]}, ModelCorrupt, "is damaged .*id"),
        ({"added_tokens": [{"id": 1 << 40, "content": "y", "special": True}]}, ModelCorrupt, "is damaged"),
        ({"normalizer": {"type": "Nothing"}}, ModelCorrupt, "cannot be read"),
    ],
)  # fmt: skip
def test_a_tokenizer_that_cannot_be_used_is_named(
    tmp_path: Path, changes: dict[str, object], kind: type[ModelError], says: str
) -> None:
    write_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json() | changes))
    with pytest.raises(kind, match=says):
        _codec(tmp_path)
