"""Memory-mapped reader of GGUF files.

Owns the container: header, metadata, directory of tensors, and views of their bytes. Must not know what
a tensor is for, nor torch. Nothing in the file is believed before it is checked against the file's size,
so a hostile header can neither allocate nor read out of bounds.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little endian).
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import NoReturn, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mesh.errors import ModelCorrupt, ModelNotPulled, UnsupportedModel

Value: TypeAlias = "bool | int | float | str | tuple[Value, ...]"
"""One entry of the metadata; an array is a tuple."""

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_DIMENSIONS = 4
_MAX_NESTING = 4
_MIN_ENTRY_BYTES = 8 + 4 + 1
_MIN_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8
_DEFAULT_ALIGNMENT = 32

_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class TensorType(IntEnum):
    """Formats of tensors that this engine reads, by their number in the file."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q8_0 = 8
    BF16 = 30

    @property
    def block_size(self) -> int:
        """Weights that are stored together."""
        return _BLOCKS[self][0]

    @property
    def block_bytes(self) -> int:
        """Bytes of one block."""
        return _BLOCKS[self][1]


_BLOCKS = {
    TensorType.F32: (1, 4),
    TensorType.F16: (1, 2),
    TensorType.BF16: (1, 2),
    TensorType.Q4_0: (32, 2 + 16),
    TensorType.Q4_1: (32, 2 + 2 + 16),
    TensorType.Q8_0: (32, 2 + 32),
}

_OTHER_TYPES = {
    6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K",
    16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S",
    23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0",
    35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies in its file."""

    name: str
    shape: tuple[int, ...]
    """In torch's order: [out, in] for a matrix."""
    type: TensorType
    offset: int
    """Bytes from the start of the file."""
    num_bytes: int


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
        data = _map(path)
        header = _Header(path, data)
        num_tensors, num_entries = header.preamble()
        metadata = _read_metadata(header, num_entries)
        tensors = _read_tensors(header, num_tensors, metadata)
        return cls(path, np.frombuffer(data, np.uint8), metadata, tensors)

    def raw(self, name: str) -> NDArray[np.uint8]:
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


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise ModelNotPulled(f"there is no model file at {path}; pull the model first") from None
    except ValueError:
        raise ModelCorrupt(f"{path} is empty; pull the model again") from None
    except OSError as error:
        raise ModelCorrupt(f"{path} cannot be read: {error.strerror}") from error


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
    named = _OTHER_TYPES.get(number, f"number {number}")
    supported = ", ".join(kind.name for kind in TensorType)
    header.unsupported(f"tensor '{name}' is of type {named}; supported: {supported}")


def _alignment(header: _Header, metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or isinstance(alignment, bool) or alignment <= 0 or alignment % 8:
        header.corrupt(f"alignment of {alignment!r}")
    return alignment
