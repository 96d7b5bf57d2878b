"""A stage: a span's weights in memory, and the running of frames through them.

Owns the checks at the stage's edge and the order of embedding, layers, norm and head. Must not know
sessions, sampling or who sends the frames. All calls compute at once, on the calling thread.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from mesh.errors import ContextExceeded, ShapeMismatch
from mesh.model.attention import Rotary, blocks
from mesh.model.gguf import GgufFile
from mesh.model.kv_cache import KvCache
from mesh.model.layers import Frame
from mesh.model.weights import Weights, activation_type, load_weights
from mesh.spec import ModelSpec
from mesh.types import Precision, Span


class Stage:
    """One span of a model, ready to compute; made by `Stage.load`.

    In int4 a position's results have the same bits however its prompt was cut into frames, on machines
    of one instruction set and with one thread.
    """

    def __init__(self, spec: ModelSpec, span: Span, precision: Precision, weights: Weights) -> None:
        self.spec = spec
        self.span = span
        self.precision = precision
        self._weights = weights
        self._dtype = activation_type(precision)
        self._rotary = Rotary(spec.head_dim, spec.rope_base, self._dtype)

    @classmethod
    def load(cls, path: Path, spec: ModelSpec, span: Span, precision: Precision) -> Stage:
        """Read a span's tensors, and no others, from a file.

        Raises ModelNotPulled, ModelCorrupt naming the tensor, or UnsupportedModel.
        """
        if span.end > spec.num_layers:
            raise ShapeMismatch(f"span {span} reaches beyond the {spec.num_layers} layers of {spec.name}")
        with GgufFile.open(path) as file, torch.inference_mode():
            return cls(spec, span, precision, load_weights(file, spec, span, precision))

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights in memory."""
        return self._weights.num_bytes

    def new_cache(self, context: int) -> KvCache:
        """Allot the keys and values of a session; raise ContextExceeded beyond what the model knows."""
        if context > self.spec.context_length:
            raise ContextExceeded(
                f"a context of {context} positions is beyond the {self.spec.context_length} "
                f"of {self.spec.name}; ask for less"
            )
        self._rotary.reserve(context)
        with torch.inference_mode():
            return KvCache(self.spec, self.span, self.precision, context)

    def forward(self, rows: Tensor, start: int, cache: KvCache) -> Tensor:
        """Compute a frame; return hidden states [tokens, hidden] before the final norm.

        `rows` are token ids [tokens] int64 on the first stage, else hidden states [tokens, hidden] of the
        stage's type (bf16 for int4). A cache longer than `start` is cut back to it. Raises ShapeMismatch,
        PositionGap or ContextExceeded, and leaves the cache as it was.
        """
        self._check_rows(rows)
        num_tokens = rows.shape[0]
        cache.begin(start, num_tokens)
        with torch.inference_mode():
            frame = self._frame(start, num_tokens)
            hidden = self._weights.embedding.embed(rows) if self._weights.embedding else rows
            for index, layer in enumerate(self._weights.layers):
                hidden = layer(hidden, cache.layer(index), frame)
        cache.finish(num_tokens)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Score hidden states [tokens, hidden] of the last layer: [tokens, vocab] float32.

        Raises ShapeMismatch for a wrong size, or on a stage that is not the last.
        """
        self._check_hidden(hidden)
        norm, head = self._weights.final_norm, self._weights.head
        if norm is None or head is None:
            raise ShapeMismatch(f"span {self.span} has no output head; only the last stage of a model has")
        with torch.inference_mode():
            return head.logits(norm(hidden))

    def _frame(self, start: int, num_tokens: int) -> Frame:
        group = self.spec.num_heads // self.spec.num_kv_heads
        plan = blocks(start, num_tokens, group, self._dtype)
        return Frame(start, self._rotary.at(start, num_tokens), plan)

    def _check_rows(self, rows: Tensor) -> None:
        if not self._weights.embedding:
            self._check_hidden(rows)
            return
        if rows.ndim != 1 or rows.dtype != torch.int64 or rows.shape[0] == 0:
            raise ShapeMismatch(f"token ids of shape {list(rows.shape)} {rows.dtype}; wanted [tokens] int64")
        low, high = (int(edge) for edge in rows.aminmax())
        if low < 0 or high >= self.spec.vocab_size:
            wrong = low if low < 0 else high
            raise ShapeMismatch(f"token id {wrong} is outside the vocabulary of {self.spec.vocab_size}")

    def _check_hidden(self, hidden: Tensor) -> None:
        size = self.spec.hidden_size
        good = hidden.ndim == 2 and hidden.shape[1] == size and hidden.shape[0] > 0
        if not good or hidden.dtype != self._dtype:
            raise ShapeMismatch(
                f"hidden states of shape {list(hidden.shape)} {hidden.dtype}; "
                f"wanted [tokens, {size}] {self._dtype}"
            )
