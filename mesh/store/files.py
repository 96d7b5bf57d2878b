"""Files that are whole or absent.

Owns hashing, durable replacement and the checks before a big write. Must not know what the files mean.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from mesh.errors import BadSetting, PullFailed
from mesh.types import Digest

CHUNK_BYTES = 1 << 20

SPARE_BYTES = 16 << 20
"""Kept free beside what is to be written: receipts, directories, other programs' logs."""


class Progress(Protocol):
    """Is told how far a long read or download has come."""

    def __call__(self, done_bytes: int, total_bytes: int | None) -> None:
        """Take the bytes done so far, out of a total that may be unknown."""


def silent(done_bytes: int, total_bytes: int | None) -> None:
    """Take progress and tell nobody."""


def sha256_of(path: Path, progress: Progress = silent) -> Digest:
    """Hash a whole file."""
    with path.open("rb") as source:
        return copy_hashed(source, None, path.stat().st_size, progress)


def copy_hashed(
    source: IO[bytes], target: IO[bytes] | None, total_bytes: int | None, progress: Progress = silent
) -> Digest:
    """Read a stream to its end, write it to the target if there is one, and return its sha256."""
    digest, done_bytes = hashlib.sha256(), 0
    while chunk := source.read(CHUNK_BYTES):
        digest.update(chunk)
        if target is not None:
            target.write(chunk)
        done_bytes += len(chunk)
        progress(done_bytes, total_bytes)
    return Digest(digest.hexdigest())


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that is on the disk, not only in its cache, when the block has ended well."""
    with path.open("wb") as target:
        yield target
        target.flush()
        os.fsync(target.fileno())


def replace_durably(source: Path, target: Path) -> None:
    """Move a finished file to its final name in one step that also survives a loss of power."""
    os.replace(source, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a small file so that a reader sees the old content or the new, never a part.

    Two writers of one path must exclude each other.
    """
    temporary = path.with_name(path.name + ".part")
    with written_whole(temporary) as target:
        target.write(content)
    replace_durably(temporary, path)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_or_zero(path: Path) -> int:
    """Return a file's bytes, 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def require_space(folder: Path, needed_bytes: int) -> None:
    """Raise PullFailed, naming both numbers, when a folder's disk has no room for so many bytes."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes + SPARE_BYTES:
        needed, free = (f"{count / 1e6:,.0f} MB" for count in (needed_bytes + SPARE_BYTES, free_bytes))
        raise PullFailed(
            f"not enough disk space in {folder}: {needed} needed, {free} free; make room and pull again"
        )


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the operating system says about our own files into one line: PullFailed or BadSetting."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PullFailed(f"the disk of {folder} is full; make room and pull again") from error
        place = error.filename or folder
        raise BadSetting(f"cannot use {place}: {error.strerror or error}") from error
