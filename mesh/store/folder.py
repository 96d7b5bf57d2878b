"""A model that is a folder of files, as Hugging Face has them.

Owns which files of a folder are the model, and the one digest over all of them. Must not know what is inside
them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from mesh.store.files import Progress, sha256_of, silent
from mesh.store.unpack import link_or_copy
from mesh.types import Digest

_CONFIG = "config.json"
_NAMES = (
    "chat_template.jinja",
    _CONFIG,
    "generation_config.json",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
"""What belongs to a model beside its tensors; readmes and the like would only make digests differ."""


def is_model_folder(path: Path) -> bool:
    """Whether a folder looks like a model's."""
    return (path / _CONFIG).is_file()


def members(path: Path) -> tuple[str, ...]:
    """Name the files of a folder that are the model, in order."""
    tensors = (file.name for file in path.glob("*.safetensors") if file.is_file())
    beside = (name for name in _NAMES if (path / name).is_file())
    return tuple(sorted([*tensors, *beside]))


def hash_members(path: Path, files: tuple[str, ...], progress: Progress = silent) -> dict[str, Digest]:
    """Hash files of a folder; progress counts the bytes of all."""
    total_bytes = sum((path / name).stat().st_size for name in files)
    digests: dict[str, Digest] = {}
    before = 0
    for name in files:
        digests[name] = sha256_of(path / name, _further(progress, before, total_bytes))
        before += (path / name).stat().st_size
    return digests


def folder_digest(digests: Mapping[str, Digest]) -> Digest:
    """Return one digest over the names and digests of files: that of what `sha256sum` prints for them."""
    lines = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
    return Digest(hashlib.sha256(lines.encode()).hexdigest())


def link_or_copy_members(source: Path, digests: Mapping[str, Digest], target: Path) -> None:
    """Make a folder of the files of known content; raises as `link_or_copy` does."""
    target.mkdir()
    for name, digest in digests.items():
        link_or_copy((source / name).resolve(), digest, target / name)


def _further(progress: Progress, before_bytes: int, all_bytes: int) -> Progress:
    def told(done_bytes: int, total_bytes: int | None) -> None:
        progress(before_bytes + done_bytes, all_bytes)

    return told
