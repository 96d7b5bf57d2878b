"""From a model's file to the weights of one span.

Owns reading and rearranging; reads only the span's tensors. Must not know how they are used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mesh.model.families import EMBEDDING, FINAL_NORM, LayerNames, check_tensors, family_of, head_name
from mesh.model.gguf import GgufFile
from mesh.model.layers import Heads, Layer, Norm
from mesh.model.linear import F32Linear, F32Table, Int4Linear, Int8Table, Linear, Table, stack_groups
from mesh.model.quant import Floats, Groups, dequantise, to_groups
from mesh.spec import ModelSpec
from mesh.types import Precision, Span


@dataclass(frozen=True, slots=True)
class Weights:
    """What a stage holds: its layers, and the ends where it has them."""

    layers: tuple[Layer, ...]
    embedding: Table | None
    final_norm: Norm | None
    head: Table | None
    """The same object as the embedding where both are here and the model ties them."""

    @property
    def num_bytes(self) -> int:
        """Bytes of all weights, shared ones once."""
        tables = {id(table): table.num_bytes for table in (self.embedding, self.head) if table}
        norm = self.final_norm.num_bytes if self.final_norm else 0
        return sum(layer.num_bytes for layer in self.layers) + sum(tables.values()) + norm


def load_weights(file: GgufFile, spec: ModelSpec, span: Span, precision: Precision) -> Weights:
    """Read a span's weights; raise ModelCorrupt naming a tensor that is missing or misshapen."""
    check_tensors(file, spec, span)
    reader = _Reader(file, spec, precision)
    first, last = spec.is_first(span), spec.is_last(span)
    embedding = reader.table(EMBEDDING) if first else None
    shared = embedding if spec.tied_embeddings else None
    return Weights(
        layers=tuple(reader.layer(index) for index in range(span.start, span.end)),
        embedding=embedding,
        final_norm=reader.norm(FINAL_NORM) if last else None,
        head=(shared or reader.table(head_name(spec))) if last else None,
    )


class _Reader:
    """Reads the tensors of one file into one precision."""

    def __init__(self, file: GgufFile, spec: ModelSpec, precision: Precision) -> None:
        self._file = file
        self._spec = spec
        self._precision = precision
        self._interleaved = family_of(file).interleaved_rotary

    def layer(self, index: int) -> Layer:
        """Read one layer; matrices that take the same rows are stacked into one product."""
        spec, names = self._spec, LayerNames(index)
        return Layer(
            heads=Heads(spec.num_heads, spec.num_kv_heads, spec.head_dim),
            attention_norm=self.norm(names.attention_norm),
            query_key_value=self._linear(names.query, names.key, names.value),
            attention_output=self._linear(names.attention_output),
            feed_forward_norm=self.norm(names.feed_forward_norm),
            gate_up=self._linear(names.gate, names.up),
            down=self._linear(names.down),
        )

    def norm(self, name: str) -> Norm:
        """Read a norm's weight."""
        weight = torch.from_numpy(self._floats(name))
        dtype = activation_type(self._precision)
        return Norm(weight.to(dtype), self._spec.rms_norm_eps)

    def table(self, name: str) -> Table:
        """Read the embedding or the head."""
        weights = self._floats(name)
        return F32Table(weights) if self._precision is Precision.F32 else Int8Table(weights)

    def _linear(self, *names: str) -> Linear:
        if self._precision is Precision.F32:
            return F32Linear(np.concatenate([self._floats(name)[self._rows(name)] for name in names]))
        parts = [self._groups(name) for name in names]
        return Int4Linear(parts[0] if len(parts) == 1 else stack_groups(parts))

    def _floats(self, name: str) -> Floats:
        info = self._file.tensors[name]
        return dequantise(self._file.raw(name), info.type, info.shape)

    def _groups(self, name: str) -> Groups:
        info = self._file.tensors[name]
        groups, rows = to_groups(self._file.raw(name), info.type, info.shape), self._rows(name)
        return Groups(groups.quants[rows], groups.scale[rows], groups.minimum[rows])

    def _rows(self, name: str) -> NDArray[np.intp] | slice:
        """Return the order that brings rows to the half-split rotary form."""
        turned = name.endswith(("attn_q.weight", "attn_k.weight"))
        if not (turned and self._interleaved):
            return slice(None)
        num_rows, head_dim = self._file.tensors[name].shape[0], self._spec.head_dim
        order = np.arange(num_rows).reshape(-1, head_dim // 2, 2)  # [heads, pairs, 2]
        return order.transpose(0, 2, 1).reshape(-1)


def activation_type(precision: Precision) -> torch.dtype:
    """Type of hidden states, keys and values."""
    return torch.float32 if precision is Precision.F32 else torch.bfloat16
