"""The models on this machine's disk, read on the calling thread.

Owns what was read, once for all devices of a run. Knows no threads, so that it works on a loop of virtual
time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

from mesh.card import ModelCard
from mesh.errors import ModelNotPulled, UnknownModel
from mesh.model.checkpoint import open_checkpoint
from mesh.model.families import model_spec
from mesh.model.text import ModelTextCodec
from mesh.spec import ModelSpec
from mesh.store.cards import shipped_card
from mesh.store.shelf import ModelStore
from mesh.types import ChatMessage, Digest, ModelRef

_A_DAY = datetime(2026, 1, 1, tzinfo=UTC)  # some templates ask for the date; a run must not depend on it


def default_data_dir() -> Path:
    """Where `mesh pull` puts models: MESH_DATA_DIR, or the place that the system has for such data."""
    named = os.environ.get("MESH_DATA_DIR")
    return Path(named) if named else platformdirs.user_data_path("ambient-mesh")


class ModelFiles:
    """What is read from a store, once for all devices of a run."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._specs: dict[Digest, ModelSpec] = {}
        self._codecs: dict[Digest, ModelTextCodec] = {}

    def models(self) -> tuple[ModelRef, ...]:
        """The models that are whole, by name."""
        return self._store.models()

    def spec(self, digest: Digest) -> ModelSpec:
        """A model's shape; raise ModelNotPulled or ModelCorrupt."""
        if digest not in self._specs:
            path = self._store.by_digest(digest)
            name = next(model.name for model in self.models() if model.digest == digest)
            with open_checkpoint(path) as file:
                self._specs[digest] = model_spec(file, name, digest)
        return self._specs[digest]

    def codec(self, digest: Digest) -> ModelTextCodec:
        """A model's tokenizer and template; raise ModelNotPulled or ModelCorrupt."""
        if digest not in self._codecs:
            path = self._store.by_digest(digest)
            self._codecs[digest] = ModelTextCodec.from_path(path, lambda: _A_DAY)
        return self._codecs[digest]

    def digest(self, model: str) -> Digest:
        """The digest of a model; raise UnknownModel, ModelNotPulled or ModelCorrupt."""
        return self._store.verified(model)[1].digest

    def path(self, digest: Digest) -> Path:
        """Where a model lies; raise ModelNotPulled or ModelCorrupt."""
        return self._store.by_digest(digest)

    def specs(self, models: Sequence[str]) -> tuple[ModelSpec, ...]:
        """Shapes of models by name; raise ModelNotPulled or UnknownModel where a file is not here."""
        try:
            return tuple(self.spec(self.digest(model)) for model in models)
        except (ModelNotPulled, UnknownModel) as error:
            raise type(error)(f"this run needs the model's file: {error}") from error


class FileLibrary:
    """The Library port of one virtual device: of the files on this machine, those that it has."""

    def __init__(self, files: ModelFiles, models: Sequence[str]) -> None:
        self._files = files
        self._names = frozenset(models)

    def models(self) -> tuple[ModelRef, ...]:
        """The models on the device's disk; see the port."""
        return tuple(model for model in self._files.models() if model.name in self._names)

    async def spec(self, model: str) -> ModelSpec:
        """A model's shape; see the port."""
        return self._files.spec(self._digest(model))

    async def spec_of(self, digest: Digest) -> ModelSpec:
        """The shape of the model with these bytes; see the port."""
        if all(model.digest != digest for model in self.models()):
            raise ModelNotPulled(f"the model {digest[:12]} is not on this device")
        return self._files.spec(digest)

    async def card(self, model: str) -> ModelCard | None:
        """What is known of a model; see the port."""
        return shipped_card(model)

    async def codec(self, model: str) -> ModelTextCodec:
        """Tokenizer and template; see the port."""
        return self._files.codec(self._digest(model))

    async def encode_chat(self, model: str, messages: Sequence[ChatMessage]) -> tuple[int, ...]:
        """Tokens of a conversation; see the port."""
        return self._files.codec(self._digest(model)).encode_chat(messages)

    def _digest(self, model: str) -> Digest:
        digest = self._files.digest(model)
        if model not in self._names:
            raise ModelNotPulled(f"{model} is not on this device; run `mesh pull {model}`")
        return digest
