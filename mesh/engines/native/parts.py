"""The weights of one layer, or of one end of the network, as the kernels read them.

Owns which tensors a part is made of, and how they are joined: matrices that take the same rows are one
product. Must not know where packed parts are kept; that is `mesh.engines.native.packs`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mesh.engines.native.packing import Packed, pack_int4, pack_int8
from mesh.model.checkpoint import Checkpoint
from mesh.model.families import MTP, LayerNames
from mesh.model.quant import Floats
from mesh.model.reading import Reader
from mesh.spec import ModelSpec
from mesh.types import Precision

Part = Mapping[str, NDArray[np.generic]]
"""Arrays by name: norms and biases float32, matrices as packed blocks (uint8)."""


def read_layer(file: Checkpoint, spec: ModelSpec, names: LayerNames, precision: Precision) -> Part:
    """Read and pack one layer; raise ModelCorrupt naming a tensor with a weight that is no number."""
    packer = _Packer(file, spec, precision)
    part: dict[str, NDArray[np.generic]] = {
        "attention_norm": packer.floats(names.attention_norm),
        "feed_forward_norm": packer.floats(names.feed_forward_norm),
        "query_key_value": packer.matrix(names.query, names.key, names.value),
        "attention_output": packer.matrix(names.attention_output),
        "gate_up": packer.matrix(names.gate, names.up),
        "down": packer.matrix(names.down),
    }
    if spec.attention_bias:
        part["bias"] = packer.floats(names.query_bias, names.key_bias, names.value_bias)
    if spec.head_norm:
        part["query_norm"] = packer.floats(names.query_norm)
        part["key_norm"] = packer.floats(names.key_norm)
    return part


def read_joining(file: Checkpoint, spec: ModelSpec, precision: Precision) -> Part:
    """Read and pack what joins a hidden state with an embedding for multi-token prediction.

    The matrix [hidden, 2 * hidden] as one half for each, with the norm before it.
    """
    packer = _Packer(file, spec, precision)
    hidden_half, token_half = packer.halves(MTP.joining)
    return {
        "hidden_norm": packer.floats(MTP.hidden_norm),
        "hidden_half": hidden_half,
        "token_norm": packer.floats(MTP.token_norm),
        "token_half": token_half,
    }


def read_table(file: Checkpoint, spec: ModelSpec, name: str) -> Part:
    """Read and pack the embedding or the head, in 8 bits."""
    return {"table": _Packer(file, spec, Precision.INT8).matrix(name)}


def read_norm(file: Checkpoint, spec: ModelSpec, name: str) -> Part:
    """Read a norm before the head."""
    return {"norm": _Packer(file, spec, Precision.INT8).floats(name)}


class _Packer:
    """Reads the tensors of one file and packs them in one precision."""

    def __init__(self, file: Checkpoint, spec: ModelSpec, precision: Precision) -> None:
        self._reader = Reader(file, spec, scales_in_half=True)
        self._precision = precision

    def floats(self, *names: str) -> Floats:
        """Read vectors one behind the other."""
        return np.ascontiguousarray(np.concatenate([self._reader.floats(name) for name in names]))

    def matrix(self, *names: str) -> NDArray[np.uint8]:
        """Read matrices one below the other, packed; each has a multiple of 16 rows, or is alone."""
        return np.concatenate([self._packed(name).blocks for name in names])

    def halves(self, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Read a matrix, its left and its right columns packed apart."""
        if self._precision is Precision.INT4:
            left, right = (pack_int4(half) for half in self._reader.int4(name).halves)
        else:
            left, right = (pack_int8(half) for half in self._reader.int8(name).halves)
        return left.blocks, right.blocks

    def _packed(self, name: str) -> Packed:
        if self._precision is Precision.INT4:
            return pack_int4(self._reader.int4(name))
        return pack_int8(self._reader.int8(name))
