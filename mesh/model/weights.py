"""From a model's file to the weights of one span.

Owns reading and rearranging; reads only the span's tensors. Must not know how they are used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mesh.model.checkpoint import Checkpoint
from mesh.model.families import EMBEDDING, FINAL_NORM, MTP, LayerNames, check_tensors, head_name
from mesh.model.layers import HeadNorms, Heads, Layer, Norm
from mesh.model.linear import Int4Linear, Int8Table, Linear, PlainLinear, PlainTable, Table
from mesh.model.placement import Form, Placement
from mesh.model.quant import Groups, stack_groups, stack_int8_groups
from mesh.model.reading import Reader
from mesh.model.spread import Int4Matrix, Int8Matrix, SpreadLinear, SpreadTable
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
        norm = self.final_norm.num_bytes if self.final_norm else 0
        layers = sum(layer.num_bytes for layer in self.layers)
        return layers + sum(table.num_bytes for table in _tables(self)) + norm


@dataclass(frozen=True, slots=True)
class PredictionWeights:
    """What a last stage holds for multi-token prediction beside its own."""

    hidden_norm: Norm
    token_norm: Norm
    joining: Linear
    """[hidden, 2 * hidden]."""
    layer: Weights
    """One layer, its norm, and both ends, of which at least the head is the stage's."""
    num_bytes: int
    """Without what is the stage's."""


def load_weights(
    file: Checkpoint, spec: ModelSpec, span: Span, precision: Precision, placement: Placement
) -> Weights:
    """Read a span's weights; raise ModelCorrupt naming a tensor that is missing, misshapen or not finite."""
    check_tensors(file, spec, span)
    builder = _Builder(file, spec, precision, placement)
    first, last = spec.is_first(span), spec.is_last(span)
    embedding = builder.table(EMBEDDING) if first else None
    shared = embedding if spec.tied_embeddings else None
    return Weights(
        layers=tuple(builder.layer(LayerNames(index)) for index in range(span.start, span.end)),
        embedding=embedding,
        final_norm=builder.norm(FINAL_NORM) if last else None,
        head=(shared or builder.table(head_name(spec))) if last else None,
    )


def load_prediction(
    file: Checkpoint, spec: ModelSpec, precision: Precision, placement: Placement, ends: Weights
) -> PredictionWeights:
    """Read what a model predicts by, beside its last stage's weights `ends`; raises as `load_weights`."""
    builder = _Builder(file, spec, precision, placement)
    embedding = (ends.head if spec.tied_embeddings else ends.embedding) or builder.table(EMBEDDING)
    layer = Weights((builder.layer(MTP),), embedding, builder.norm(MTP.final_norm), ends.head)
    hidden_norm, token_norm = builder.norm(MTP.hidden_norm), builder.norm(MTP.token_norm)
    joining = builder.linear(MTP.joining)
    shared_bytes = sum(table.num_bytes for table in _tables(ends) if table in _tables(layer))
    around_bytes = sum(part.num_bytes for part in (hidden_norm, token_norm, joining))
    num_bytes = layer.num_bytes - shared_bytes + around_bytes
    return PredictionWeights(hidden_norm, token_norm, joining, layer, num_bytes)


def _tables(weights: Weights) -> list[Table]:
    """Embedding and head, once where they are the same."""
    return list({id(table): table for table in (weights.embedding, weights.head) if table}.values())


class _Builder:
    """Reads the tensors of one file into one precision, and brings them to where they will live."""

    def __init__(self, file: Checkpoint, spec: ModelSpec, precision: Precision, placement: Placement) -> None:
        self._spec = spec
        self._precision = precision
        self._placement = placement
        # What lies anywhere has scales in float16; torch's own int4 form has them in float32.
        self._reader = Reader(file, spec, scales_in_half=placement.form is Form.ANYWHERE)

    def layer(self, names: LayerNames) -> Layer:
        """Read one layer; matrices that take the same rows are stacked into one product."""
        spec = self._spec
        return Layer(
            heads=Heads(spec.num_heads, spec.num_kv_heads, spec.head_dim),
            attention_norm=self.norm(names.attention_norm),
            query_key_value=self.linear(names.query, names.key, names.value),
            bias=self._bias(names) if spec.attention_bias else None,
            head_norms=self._head_norms(names) if spec.head_norm else None,
            attention_output=self.linear(names.attention_output),
            feed_forward_norm=self.norm(names.feed_forward_norm),
            gate_up=self.linear(names.gate, names.up),
            down=self.linear(names.down),
        )

    def norm(self, name: str) -> Norm:
        """Read a norm's weight."""
        return Norm(self._floats(name), self._spec.rms_norm_eps)

    def table(self, name: str) -> Table:
        """Read the embedding or the head."""
        match self._precision:
            case Precision.INT4 if self._placement.form is Form.PROCESSOR:
                return Int8Table(self._reader.floats(name))
            case Precision.INT4 | Precision.INT8:
                return SpreadTable(Int8Matrix(self._reader.int8(name), self._placement))
            case Precision.BF16 | Precision.F32:
                return PlainTable(self._floats(name))

    def linear(self, *names: str) -> Linear:
        """Read matrices that take the same rows as one product."""
        match self._precision:
            case Precision.INT4:
                return self._int4_linear(stack_groups([self._reader.int4(name) for name in names]))
            case Precision.INT8:
                groups = stack_int8_groups([self._reader.int8(name) for name in names])
                return SpreadLinear(Int8Matrix(groups, self._placement))
            case Precision.BF16 | Precision.F32:
                return PlainLinear(torch.cat([self._floats(name) for name in names]))

    def _int4_linear(self, groups: Groups) -> Linear:
        match self._placement.form:
            case Form.PROCESSOR:
                return Int4Linear(groups)
            case Form.ANYWHERE:
                return SpreadLinear(Int4Matrix(groups, self._placement))

    def _bias(self, names: LayerNames) -> Tensor:
        biases = (names.query_bias, names.key_bias, names.value_bias)
        return torch.cat([self._floats(name) for name in biases])

    def _head_norms(self, names: LayerNames) -> HeadNorms:
        return HeadNorms(self.norm(names.query_norm), self.norm(names.key_norm))

    def _floats(self, name: str) -> Tensor:
        """Read a tensor, and bring it to its device in the type of the hidden states."""
        weights, placement = torch.from_numpy(self._reader.floats(name)), self._placement
        return weights.to(placement.activation_type(self._precision)).to(placement.device)
