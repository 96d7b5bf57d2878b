"""A model's tokens as its file lists them: their bytes, their kinds, and those that end an answer.

Owns the reading of `tokenizer.ggml.*` metadata and the byte alphabet of byte-level BPE. Must not know how
text is cut into tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeVar

from mesh.errors import ModelCorrupt

Scalar = TypeVar("Scalar", str, int)

KEYS = "tokenizer.ggml."

END_OF_TURN = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<end_of_turn>",
    "<|end_of_sentence|>",
    "<｜end▁of▁sentence｜>",
    "</s>",
)
"""Names under which model families end a turn; files often name only one of theirs as `eos`."""


class TokenKind(IntEnum):
    """`tokenizer.ggml.token_type` of the GGUF specification."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


_SPOKEN = frozenset({TokenKind.NORMAL, TokenKind.USER_DEFINED, TokenKind.BYTE})


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens of one model, by id."""

    tokens: tuple[str, ...] = field(repr=False)
    """Normal tokens are spelled in the byte alphabet, all others in plain text."""
    kinds: tuple[int, ...] = field(repr=False)
    eos_id: int | None
    other_end_ids: frozenset[int]
    """Further ends that the file names: of a turn, of a message."""
    bos_id: int | None
    add_bos: bool
    """Whether a prompt without a chat template begins with `bos_id`."""

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, object]) -> Vocabulary:
        """Read a GGUF's metadata; raise ModelCorrupt naming the key that is missing or makes no sense."""
        tokens = read_list(metadata, KEYS + "tokens", str)
        kinds = read_list(metadata, KEYS + "token_type", int)
        if len(kinds) != len(tokens):
            raise corrupt(KEYS + "token_type", f"lists {len(kinds)} kinds for {len(tokens)} tokens")
        ends = {_read_id(metadata, KEYS + name, len(tokens)) for name in ("eot_token_id", "eom_token_id")}
        return cls(
            tokens,
            kinds,
            _read_id(metadata, KEYS + "eos_token_id", len(tokens)),
            frozenset(token for token in ends if token is not None),
            _read_id(metadata, KEYS + "bos_token_id", len(tokens)),
            metadata.get(KEYS + "add_bos_token") is True,
        )

    def ids_of(self, kind: TokenKind) -> dict[str, int]:
        """Return the tokens of one kind by their text; empty texts are left out."""
        number = int(kind)
        return {
            self.tokens[token]: token
            for token, of_kind in enumerate(self.kinds)
            if of_kind == number and self.tokens[token]
        }

    @property
    def digest(self) -> str:
        """The same for the same tokens; places that no token uses, which fill up tables, do not count."""
        used = (
            f"{token} {text}"
            for token, (text, kind) in enumerate(zip(self.tokens, self.kinds, strict=True))
            if kind != TokenKind.UNUSED
        )
        return hashlib.sha256("\n".join(used).encode()).hexdigest()

    @property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer: those that the file names, and the usual ones that it holds."""
        special = self.ids_of(TokenKind.CONTROL) | self.ids_of(TokenKind.USER_DEFINED)
        usual = {special[name] for name in END_OF_TURN if name in special}
        return self.other_end_ids | usual | (set() if self.eos_id is None else {self.eos_id})

    def text(self, token: int | None) -> str:
        """Return a token as the file spells it; none for None."""
        return "" if token is None else self.tokens[token]

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that a token stands for; control tokens and ids beyond the vocabulary have none.

        A model's output may be padded beyond its vocabulary, so such an id is no error.
        """
        if not 0 <= token < len(self.tokens) or self.kinds[token] not in _SPOKEN:
            return b""
        if self.kinds[token] == TokenKind.USER_DEFINED:
            return self.tokens[token].encode()
        return b"".join(_BYTE_OF.get(char) or char.encode() for char in self.tokens[token])


def read_text(metadata: Mapping[str, object], key: str) -> str:
    """Return a text of the tokenizer's metadata; raise ModelCorrupt naming the key."""
    value = metadata.get(key)
    if not isinstance(value, str):
        raise corrupt(key, "is missing" if value is None else "is not text")
    return value


def read_list(metadata: Mapping[str, object], key: str, kind: type[Scalar]) -> tuple[Scalar, ...]:
    """Return a list of the tokenizer's metadata; raise ModelCorrupt naming the key."""
    value = metadata.get(key)
    if not isinstance(value, (list, tuple)) or not value:
        raise corrupt(key, "is missing" if value is None else "is empty or no list")
    if set(map(type, value)) != {kind}:  # one pass in C: a vocabulary has 50,000 to 250,000 entries
        raise corrupt(key, f"holds something other than {kind.__name__}")
    return tuple(value)


def corrupt(key: str, fault: str) -> ModelCorrupt:
    """Return the error for a fault in the tokenizer's metadata."""
    return ModelCorrupt(f"the model's file is damaged: {key} {fault}; pull it again")


def _read_id(metadata: Mapping[str, object], key: str, num_tokens: int) -> int | None:
    value = metadata.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or not 0 <= value < num_tokens:
        raise corrupt(key, f"is {value!r:.40}, no id of the {num_tokens} tokens")
    return value


def _byte_alphabet() -> dict[str, bytes]:
    """Map GPT-2's 256 letters to bytes: printable Latin-1 is itself, the rest is moved up from U+0100.

    Source: Radford et al. 2019, `bytes_to_unicode` of the released encoder.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    moved = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable} | {chr(256 + at): byte for at, byte in enumerate(moved)}
    return {letter: bytes([byte]) for letter, byte in letters.items()}


_BYTE_OF = _byte_alphabet()
