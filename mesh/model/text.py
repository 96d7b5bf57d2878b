"""A model's tokenizer and chat template as one: conversations in, tokens out, and text back.

Owns the rule that only the template writes control tokens: spelled out in a message, they are text. Must
not know sessions or the network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mesh.errors import BadRequest
from mesh.model.chat_template import CHATML, PLAIN, ChatTemplate
from mesh.model.gguf import GgufFile
from mesh.model.hf_tokenizer import read_advice, read_template, read_tokenizer
from mesh.model.pieces import Utf8Pieces
from mesh.model.tokenizer import Tokenizer
from mesh.model.vocabulary import read_text
from mesh.types import THINK, THINK_END, ChatMessage, SamplingAdvice

_TEMPLATE = "tokenizer.chat_template"
_MOST_TAG_TOKENS = 16
"""Of a tag in plain letters and the white space behind it."""
_PRIVATE_USE = range(0xF0000, 0xFFFFE)
"""Plane 15: characters without a meaning, by which the first letters of control tokens are hidden."""


@dataclass(frozen=True, slots=True)
class ModelTextCodec:
    """The `TextCodec` of mesh.ports for one model; may be shared by threads."""

    tokenizer: Tokenizer
    template: ChatTemplate
    now: Callable[[], datetime]
    """What a template that prints the date takes for today."""
    thinks: bool
    """See the port."""
    advice: SamplingAdvice | None
    """See the port."""

    @classmethod
    def from_path(cls, path: Path, now: Callable[[], datetime]) -> ModelTextCodec:
        """Read what a GGUF file or a Hugging Face folder says of its text.

        Raises as `GgufFile.open` and `from_metadata` do, or as `read_tokenizer` does.
        """
        if path.is_dir():
            return cls._build(read_tokenizer(path), read_template(path), now, read_advice(path))
        with GgufFile.open(path) as file:
            return cls.from_metadata(file.metadata, now)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, object], now: Callable[[], datetime]) -> ModelTextCodec:
        """Build from a GGUF's metadata; raises as Tokenizer.from_metadata and ChatTemplate.compile do."""
        template = read_text(metadata, _TEMPLATE) if _TEMPLATE in metadata else None
        return cls._build(Tokenizer.from_metadata(metadata), template, now)

    @classmethod
    def _build(
        cls,
        tokenizer: Tokenizer,
        template: str | None,
        now: Callable[[], datetime],
        advice: SamplingAdvice | None = None,
    ) -> ModelTextCodec:
        return cls(tokenizer, _template(template, tokenizer), now, _thinks(template, tokenizer), advice)

    @property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return self.tokenizer.stop_ids

    @property
    def vocabulary(self) -> str:
        """A digest of its tokens: models of one vocabulary have the same."""
        return self.tokenizer.vocabulary.digest

    def encode_chat(self, messages: Sequence[ChatMessage]) -> tuple[int, ...]:
        """Render a conversation by the model's template, ready for the assistant's turn, as tokens.

        Control tokens spelled out inside a message stay plain text. Raises BadRequest for a conversation
        that is empty, has a message without a role, or is refused by the template.
        """
        if not messages:
            raise BadRequest("the conversation is empty; send at least one message")
        if not all(message.role for message in messages):
            raise BadRequest("a message has no role; send system, user or assistant")
        veil = _Veil.over(self.tokenizer.control_ids, messages)
        rendered = self.template.render([veil.hide(message) for message in messages], self.now())
        return tuple(self._encode(rendered, veil))

    def pieces(self) -> Utf8Pieces:
        """Start decoding one answer; see the port."""
        return Utf8Pieces(self._spoken)

    def opens_thinking(self, prompt: Sequence[int]) -> bool:
        """Whether a rendered conversation ends with the opening tag; see the port."""
        end = b"".join(map(self._spoken, prompt[-_MOST_TAG_TOKENS:]))
        return end.decode("utf-8", "replace").rstrip().endswith(THINK)

    def _spoken(self, token: int) -> bytes:
        """Return a token's bytes; the tags of thinking have theirs where they are control tokens, too."""
        control = self.tokenizer.control_ids
        if self.thinks and token in (control.get(THINK), control.get(THINK_END)):
            return self.tokenizer.vocabulary.text(token).encode()
        return self.tokenizer.token_bytes(token)

    def _encode(self, rendered: str, veil: _Veil) -> Iterator[int]:
        for part in self.tokenizer.split(rendered):
            if isinstance(part, int):
                yield part
            else:
                yield from self.tokenizer.encode(veil.lift(part), allow_special=False)


@dataclass(frozen=True, slots=True)
class _Veil:
    """Hides control tokens in messages by one private character for the first letter of each.

    One for one, so that a template that trims, cuts or compares messages still does what it means to do.
    The private characters are ones that no message holds.
    """

    _control: re.Pattern[str]
    _hidden: dict[str, str]
    _lifted: dict[int, str]

    @classmethod
    def over(cls, control: Mapping[str, int], messages: Sequence[ChatMessage]) -> _Veil:
        firsts = sorted({text[0] for text in control})
        taken = {char for message in messages for char in message.role + message.content}
        free = (chr(point) for point in _PRIVATE_USE if chr(point) not in taken)
        hidden = dict(zip(firsts, free, strict=False))
        # Looking ahead finds occurrences that overlap, too.
        anywhere = re.compile(f"(?={'|'.join(map(re.escape, control)) or '(?!)'})(.)", re.DOTALL)
        return cls(anywhere, hidden, {ord(private): first for first, private in hidden.items()})

    def hide(self, message: ChatMessage) -> ChatMessage:
        return ChatMessage(self._hide_text(message.role), self._hide_text(message.content))

    def lift(self, text: str) -> str:
        return text.translate(self._lifted)

    def _hide_text(self, text: str) -> str:
        return self._control.sub(lambda match: self._hidden[match[1]], text)


def _thinks(template: str | None, tokenizer: Tokenizer) -> bool:
    if template is not None and (THINK in template or THINK_END in template):
        return True
    tokens = tokenizer.vocabulary.tokens
    return THINK in tokens and THINK_END in tokens


def _template(source: str | None, tokenizer: Tokenizer) -> ChatTemplate:
    vocabulary = tokenizer.vocabulary
    special = {
        "bos_token": vocabulary.text(vocabulary.bos_id),
        "eos_token": vocabulary.text(vocabulary.eos_id),
    }
    if source is not None:
        return ChatTemplate.compile(source, special)
    if "<|im_start|>" in tokenizer.control_ids:
        return ChatTemplate.compile(CHATML, special)
    begins = special if vocabulary.add_bos else {}
    return ChatTemplate.compile(PLAIN, begins)
