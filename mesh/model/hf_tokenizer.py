"""The tokenizer and chat template of a Hugging Face folder.

Owns the keys of tokenizer.json, tokenizer_config.json and generation_config.json. Must not know weights, or
how the template is run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from tokenizers import Tokenizer as Merger

from mesh.errors import BadSetting, ModelCorrupt, UnsupportedModel
from mesh.model.hf_folder import read_json
from mesh.model.tokenizer import Tokenizer
from mesh.model.vocabulary import TokenKind, Vocabulary
from mesh.types import SamplingAdvice, SamplingField

_FILE = "tokenizer.json"
_GENERATION = "generation_config.json"


_Id = Annotated[int, msgspec.Meta(ge=0, lt=1 << 24)]
"""Bounded, so that a damaged file cannot ask for endless memory."""


class _Added(msgspec.Struct, frozen=True):
    """One entry of `added_tokens`."""

    id: _Id
    content: str
    special: bool


class _Bpe(msgspec.Struct, frozen=True):
    """What is read of `model`."""

    vocab: dict[str, _Id]


class _TokenizerFile(msgspec.Struct, frozen=True):
    """What is read of a tokenizer.json; the library reads the rest."""

    model: _Bpe
    added_tokens: tuple[_Added, ...] = ()


@dataclass(frozen=True, slots=True)
class _Listed:
    """The tokens that a tokenizer.json lists, by their text."""

    plain: dict[str, int]
    """Those that BPE makes."""
    control: dict[str, int]
    spelled: dict[str, int]
    """Those that are found in text before BPE looks at it."""

    def by_kind(self) -> dict[TokenKind, dict[str, int]]:
        """Return all tokens by what they are."""
        return {
            TokenKind.NORMAL: self.plain,
            TokenKind.USER_DEFINED: self.spelled,
            TokenKind.CONTROL: self.control,
        }


def read_tokenizer(folder: Path) -> Tokenizer:
    """Build a folder's tokenizer.

    Raises ModelCorrupt naming the file that is missing or damaged, and UnsupportedModel for another kind
    of tokenizer than byte-level BPE.
    """
    if not (folder / _FILE).is_file():
        raise ModelCorrupt(
            f"{folder} has no {_FILE}, without which no text can become tokens; "
            "put the model's own beside its weights"
        )
    content = read_json(folder / _FILE)
    _refuse_others(folder / _FILE, content)
    listed = _listed(folder / _FILE, content)
    vocabulary = _vocabulary(folder, listed)
    if not vocabulary.stop_ids:
        raise ModelCorrupt(f"{folder} names no eos_token, so no answer would end; take another folder")
    return Tokenizer.build(vocabulary, _merger(folder / _FILE, content, listed))


def read_template(folder: Path) -> str | None:
    """Return the source of a folder's chat template, None where it has none."""
    beside = folder / "chat_template.jinja"
    if beside.is_file():
        try:
            return beside.read_text(encoding="utf-8")
        except (OSError, ValueError):
            raise ModelCorrupt(f"{beside} cannot be read; pull the model again") from None
    found = _optional(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(found, list):  # several templates by name
        named = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None


def read_advice(folder: Path) -> SamplingAdvice | None:
    """Return what a folder recommends of sampling; None where that is nothing, or not to sample at all.

    A figure that no sampling can have counts as none: it is advice, and keeps nobody from answering.
    """
    found = _optional(folder / _GENERATION)
    if found.get("do_sample") is False:
        return None
    figures = {field.value: found.get(field) for field in SamplingField}
    sound = {name: figure for name, figure in figures.items() if _is_sound(name, figure)}
    advice = msgspec.convert(sound, SamplingAdvice)
    return None if advice == SamplingAdvice() else advice


def _is_sound(name: str, figure: object) -> bool:
    try:
        msgspec.convert({name: figure}, SamplingAdvice)
    except (msgspec.ValidationError, BadSetting):
        return False
    return True


def _refuse_others(path: Path, content: Mapping[str, object]) -> None:
    model = content.get("model")
    kind = model.get("type") if isinstance(model, dict) else None
    by_bytes = '"ByteLevel"' in json.dumps(content.get("pre_tokenizer"))  # somewhere in its tree
    if not isinstance(model, dict) or kind != "BPE" or model.get("byte_fallback") or not by_bytes:
        shown = "BPE, not of bytes" if kind == "BPE" else f"{kind!s:.40}"
        raise UnsupportedModel(f"{path} is a tokenizer of the kind {shown}; supported: byte-level BPE")


def _listed(path: Path, content: Mapping[str, object]) -> _Listed:
    try:
        listed = msgspec.convert(content, _TokenizerFile)
    except msgspec.ValidationError as error:
        raise ModelCorrupt(f"{path} is damaged ({error}); pull the model again") from None
    control = {token.content: token.id for token in listed.added_tokens if token.special}
    spelled = {token.content: token.id for token in listed.added_tokens if not token.special}
    added = control.keys() | spelled.keys()
    plain = {text: token for text, token in listed.model.vocab.items() if text not in added}
    return _Listed(plain, control, spelled)


def _vocabulary(folder: Path, listed: _Listed) -> Vocabulary:
    """Put the tokens in order of their ids; ids between them that nothing has are unused."""
    settings = _optional(folder / "tokenizer_config.json")
    ids = listed.plain | listed.spelled | listed.control
    size = max(ids.values(), default=-1) + 1
    tokens, kinds = [""] * size, [int(TokenKind.UNUSED)] * size
    for kind, members in listed.by_kind().items():
        for text, token in members.items():
            tokens[token], kinds[token] = text, int(kind)
    return Vocabulary(
        tuple(tokens),
        tuple(kinds),
        eos_id=ids.get(_token_text(settings.get("eos_token"))),
        other_end_ids=_end_ids(folder, size),
        bos_id=ids.get(_token_text(settings.get("bos_token"))),
        add_bos=settings.get("add_bos_token") is True,
    )


def _token_text(value: object) -> str:
    """Return the text of a token, which is given as such or as an object with `content`."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else ""


def _end_ids(folder: Path, size: int) -> frozenset[int]:
    """Read the tokens at which the model's makers stop: one id, or several."""
    found = _optional(folder / _GENERATION).get("eos_token_id")
    listed = found if isinstance(found, list) else [found]
    return frozenset(token for token in listed if type(token) is int and 0 <= token < size)


def _merger(path: Path, content: Mapping[str, object], listed: _Listed) -> Merger:
    """Build the library's tokenizer without control tokens, so that no word can be taken for one.

    All other tokens stay in BPE's vocabulary: the library would give new ids to those that are not.
    """
    model = content["model"]
    assert isinstance(model, dict)  # `_refuse_others` has looked
    added = content.get("added_tokens")
    spelled = [token for token in added if not token["special"]] if isinstance(added, list) else []
    plain = {
        **content,
        "model": {**model, "vocab": listed.plain | listed.spelled, "unk_token": None, "dropout": None},
        "added_tokens": spelled,
        **dict.fromkeys(("post_processor", "truncation", "padding")),
    }
    try:
        return Merger.from_str(json.dumps(plain))
    except Exception as error:  # the library raises nothing narrower
        raise ModelCorrupt(f"{path} cannot be read ({error!s:.100}); pull the model again") from None


def _optional(path: Path) -> dict[str, object]:
    return read_json(path) if path.is_file() else {}
