"""The shape of a model and what a part of it weighs.

Owns the arithmetic of bytes that planning rests on; the stage that holds the weights is tested against
it. Must not know files or tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh.types import Digest, ModelRef, Precision, Span

INT4_GROUP = 32
"""Weights that share one scale and one zero."""

CACHE_PAGE = 64
"""Positions by which a session's cache is allotted."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Shape of a network of the Llama kind."""

    name: str
    digest: Digest
    architecture: str
    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    context_length: int
    rope_base: float
    rms_norm_eps: float
    tied_embeddings: bool

    @property
    def ref(self) -> ModelRef:
        """Name and digest, as nodes announce them."""
        return ModelRef(self.name, self.digest)

    @property
    def whole(self) -> Span:
        """All layers."""
        return Span(0, self.num_layers)

    def is_first(self, span: Span) -> bool:
        """Whether the span's stage embeds tokens."""
        return span.start == 0

    def is_last(self, span: Span) -> bool:
        """Whether the span's stage has the final norm and the output head."""
        return span.end == self.num_layers

    def layer_bytes(self, precision: Precision) -> int:
        """Bytes of one layer's weights in memory."""
        q_size, kv_size = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        linear = self.hidden_size * (2 * q_size + 2 * kv_size + 3 * self.intermediate_size)
        norms = 2 * self.hidden_size
        if precision is Precision.F32:
            return 4 * (linear + norms)
        return linear // 2 + 2 * 2 * linear // INT4_GROUP + 2 * norms

    def row_bytes(self, precision: Precision) -> int:
        """Bytes of one position's hidden state as it goes from stage to stage."""
        return self.hidden_size * (4 if precision is Precision.F32 else 2)

    def table_bytes(self, precision: Precision) -> int:
        """Bytes of the embedding table, or of the output head: int8 with a bf16 scale a row, or float32."""
        if precision is Precision.F32:
            return 4 * self.vocab_size * self.hidden_size
        return self.vocab_size * (self.hidden_size + 2)

    def ends_bytes(self, precision: Precision, *, first: bool, last: bool) -> int:
        """Bytes beside the layers: the embedding on the first stage, final norm and head on the last.

        A stage that is both and whose embeddings are tied holds the table once.
        """
        final_norm = self.hidden_size * (4 if precision is Precision.F32 else 2)
        shared = first and last and self.tied_embeddings
        tables = 1 if shared else int(first) + int(last)
        return tables * self.table_bytes(precision) + (final_norm if last else 0)

    def weights_bytes(self, span: Span, precision: Precision) -> int:
        """Bytes of a stage's weights in memory."""
        ends = self.ends_bytes(precision, first=self.is_first(span), last=self.is_last(span))
        return span.num_layers * self.layer_bytes(precision) + ends

    def layer_cache_bytes(self, context: int, precision: Precision) -> int:
        """Bytes of one layer's keys and values for a session of `context` positions, in whole pages."""
        positions = -(-context // CACHE_PAGE) * CACHE_PAGE
        element = 4 if precision is Precision.F32 else 2
        return 2 * positions * self.num_kv_heads * self.head_dim * element

    def cache_bytes(self, span: Span, context: int, precision: Precision) -> int:
        """Bytes of a stage's keys and values for one session."""
        return span.num_layers * self.layer_cache_bytes(context, precision)
