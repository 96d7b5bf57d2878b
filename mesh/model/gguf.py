"""Memory-mapped reader of GGUF files.

Owns the container: header, metadata, directory of tensors, and views of their bytes. Must not know what
a tensor is for, nor torch; of the families it knows only how they lay out rows. Nothing in the file is
believed before it is checked against the file's size, so a hostile header can neither allocate nor read
out of bounds.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little endian).
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from mesh.errors import ModelCorrupt, UnsupportedModel
from mesh.model.blocks import Bytes
from mesh.model.family import FAMILIES
from mesh.model.mapped import map_file
from mesh.model.metadata import Value
from mesh.model.tensors import OTHER_TYPES, TensorInfo, TensorType

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_DIMENSIONS = 4
_MAX_NESTING = 4
_MIN_ENTRY_BYTES = 8 + 4 + 1
_MIN_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8
_DEFAULT_ALIGNMENT = 32

_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class GgufFile:
    """An open model file; only what is asked for is read from disk.

    Made by `GgufFile.open`. Views that `raw` gave stay valid after `close`; the map goes with the last.
    """

    def __init__(
        self, path: Path, data: NDArray[np.uint8], metadata: dict[str, Value], tensors: dict[str, TensorInfo]
    ) -> None:
        self.path = path
        self.metadata: Mapping[str, Value] = MappingProxyType(metadata)
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(tensors)
        self._data: NDArray[np.uint8] | None = data

    @classmethod
    def open(cls, path: Path) -> GgufFile:
        """Map a file and read its directory.

        Raises ModelNotPulled when there is no such file, ModelCorrupt when it is not a whole GGUF file,
        UnsupportedModel for another version, byte order or type of tensor.
        """
        data = map_file(path)
        header = _Header(path, data)
        num_tensors, num_entries = header.preamble()
        metadata = _read_metadata(header, num_entries)
        tensors = _read_tensors(header, num_tensors, metadata)
        return cls(path, np.frombuffer(data, np.uint8), metadata, tensors)

    @property
    def interleaved_rotary(self) -> bool:
        """Whether rows of q and k are stored for rotary pairs (0, 1), (2, 3)... not (i, i + half)."""
        family = FAMILIES.get(str(self.metadata.get("general.architecture")))
        return family is not None and family.interleaved_rotary

    def spell(self, name: str) -> str:
        """Return a tensor's name as the file spells it: GGUF's names are the canonical ones."""
        return name

    def raw(self, name: str) -> Bytes:
        """Return a read-only view of a tensor's bytes; raise ModelCorrupt when there is no such tensor."""
        if self._data is None:
            raise ValueError(f"{self.path} is closed")
        info = self.tensors.get(name)
        if info is None:
            raise ModelCorrupt(f"{self.path} has no tensor '{name}'; pull the model again")
        return self._data[info.offset : info.offset + info.num_bytes]

    def close(self) -> None:
        """Let go of the map; may be called twice."""
        self._data = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Header:
    """A cursor over the directory at the start of the file."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path = path
        self._data = data
        self._at = 0

    @property
    def at(self) -> int:
        """Bytes read so far."""
        return self._at

    @property
    def left(self) -> int:
        """Bytes from here to the end of the file."""
        return len(self._data) - self._at

    def corrupt(self, what: str) -> NoReturn:
        """Raise ModelCorrupt naming the file."""
        raise ModelCorrupt(f"{self._path} is not a whole GGUF file: {what}; pull the model again")

    def unsupported(self, what: str) -> NoReturn:
        """Raise UnsupportedModel naming the file."""
        raise UnsupportedModel(f"{self._path} cannot be run: {what}")

    def preamble(self) -> tuple[int, int]:
        """Check magic and version; return the counts of tensors and of metadata entries."""
        if self._take(4) != _MAGIC:
            self.corrupt("it does not start with 'GGUF'")
        version = self.number("I")
        if version not in _VERSIONS and int.from_bytes(version.to_bytes(4, "little"), "big") < 2**16:
            self.unsupported("it is big endian; supported: little endian")
        if version not in _VERSIONS:
            self.unsupported(f"GGUF version {version}; supported: 2 and 3")
        return self.count("tensors", "Q", _MIN_TENSOR_BYTES), self.count("metadata", "Q", _MIN_ENTRY_BYTES)

    def number(self, code: str) -> int:
        """Read one unsigned integer of a struct code."""
        return int.from_bytes(self._take(struct.calcsize("<" + code)), "little")

    def count(self, what: str, code: str, item_bytes: int) -> int:
        """Read a count of items that must still fit into the file."""
        count = self.number(code)
        if count * item_bytes > self.left:
            self.corrupt(f"{count} {what} announced with {self.left} bytes left")
        return count

    def text(self) -> str:
        """Read one string."""
        return self._strings(1)[0]

    def value(self, kind: int, nesting: int = 0) -> Value:
        """Read one metadata value of a type number."""
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            return self._array(nesting)
        return self._scalars(kind, 1)[0]

    def _array(self, nesting: int) -> tuple[Value, ...]:
        if nesting == _MAX_NESTING:
            self.corrupt(f"arrays nested deeper than {_MAX_NESTING}")
        kind = self.number("I")
        if kind == _STRING:
            return self._strings(self.count("strings", "Q", 8))
        if kind == _ARRAY:
            return tuple(self._array(nesting + 1) for _ in range(self.count("arrays", "Q", 12)))
        return self._scalars(kind, self.count("values", "Q", 1))

    def _scalars(self, kind: int, count: int) -> tuple[Value, ...]:
        code = _SCALARS.get(kind)
        if code is None:
            self.corrupt(f"metadata of unknown type {kind}")
        return struct.unpack(f"<{count}{code}", self._take(count * struct.calcsize("<" + code)))

    def _strings(self, count: int) -> tuple[str, ...]:
        """Read consecutive strings; one tight loop, for vocabularies have a hundred thousand of them."""
        data, at, end = self._data, self._at, len(self._data)
        unpack: Callable[[mmap.mmap, int], tuple[int]] = struct.Struct("<Q").unpack_from
        texts: list[str] = []
        try:
            for _ in range(count):
                start = at + 8
                at = start + unpack(data, at)[0]
                if at > end:
                    self.corrupt(f"a string of {at - start} bytes with {end - start} left")
                texts.append(data[start:at].decode())
        except struct.error:
            self.corrupt("it ends inside a string")
        except UnicodeDecodeError:
            self.corrupt("a string is not UTF-8")
        self._at = at
        return tuple(texts)

    def _take(self, num_bytes: int) -> bytes:
        if num_bytes > self.left:
            self.corrupt(f"it ends {num_bytes - self.left} bytes too early")
        start, self._at = self._at, self._at + num_bytes
        return self._data[start : self._at]


def _read_metadata(header: _Header, count: int) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for _ in range(count):
        key = header.text()
        if key in metadata:
            header.corrupt(f"metadata '{key}' twice")
        metadata[key] = header.value(header.number("I"))
    return metadata


def _read_tensors(header: _Header, count: int, metadata: Mapping[str, Value]) -> dict[str, TensorInfo]:
    entries = [_read_tensor(header) for _ in range(count)]
    alignment = _alignment(header, metadata)
    padding = -header.at % alignment
    base, size = header.at + padding, header.left - padding
    tensors: dict[str, TensorInfo] = {}
    for entry in entries:
        if entry.name in tensors:
            header.corrupt(f"tensor '{entry.name}' twice")
        if entry.offset % alignment or entry.offset + entry.num_bytes > size:
            header.corrupt(f"tensor '{entry.name}' lies outside the file, or across its alignment")
        tensors[entry.name] = TensorInfo(
            entry.name, entry.shape, entry.type, base + entry.offset, entry.num_bytes
        )
    return tensors


def _read_tensor(header: _Header) -> TensorInfo:
    """Read one entry of the directory; its offset still counts from the start of the data."""
    name = header.text()
    num_dimensions = header.number("I")
    if not 1 <= num_dimensions <= _MAX_DIMENSIONS:
        header.corrupt(f"tensor '{name}' has {num_dimensions} dimensions")
    shape = tuple(header.number("Q") for _ in range(num_dimensions))[::-1]
    kind = _tensor_type(header, name, header.number("I"))
    if 0 in shape or shape[-1] % kind.block_size:
        header.corrupt(f"tensor '{name}' of type {kind.name} has shape {list(shape)}")
    num_bytes = math.prod(shape) // kind.block_size * kind.block_bytes
    return TensorInfo(name, shape, kind, header.number("Q"), num_bytes)


def _tensor_type(header: _Header, name: str, number: int) -> TensorType:
    if number in TensorType.__members__.values():
        return TensorType(number)
    named = OTHER_TYPES.get(number, f"number {number}")
    supported = ", ".join(kind.name for kind in TensorType)
    header.unsupported(f"tensor '{name}' is of type {named}; supported: {supported}")


def _alignment(header: _Header, metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or isinstance(alignment, bool) or alignment <= 0 or alignment % 8:
        header.corrupt(f"alignment of {alignment!r}")
    return alignment
