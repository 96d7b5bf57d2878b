"""Memory-mapped reader of one safetensors file.

Owns the container: header, directory of tensors, and views of their bytes. Must not know what a tensor is
for, nor torch. Nothing in the file is believed before it is checked against the file's size. The library of
that name gives bf16 to torch alone, so it is not used.

Source: https://github.com/huggingface/safetensors (README, "Format").
"""

from __future__ import annotations

import json
import math
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeGuard

import numpy as np

from mesh.errors import ModelCorrupt, UnsupportedModel
from mesh.model.blocks import Bytes
from mesh.model.mapped import map_file
from mesh.model.tensors import TensorInfo, TensorType

_TYPES = {"F32": TensorType.F32, "F16": TensorType.F16, "BF16": TensorType.BF16}
_MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""


@dataclass(frozen=True, slots=True)
class SafetensorsFile:
    """One open file; made by `open`. Views that `raw` gave stay valid after it is gone."""

    path: Path
    tensors: dict[str, TensorInfo]
    """By the names in the file."""
    _data: Bytes

    @classmethod
    def open(cls, path: Path) -> SafetensorsFile:
        """Map a file and read its directory.

        Raises ModelNotPulled when there is no such file, ModelCorrupt when it is not a whole safetensors
        file, UnsupportedModel naming a tensor of a type that is not read.
        """
        data = map_file(path)
        base, header = _read_header(path, data)
        entries = sorted((name, entry) for name, entry in header.items() if name != "__metadata__")
        tensors = {name: _read_entry(path, (name, entry), base, len(data)) for name, entry in entries}
        return cls(path, tensors, np.frombuffer(data, np.uint8))

    def raw(self, name: str) -> Bytes:
        """Return a read-only view of the bytes of a tensor in `tensors`."""
        info = self.tensors[name]
        return self._data[info.offset : info.offset + info.num_bytes]


def _read_header(path: Path, data: mmap.mmap) -> tuple[int, dict[str, object]]:
    """Return where the tensors' bytes begin, and the directory."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, _MAX_HEADER_BYTES):
        _corrupt(path, f"a header of {length} bytes with {max(0, len(data) - 8)} left")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        _corrupt(path, "its header is no JSON")
    if not isinstance(header, dict):
        _corrupt(path, "its header is no JSON object")
    return 8 + length, header


def _read_entry(path: Path, named: tuple[str, object], base: int, end: int) -> TensorInfo:
    name, entry = named
    if not isinstance(entry, dict):
        _corrupt(path, f"tensor '{name}' is not described")
    kind, shape = _type_of(path, name, entry.get("dtype")), entry.get("shape")
    offsets = entry.get("data_offsets")
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        _corrupt(path, f"tensor '{name}' has no shape, or no place")
    num_bytes = math.prod(shape) * kind.block_bytes
    if offsets[0] + num_bytes != offsets[1]:
        _corrupt(path, f"tensor '{name}' of shape {shape} takes {offsets[1] - offsets[0]} bytes")
    if base + offsets[1] > end:
        _corrupt(path, f"it ends before tensor '{name}' does")
    return TensorInfo(name, tuple(shape), kind, base + offsets[0], num_bytes)


def _type_of(path: Path, name: str, named: object) -> TensorType:
    kind = _TYPES.get(named) if isinstance(named, str) else None
    if kind is None:
        supported = ", ".join(_TYPES)
        raise UnsupportedModel(
            f"{path} cannot be run: tensor '{name}' is of type {named!s:.20}; supported: {supported}"
        )
    return kind


def _are_counts(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 1 << 63 for size in value)


def _corrupt(path: Path, what: str) -> NoReturn:
    raise ModelCorrupt(f"{path} is not a whole safetensors file: {what}; pull the model again")
