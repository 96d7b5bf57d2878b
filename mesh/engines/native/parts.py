"""The weights of one layer, or of one end of the network, as the kernels read them.

Owns which tensors a part is made of, and how they are joined: matrices that take the same rows are one
product. Must not know where packed parts are kept; that is `mesh.engines.native.packs`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mesh.engines.native.packing import Packed, pack_int4, pack_int8
from mesh.errors import ModelCorrupt
from mesh.model.checkpoint import Checkpoint
from mesh.model.families import LayerNames
from mesh.model.quant import Floats, Groups, Int8Groups, dequantise, to_groups, to_int8_groups
from mesh.spec import ModelSpec
from mesh.types import Precision

Part = Mapping[str, NDArray[np.generic]]
"""Arrays by name: norms and biases float32, matrices as packed blocks (uint8)."""

_LARGEST = 65504.0  # of float16


def read_layer(file: Checkpoint, spec: ModelSpec, index: int, precision: Precision) -> Part:
    """Read and pack one layer; raise ModelCorrupt naming a tensor with a weight that is no number."""
    reader, names = _Reader(file, spec, precision), LayerNames(index)
    part: dict[str, NDArray[np.generic]] = {
        "attention_norm": reader.floats(names.attention_norm),
        "feed_forward_norm": reader.floats(names.feed_forward_norm),
        "query_key_value": reader.matrix(names.query, names.key, names.value),
        "attention_output": reader.matrix(names.attention_output),
        "gate_up": reader.matrix(names.gate, names.up),
        "down": reader.matrix(names.down),
    }
    if spec.attention_bias:
        part["bias"] = reader.floats(names.query_bias, names.key_bias, names.value_bias)
    if spec.head_norm:
        part["query_norm"] = reader.floats(names.query_norm)
        part["key_norm"] = reader.floats(names.key_norm)
    return part


def read_table(file: Checkpoint, spec: ModelSpec, name: str) -> Part:
    """Read and pack the embedding or the head, in 8 bits."""
    return {"table": _Reader(file, spec, Precision.INT8).matrix(name)}


def read_norm(file: Checkpoint, spec: ModelSpec, name: str) -> Part:
    """Read the norm before the head."""
    return {"norm": _Reader(file, spec, Precision.INT8).floats(name)}


class _Reader:
    def __init__(self, file: Checkpoint, spec: ModelSpec, precision: Precision) -> None:
        self._file = file
        self._spec = spec
        self._precision = precision
        self._interleaved = file.interleaved_rotary

    def floats(self, *names: str) -> Floats:
        """Read vectors one behind the other."""
        return np.ascontiguousarray(np.concatenate([self._vector(name) for name in names]))

    def matrix(self, *names: str) -> NDArray[np.uint8]:
        """Read matrices one below the other, packed; each has a multiple of 16 rows, or is alone."""
        pack = self._int4 if self._precision is Precision.INT4 else self._int8
        return np.concatenate([pack(name).blocks for name in names])

    def _vector(self, name: str) -> Floats:
        info = self._file.tensors[name]
        values = dequantise(self._file.raw(name), info.type, info.shape)[self._rows(name)]
        self._check(name, values)
        return values.astype(np.float32, copy=False)

    def _int4(self, name: str) -> Packed:
        info, rows = self._file.tensors[name], self._rows(name)
        groups = to_groups(self._file.raw(name), info.type, info.shape)
        self._check(name, groups.scale, groups.minimum)
        return pack_int4(Groups(groups.quants[rows], groups.scale[rows], groups.minimum[rows]))

    def _int8(self, name: str) -> Packed:
        info, rows = self._file.tensors[name], self._rows(name)
        groups = to_int8_groups(self._file.raw(name), info.type, info.shape)
        self._check(name, groups.scale)
        return pack_int8(Int8Groups(groups.quants[rows], groups.scale[rows]))

    def _rows(self, name: str) -> NDArray[np.intp] | slice:
        """Return the order that brings rows to the half-split rotary form."""
        if not (self._interleaved and name.endswith(("attn_q.weight", "attn_k.weight"))):
            return slice(None)
        num_rows, head_dim = self._file.tensors[name].shape[0], self._spec.head_dim
        order = np.arange(num_rows).reshape(-1, head_dim // 2, 2)  # [heads, pairs, 2]
        return order.transpose(0, 2, 1).reshape(-1)

    def _check(self, name: str, *numbers: Floats) -> None:
        """Raise ModelCorrupt where a number is none, or is beyond float16."""
        if not all(np.isfinite(part).all() and (np.abs(part) < _LARGEST).all() for part in numbers):
            spelled = self._file.spell(name)
            text = f"{self._file.path} has weights in '{spelled}' that are no numbers; pull the model again"
            raise ModelCorrupt(text)
