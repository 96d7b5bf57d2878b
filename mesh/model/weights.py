"""From a model's file to the weights of one span.

Owns reading and rearranging; reads only the span's tensors. Must not know how they are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mesh.errors import ModelCorrupt
from mesh.model.checkpoint import Checkpoint
from mesh.model.families import EMBEDDING, FINAL_NORM, LayerNames, check_tensors, head_name
from mesh.model.layers import HeadNorms, Heads, Layer, Norm
from mesh.model.linear import Int4Linear, Int8Table, Linear, PlainLinear, PlainTable, Table
from mesh.model.placement import Form, Placement
from mesh.model.quant import (
    Floats,
    Groups,
    Int8Groups,
    dequantise,
    stack_groups,
    stack_int8_groups,
    to_groups,
    to_int8_groups,
)
from mesh.model.spread import Int4Matrix, Int8Matrix, SpreadLinear, SpreadTable, to_float16
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


def load_weights(
    file: Checkpoint, spec: ModelSpec, span: Span, precision: Precision, placement: Placement
) -> Weights:
    """Read a span's weights; raise ModelCorrupt naming a tensor that is missing, misshapen or not finite."""
    check_tensors(file, spec, span)
    reader = _Reader(file, spec, precision, placement)
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
    """Reads the tensors of one file into one precision, and brings them to where they will live."""

    def __init__(self, file: Checkpoint, spec: ModelSpec, precision: Precision, placement: Placement) -> None:
        self._file = file
        self._spec = spec
        self._precision = precision
        self._placement = placement
        self._interleaved = file.interleaved_rotary

    def layer(self, index: int) -> Layer:
        """Read one layer; matrices that take the same rows are stacked into one product."""
        spec, names = self._spec, LayerNames(index)
        return Layer(
            heads=Heads(spec.num_heads, spec.num_kv_heads, spec.head_dim),
            attention_norm=self.norm(names.attention_norm),
            query_key_value=self._linear(names.query, names.key, names.value),
            bias=self._bias(names) if spec.attention_bias else None,
            head_norms=self._head_norms(names) if spec.head_norm else None,
            attention_output=self._linear(names.attention_output),
            feed_forward_norm=self.norm(names.feed_forward_norm),
            gate_up=self._linear(names.gate, names.up),
            down=self._linear(names.down),
        )

    def norm(self, name: str) -> Norm:
        """Read a norm's weight."""
        return Norm(self._vector(name), self._spec.rms_norm_eps)

    def table(self, name: str) -> Table:
        """Read the embedding or the head."""
        match self._precision:
            case Precision.INT4 if self._placement.form is Form.PROCESSOR:
                return Int8Table(self._floats(name))
            case Precision.INT4 | Precision.INT8:
                return SpreadTable(Int8Matrix(self._int8(name), self._placement))
            case Precision.BF16 | Precision.F32:
                return PlainTable(self._plain(name))

    def _linear(self, *names: str) -> Linear:
        """Read matrices that take the same rows as one product."""
        match self._precision:
            case Precision.INT4:
                return self._int4_linear(stack_groups([self._int4(name) for name in names]))
            case Precision.INT8:
                groups = stack_int8_groups([self._int8(name) for name in names])
                return SpreadLinear(Int8Matrix(groups, self._placement))
            case Precision.BF16 | Precision.F32:
                return PlainLinear(torch.cat([self._plain(name) for name in names]))

    def _int4_linear(self, groups: Groups) -> Linear:
        match self._placement.form:
            case Form.PROCESSOR:
                return Int4Linear(groups)
            case Form.ANYWHERE:
                return SpreadLinear(Int4Matrix(groups, self._placement))

    def _bias(self, names: LayerNames) -> Tensor:
        biases = (names.query_bias, names.key_bias, names.value_bias)
        return torch.cat([self._vector(name) for name in biases])

    def _head_norms(self, names: LayerNames) -> HeadNorms:
        return HeadNorms(self.norm(names.query_norm), self.norm(names.key_norm))

    def _vector(self, name: str) -> Tensor:
        return self._placed(self._floats(name))

    def _plain(self, name: str) -> Tensor:
        """Read a matrix in the type of the hidden states."""
        return self._placed(self._floats(name)[self._rows(name)])

    def _placed(self, weights: Floats) -> Tensor:
        """Bring weights to their device in the type of the hidden states."""
        placement = self._placement
        return torch.from_numpy(weights).to(placement.activation_type(self._precision)).to(placement.device)

    def _floats(self, name: str) -> Floats:
        info = self._file.tensors[name]
        weights = dequantise(self._file.raw(name), info.type, info.shape)
        self._check(name, weights)
        return weights

    def _int4(self, name: str) -> Groups:
        info, rows = self._file.tensors[name], self._rows(name)
        groups = to_groups(self._file.raw(name), info.type, info.shape)
        self._check(name, *self._kept(groups.scale, groups.minimum))
        return Groups(groups.quants[rows], groups.scale[rows], groups.minimum[rows])

    def _int8(self, name: str) -> Int8Groups:
        info, rows = self._file.tensors[name], self._rows(name)
        groups = to_int8_groups(self._file.raw(name), info.type, info.shape)
        self._check(name, groups.scale)
        return Int8Groups(groups.quants[rows], groups.scale[rows])

    def _kept(self, *numbers: Floats) -> Sequence[NDArray[np.floating]]:
        """Return scales and minima as the placement's form will hold them."""
        narrow = self._placement.form is Form.ANYWHERE
        return [to_float16(part) for part in numbers] if narrow else numbers

    def _check(self, name: str, *numbers: NDArray[np.floating]) -> None:
        """Raise ModelCorrupt where a number is none, or infinite."""
        if not all(np.isfinite(part).all() for part in numbers):
            own = self._file.spell(name)
            raise ModelCorrupt(
                f"{self._file.path} has weights in '{own}' that are no numbers; pull the model again"
            )

    def _rows(self, name: str) -> NDArray[np.intp] | slice:
        """Return the order that brings rows to the half-split rotary form."""
        turned = name.endswith(("attn_q.weight", "attn_k.weight"))
        if not (turned and self._interleaved):
            return slice(None)
        num_rows, head_dim = self._file.tensors[name].shape[0], self._spec.head_dim
        order = np.arange(num_rows).reshape(-1, head_dim // 2, 2)  # [heads, pairs, 2]
        return order.transpose(0, 2, 1).reshape(-1)
