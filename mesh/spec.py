"""The shape of a model and what a part of it weighs.

Owns the arithmetic of bytes that planning rests on; the stage that holds the weights is tested against
it. Must not know files or tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh.types import Digest, ModelRef, Precision, Span

INT4_GROUP = 32
"""Weights that share one scale (in 4 bits also one minimum); those in 8 bits go by groups of so many too."""

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
    attention_bias: bool = False
    """Whether q, k and v have a bias each."""
    head_norm: bool = False
    """Whether each head of q and k is normalised before its rotary turn."""
    rope_factors: tuple[float, ...] = ()
    """What the rotary frequencies are divided by, head_dim / 2 of them; empty where they are not scaled."""
    has_mtp: bool = False
    """Whether the last stage has a layer for multi-token prediction (MTP), which guesses what comes next."""
    no_mtp: str = ""
    """Why a model that was trained with such a layer runs without it; empty where there is nothing to say."""

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
        vectors = 2 * self.hidden_size
        vectors += (q_size + 2 * kv_size) * self.attention_bias + 2 * self.head_dim * self.head_norm
        return _matrix_bytes(linear, precision) + _VECTOR_BYTES[precision] * vectors

    def row_bytes(self, precision: Precision) -> int:
        """Bytes of one position's hidden state as it goes from stage to stage."""
        return self.hidden_size * (4 if precision is Precision.F32 else 2)

    def table_bytes(self, precision: Precision) -> int:
        """Bytes of the embedding table, or of the output head: int8 where the layers are int4."""
        kept = Precision.INT8 if precision is Precision.INT4 else precision
        return _matrix_bytes(self.vocab_size * self.hidden_size, kept)

    def ends_bytes(self, precision: Precision, *, first: bool, last: bool) -> int:
        """Bytes beside the layers: the embedding on the first stage, final norm and head on the last.

        With multi-token prediction the last has that layer too, and the embedding for it. A table that is
        both embedding and head is held once.
        """
        final_norm = self.hidden_size * _VECTOR_BYTES[precision]
        embeds = first or (last and self.has_mtp)
        tables = 1 if self.tied_embeddings and (first or last) else int(embeds) + int(last)
        of_last = (final_norm + self._mtp_bytes(precision)) if last else 0
        return tables * self.table_bytes(precision) + of_last

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
        ends = self.ends_cache_bytes(context, precision, last=self.is_last(span))
        return span.num_layers * self.layer_cache_bytes(context, precision) + ends

    def ends_cache_bytes(self, context: int, precision: Precision, *, last: bool) -> int:
        """Bytes of keys and values beside those of the layers: multi-token prediction has its own."""
        return self.layer_cache_bytes(context, precision) if last and self.has_mtp else 0

    def _mtp_bytes(self, precision: Precision) -> int:
        """A layer, the matrix that joins a hidden state with an embedding, and three norms."""
        if not self.has_mtp:
            return 0
        joining = _matrix_bytes(2 * self.hidden_size * self.hidden_size, precision)
        return self.layer_bytes(precision) + joining + 3 * self.hidden_size * _VECTOR_BYTES[precision]


_VECTOR_BYTES = {Precision.INT4: 4, Precision.INT8: 4, Precision.BF16: 2, Precision.F32: 4}
"""Of one number of a norm or bias."""


def _matrix_bytes(num_weights: int, precision: Precision) -> int:
    """Bytes of a matrix; float16 scales, and for 4 bits minima, for each group of INT4_GROUP."""
    match precision:
        case Precision.INT4:
            return num_weights // 2 + 2 * 2 * num_weights // INT4_GROUP
        case Precision.INT8:
            return num_weights + 2 * num_weights // INT4_GROUP
        case Precision.BF16:
            return 2 * num_weights
        case Precision.F32:
            return 4 * num_weights
