"""A library in memory: the Library port with one small model whose tokens are bytes.

Owns no files. The text of an answer is what the token function makes of it, byte by byte.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from mesh.errors import ModelNotPulled, UnknownModel
from mesh.spec import ModelSpec
from mesh.types import ChatMessage, Digest, ModelRef

TINY = ModelSpec(
    name="tiny",
    digest=Digest("0" * 64),
    architecture="llama",
    num_layers=12,
    hidden_size=64,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    intermediate_size=128,
    vocab_size=256,
    context_length=2048,
    rope_base=10_000.0,
    rms_norm_eps=1e-5,
    tied_embeddings=True,
)
"""A spec of the smallest useful size: its weights fit in a megabyte."""


class MemoryLibrary:
    """The Library port with one model, or none."""

    def __init__(self, spec: ModelSpec | None = TINY) -> None:
        self._spec = spec

    def models(self) -> tuple[ModelRef, ...]:
        """The models that are here."""
        return (self._spec.ref,) if self._spec else ()

    async def spec(self, model: str) -> ModelSpec:
        """A model's shape; see the port."""
        if self._spec is None:
            raise ModelNotPulled(f"{model} is not on this device; run `mesh pull {model}`")
        if model != self._spec.name:
            raise UnknownModel(f"unknown model '{model}'; see `mesh models`")
        return self._spec

    async def spec_of(self, digest: Digest) -> ModelSpec:
        """The shape of the model with these bytes; see the port."""
        if self._spec is None or self._spec.digest != digest:
            raise ModelNotPulled(f"the model {digest[:12]} is not on this device")
        return self._spec

    async def codec(self, model: str) -> ByteCodec:
        """Tokenizer and template; see the port."""
        await self.spec(model)
        return ByteCodec()

    async def encode_chat(self, model: str, messages: Sequence[ChatMessage]) -> tuple[int, ...]:
        """Tokens of a conversation; see the port."""
        return (await self.codec(model)).encode_chat(messages)


class ByteCodec:
    """A TextCodec whose tokens are the bytes of UTF-8; byte 0 ends an answer."""

    @property
    def stop_ids(self) -> frozenset[int]:
        """The token that ends an answer."""
        return frozenset({0})

    def encode_chat(self, messages: Sequence[ChatMessage]) -> tuple[int, ...]:
        """One line for each message, then the assistant's."""
        lines = [f"{message.role}: {message.content}\n" for message in messages]
        return tuple("".join([*lines, "assistant: "]).encode())

    def pieces(self) -> BytePieces:
        """Start decoding one answer."""
        return BytePieces()


class BytePieces:
    """Decodes bytes as they come."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """Take the next token; see the port."""
        return self._decoder.decode(bytes([token]))

    def finish(self) -> str:
        """Return what is left."""
        return self._decoder.decode(b"", final=True)
