"""A model on disk, whatever it is kept in: one GGUF file, or a folder of safetensors.

Owns the protocol that both fulfil, and the choice between them. Must not know torch, or what a tensor is
for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from mesh.model.blocks import Bytes
from mesh.model.gguf import GgufFile
from mesh.model.hf_folder import HfFolder
from mesh.model.metadata import Value
from mesh.model.tensors import TensorInfo


class Checkpoint(Protocol):
    """An open model; only what is asked for is read from disk.

    Tensors and keys of the metadata have the names that GGUF gives them, the canonical ones.
    """

    @property
    def path(self) -> Path:
        """The file or folder."""

    @property
    def metadata(self) -> Mapping[str, Value]:
        """What the model says of its shape."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Tensors by their canonical names."""

    @property
    def interleaved_rotary(self) -> bool:
        """Whether rows of q and k are stored for rotary pairs (0, 1), (2, 3)... not (i, i + half)."""

    def raw(self, name: str) -> Bytes:
        """Return a read-only view of a tensor's bytes; raise ModelCorrupt when there is no such tensor."""

    def spell(self, name: str) -> str:
        """Return a tensor's name as the file would spell it, for people to find it there."""

    def close(self) -> None:
        """Let go of the disk; may be called twice. Views stay valid."""

    def __enter__(self) -> Self:
        """Return the open model."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a GGUF file, or a Hugging Face folder, and read its directory of tensors.

    Raises as `GgufFile.open` and `HfFolder.open` do: ModelNotPulled, ModelCorrupt or UnsupportedModel.
    """
    return HfFolder.open(path) if path.is_dir() else GgufFile.open(path)
