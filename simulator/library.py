"""A library in memory: the Library port with models that have a shape but no weights.

Owns no files. The text of an answer is what the token function makes of it: a token below 256 is a byte of
UTF-8, any other a made-up word that is always the same.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence

from mesh.card import ModelCard
from mesh.errors import ModelNotPulled, UnknownModel
from mesh.spec import ModelSpec
from mesh.types import ChatMessage, Digest, ModelRef, SamplingAdvice
from simulator.profiles import model_spec, model_specs

TINY = model_spec("tiny")
"""A spec of the smallest useful size: its weights fit in a megabyte."""

_NUM_BYTES = 256
_CONSONANTS = "bdfghjklmnprstvz"
_VOWELS = "aeiou"
_NUM_SYLLABLES = len(_CONSONANTS) * len(_VOWELS)


class MemoryLibrary:
    """The Library port of a device with these models on its disk; there may be none."""

    def __init__(self, specs: Iterable[ModelSpec] = (TINY,), cards: Iterable[ModelCard] = ()) -> None:
        self._cards = {card.name: card for card in cards}
        self._by_name = {spec.name: spec for spec in sorted(specs, key=lambda spec: spec.name)}
        self._by_digest = {spec.digest: spec for spec in self._by_name.values()}
        self._refs = tuple(spec.ref for spec in self._by_name.values())

    def models(self) -> tuple[ModelRef, ...]:
        """The models that are here."""
        return self._refs

    async def spec(self, model: str) -> ModelSpec:
        """A model's shape; see the port."""
        spec = self._by_name.get(model)
        if spec is not None:
            return spec
        if any(known.name == model for known in model_specs()):
            raise ModelNotPulled(f"{model} is not on this device; run `mesh pull {model}`")
        raise UnknownModel(f"unknown model '{model}'; see `mesh models`")

    async def spec_of(self, digest: Digest) -> ModelSpec:
        """The shape of the model with these bytes; see the port."""
        spec = self._by_digest.get(digest)
        if spec is None:
            raise ModelNotPulled(f"the model {digest[:12]} is not on this device")
        return spec

    async def card(self, model: str) -> ModelCard | None:
        """What is known of a model; see the port."""
        return self._cards.get(model)

    async def codec(self, model: str) -> ByteCodec:
        """Tokenizer and template; see the port."""
        await self.spec(model)
        return ByteCodec()

    async def encode_chat(self, model: str, messages: Sequence[ChatMessage]) -> tuple[int, ...]:
        """Tokens of a conversation; see the port."""
        return (await self.codec(model)).encode_chat(messages)


class ByteCodec:
    """A TextCodec for any vocabulary of 256 tokens or more; token 0 ends an answer."""

    @property
    def stop_ids(self) -> frozenset[int]:
        """The token that ends an answer."""
        return frozenset({0})

    @property
    def vocabulary(self) -> str:
        """Bytes: all models here have it."""
        return "bytes"

    def encode_chat(self, messages: Sequence[ChatMessage]) -> tuple[int, ...]:
        """One line for each message, then the assistant's; a token for each byte of UTF-8."""
        lines = [f"{message.role}: {message.content}\n" for message in messages]
        return tuple("".join([*lines, "assistant: "]).encode())

    def pieces(self) -> BytePieces:
        """Start decoding one answer."""
        return BytePieces()

    @property
    def thinks(self) -> bool:
        """It does not."""
        return False

    def opens_thinking(self, prompt: Sequence[int]) -> bool:
        """It knows of none."""
        return False

    @property
    def advice(self) -> SamplingAdvice | None:
        """There is none."""
        return None


class BytePieces:
    """Decodes tokens as they come."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """Take the next token; see the port."""
        if token < _NUM_BYTES:
            return self._decoder.decode(bytes([token]))
        return self._decoder.decode(b"", final=True) + word(token)

    def finish(self) -> str:
        """Return what is left."""
        return self._decoder.decode(b"", final=True)


def word(token: int) -> str:
    """Return the made-up word of a token above 255, with a space before it; no two tokens share one."""
    rest, syllables = token - _NUM_BYTES, ""
    while True:
        rest, index = divmod(rest, _NUM_SYLLABLES)
        consonant, vowel = divmod(index, len(_VOWELS))
        syllables += _CONSONANTS[consonant] + _VOWELS[vowel]
        if not rest:
            return f" {syllables}"
