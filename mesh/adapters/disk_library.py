"""The Library port over the model store: what this device's disk holds, read off the event loop.

Owns the shapes and tokenizers that were read, so that each file is read once. Must not know how the store
keeps its files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from mesh.card import ModelCard
from mesh.model.checkpoint import open_checkpoint
from mesh.model.families import model_spec
from mesh.model.text import ModelTextCodec
from mesh.spec import ModelSpec
from mesh.store.cards import card_of
from mesh.store.names import is_name
from mesh.store.shelf import ModelStore
from mesh.types import ChatMessage, Digest, ModelRef


def _today() -> datetime:
    return datetime.now().astimezone()


class DiskLibrary:
    """The models in one store."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._reading = asyncio.Lock()
        self._specs: dict[Digest, ModelSpec] = {}
        self._codecs: dict[Digest, ModelTextCodec] = {}

    def models(self) -> tuple[ModelRef, ...]:
        """The models that are whole; see the port."""
        return self._store.models()

    async def spec(self, model: str) -> ModelSpec:
        """A model's shape; see the port."""
        path, digest = await asyncio.to_thread(self._locate, model)
        return await self._spec_at(path, model, digest)

    async def spec_of(self, digest: Digest) -> ModelSpec:
        """The shape of the model with these bytes; see the port."""
        if known := self._specs.get(digest):
            return known
        path = await self.path_of(digest)
        name = next(model.name for model in self.models() if model.digest == digest)
        return await self._spec_at(path, name, digest)

    async def path_of(self, digest: Digest) -> Path:
        """Where the model with these bytes lies; raise ModelNotPulled or ModelCorrupt."""
        return await asyncio.to_thread(self._store.by_digest, digest)

    async def card(self, model: str) -> ModelCard | None:
        """What is known of a model; see the port."""
        if not is_name(model):  # as servers outside may call one
            return None
        return await asyncio.to_thread(card_of, self._store, model)

    async def codec(self, model: str) -> ModelTextCodec:
        """Tokenizer and template; see the port."""
        path, digest = await asyncio.to_thread(self._locate, model)
        async with self._reading:
            if digest not in self._codecs:
                self._codecs[digest] = await asyncio.to_thread(ModelTextCodec.from_path, path, _today)
        return self._codecs[digest]

    async def encode_chat(self, model: str, messages: Sequence[ChatMessage]) -> tuple[int, ...]:
        """Tokens of a conversation; see the port."""
        codec = await self.codec(model)
        return await asyncio.to_thread(codec.encode_chat, messages)

    def _locate(self, model: str) -> tuple[Path, Digest]:
        path, ref = self._store.verified(model)
        return path, ref.digest

    async def _spec_at(self, path: Path, name: str, digest: Digest) -> ModelSpec:
        async with self._reading:
            if digest not in self._specs:
                self._specs[digest] = await asyncio.to_thread(_read_spec, path, name, digest)
        return self._specs[digest]


def _read_spec(path: Path, name: str, digest: Digest) -> ModelSpec:
    with open_checkpoint(path) as file:
        return model_spec(file, name, digest)
