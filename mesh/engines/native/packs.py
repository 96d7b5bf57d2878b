"""Packed parts on disk, beside the model's file: read back by a memory map, without work.

Owns the files `<model>/packed/<precision>-<format>-<digest>/<part>.pack` and the check that one is whole and
of this model. Must not know how a part is made. A file that cannot be written is done without; one that is
damaged, or of other weights, is made again.

A file is a line of JSON (format, model, hash and the arrays' names, types and places), then the arrays,
each at a multiple of 64 bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec
import numpy as np
from numpy.typing import NDArray

from mesh.engines.native.packing import FORMAT
from mesh.engines.native.parts import Part
from mesh.types import Digest, Precision

_log = logging.getLogger(__name__)

_ALIGNMENT = 64
_MAX_HEADER_BYTES = 4096


class _Entry(msgspec.Struct, frozen=True):
    name: str
    dtype: str
    offset: int
    """Bytes from the end of the header."""
    num_bytes: int


class _Header(msgspec.Struct, frozen=True):
    model: str
    data_bytes: int
    sha256: str
    """Of the entries and the arrays."""
    entries: tuple[_Entry, ...]


@dataclass(frozen=True, slots=True)
class Packs:
    """The packed parts of one model in one precision."""

    folder: Path
    model: Digest

    @classmethod
    def beside(cls, path: Path, model: Digest, precision: Precision) -> Packs:
        """Return those that belong to a model's file or folder."""
        return cls(path.parent / "packed" / f"{precision}-{FORMAT}-{model[:12]}", model)

    def get(self, name: str, make: Callable[[], Part]) -> Part:
        """Return a part from disk, or make it and keep it there for the next time."""
        path = self.folder / f"{name}.pack"
        part = self._read(path)
        if part is None:
            part = make()
            self._write(path, part)
        return part

    def _read(self, path: Path) -> Part | None:
        try:
            with path.open("rb") as file:
                header = msgspec.json.decode(file.readline(_MAX_HEADER_BYTES), type=_Header)
                start = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
            data = np.memmap(path, np.uint8, "r", offset=start, shape=(header.data_bytes,))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, OverflowError, msgspec.MsgspecError) as error:
            _log.warning("%s cannot be used and is made again: %s", path, error)
            return None
        if header.model != self.model or _sha256(header.entries, [data.data]) != header.sha256:
            _log.warning("%s is damaged, or of other weights, and is made again", path)
            return None
        return {entry.name: _array(data, entry) for entry in header.entries}

    def _write(self, path: Path, part: Part) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
                _write_part(file, self.model, part)
            os.replace(file.name, path)
        except OSError as error:
            _log.warning("%s could not be written: %s", path, error)
            with contextlib.suppress(OSError, UnboundLocalError):
                os.unlink(file.name)


def _array(data: NDArray[np.uint8], entry: _Entry) -> NDArray[np.generic]:
    return data[entry.offset : entry.offset + entry.num_bytes].view(entry.dtype)


def _write_part(file: IO[bytes], model: Digest, part: Part) -> None:
    entries, size = [], 0
    for name, array in part.items():
        entries.append(_Entry(name, array.dtype.str, size, array.nbytes))
        size += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    sha256 = _sha256(tuple(entries), map(_filled, part.values()))
    header = msgspec.json.encode(_Header(model, size, sha256, tuple(entries))) + b"\n"
    file.write(header + bytes(-len(header) % _ALIGNMENT))
    for array in part.values():
        file.write(_filled(array))


def _sha256(entries: tuple[_Entry, ...], arrays: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.sha256(msgspec.json.encode(entries))
    for array in arrays:
        digest.update(array)
    return digest.hexdigest()


def _filled(array: NDArray[np.generic]) -> bytes:
    return array.tobytes() + bytes(-array.nbytes % _ALIGNMENT)
