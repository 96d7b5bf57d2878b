"""A stage: a span's weights in memory, and the running of frames through them.

Owns the checks at the stage's edge and the order of embedding, layers, norm and head. Must not know
sessions, sampling or who sends the frames. All calls compute at once, on the calling thread. Rows come in
and go out on the processor, in the type that travels; in between they are where the stage lives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mesh.errors import NotFinite, ShapeMismatch
from mesh.model.attention import Rotary, blocks, joined
from mesh.model.checkpoint import open_checkpoint
from mesh.model.edges import DAMAGED, check_context, check_ids, not_finite
from mesh.model.kv_cache import KvCache
from mesh.model.layers import Batch, Frame
from mesh.model.placement import ON_PROCESSOR, Form, Placement, row_type
from mesh.model.weights import Weights, load_weights
from mesh.spec import ModelSpec
from mesh.types import Precision, Span

_TOO_LARGE = "they may be beyond 65,504, where this device's float16 ends: use --engine auto"


@dataclass(frozen=True, slots=True)
class Run:
    """One session's frame: token ids [tokens] or hidden states [tokens, hidden] from a position on."""

    rows: Tensor
    start: int
    cache: KvCache


class Stage:
    """One span of a model, ready to compute; made by `Stage.load`.

    In int4 and the form PROCESSOR a position's results have the same bits however its prompt was cut into
    frames and whoever else is in the batch, on machines of one instruction set and with one thread. Otherwise
    the last bits may differ: on a graphics card the same frames in the same batches give the same bits on the
    same device with the same torch, and other cuts, batches and devices almost the same numbers.
    """

    def __init__(
        self, spec: ModelSpec, span: Span, precision: Precision, weights: Weights, placement: Placement
    ) -> None:
        self.spec = spec
        self.span = span
        self.precision = precision
        self.row_type = row_type(precision)
        """Type of hidden states between stages."""
        self.placement = placement
        """Where it lives."""
        self.weights = weights
        self._dtype = placement.activation_type(precision)
        self._rotary = Rotary(spec, self._dtype, placement.device)

    @classmethod
    def load(
        cls,
        path: Path,
        spec: ModelSpec,
        span: Span,
        precision: Precision,
        placement: Placement = ON_PROCESSOR,
    ) -> Stage:
        """Read a span's tensors, and no others, from a file or folder.

        Raises ModelNotPulled, ModelCorrupt naming the tensor, or UnsupportedModel.
        """
        if span.end > spec.num_layers:
            raise ShapeMismatch(f"span {span} reaches beyond the {spec.num_layers} layers of {spec.name}")
        with open_checkpoint(path) as file, torch.inference_mode():
            weights = load_weights(file, spec, span, precision, placement)
            return cls(spec, span, precision, weights, placement)

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights in memory."""
        return self.weights.num_bytes

    @property
    def batches(self) -> bool:
        """Whether frames of several sessions go through the products together.

        On the processor only int4 gives a row the same bits beside others. On a card a batch may change the
        last bits, as everything does there, and its rows share the spreading of the matrices.
        """
        return self.placement.form is Form.ANYWHERE or self.precision is Precision.INT4

    def new_cache(self, context: int) -> KvCache:
        """Allot the keys and values of a session; raise ContextExceeded beyond what the model knows."""
        check_context(self.spec, context)
        self._rotary.reserve(context)
        with torch.inference_mode():
            return KvCache(self.spec, self.span, self.precision, context, self.placement)

    def begin(self, run: Run) -> None:
        """Check a frame, and cut its cache back to where it starts.

        `rows` are token ids [tokens] int64 on the first stage, else hidden states [tokens, hidden] of
        `row_type`. Raises ShapeMismatch, PositionGap or ContextExceeded, and leaves the cache as it was.
        """
        self._check_rows(run.rows)
        run.cache.begin(run.start, run.rows.shape[0])

    def forward(self, rows: Tensor, start: int, cache: KvCache) -> Tensor:
        """Compute a frame; return hidden states [tokens, hidden] of `row_type` before the final norm.

        Raises what `begin` raises, and NotFinite; the cache then ends where the frame starts.
        """
        run = Run(rows, start, cache)
        self.begin(run)
        (result,) = self.compute([run])
        if isinstance(result, NotFinite):
            raise result
        return result

    def compute(self, runs: Sequence[Run]) -> list[Tensor | NotFinite]:
        """Compute frames of different sessions that have begun; return each one's hidden states.

        [tokens, hidden] of `row_type`, on the processor. A frame whose numbers are none gets NotFinite that
        names the layer; its cache ends where it starts, and the others are unharmed.
        """
        if self.batches:
            return self._together(runs)
        return [result for run in runs for result in self._together([run])]

    def logits(self, hidden: Tensor) -> Tensor:
        """Score hidden states [tokens, hidden] of the last layer: [tokens, vocab] float32 on the processor.

        Raises ShapeMismatch for a wrong size, or on a stage that is not the last.
        """
        self._check_hidden(hidden)
        norm, head = self.weights.final_norm, self.weights.head
        if norm is None or head is None:
            raise ShapeMismatch(f"span {self.span} has no output head; only the last stage of a model has")
        with torch.inference_mode():
            return head.logits(norm(self.entered(hidden))).cpu()

    def scores(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """Score one row [1, hidden] of each of several sessions: [vocab] float32 each, as `logits` does."""
        if self.batches:
            return list(self.logits(joined(rows)))
        return [self.logits(row)[0] for row in rows]

    def _together(self, runs: Sequence[Run]) -> list[Tensor | NotFinite]:
        with torch.inference_mode():
            for hidden in self._layer_by_layer(runs):
                last = hidden
            parts = torch.split(self.left(last), [len(run.rows) for run in runs])
            return [self._finished(run, part) for run, part in zip(runs, parts, strict=True)]

    def _finished(self, run: Run, hidden: Tensor) -> Tensor | NotFinite:
        # Numbers that are none stay so to the last layer, so looking at that one is enough.
        if hidden.isfinite().all():
            run.cache.finish(len(hidden))
            return hidden
        error = self._not_finite(run)
        run.cache.wipe(len(hidden))
        return error

    def _not_finite(self, run: Run) -> NotFinite:
        """Find the layer by computing the frame again."""
        states = enumerate(self._layer_by_layer([run]), self.span.start)
        bad = [index for index, hidden in states if not hidden.isfinite().all()]
        advice = DAMAGED if self._dtype != torch.float16 else _TOO_LARGE
        return not_finite(self.spec, min(bad, default=self.span.end - 1), run.start, advice)

    def _layer_by_layer(self, runs: Sequence[Run]) -> Iterator[Tensor]:
        """Yield the hidden states of all rows [tokens, hidden] after each layer, where the stage lives."""
        hidden = self.entered(joined([run.rows for run in runs]))
        batch = self._batch(runs)
        for index, layer in enumerate(self.weights.layers):
            hidden = layer(hidden, index, batch)
            yield hidden

    def _batch(self, runs: Sequence[Run]) -> Batch:
        group = self.spec.num_heads // self.spec.num_kv_heads
        frames, at = list[Frame](), 0
        for run in runs:
            end = at + len(run.rows)
            plan = blocks(run.start, end - at, group, self._dtype, self.placement)
            frames.append(Frame(slice(at, end), run.start, run.cache, plan))
            at = end
        turn = self._rotary.at([range(run.start, run.start + len(run.rows)) for run in runs])
        return Batch(turn, frames)

    def entered(self, rows: Tensor) -> Tensor:
        """Bring rows to where the stage lives, as hidden states."""
        device, table = self.placement.device, self.weights.embedding
        if rows.dtype == torch.int64 and table:
            return table.embed(rows.to(device))
        return rows.to(self._dtype).to(device)  # the device may not have the type that travels

    def left(self, hidden: Tensor) -> Tensor:
        """Bring hidden states to the processor, in the type that travels."""
        return hidden.cpu().to(self.row_type)

    def _check_rows(self, rows: Tensor) -> None:
        if not self.weights.embedding:
            self._check_hidden(rows)
            return
        if rows.ndim != 1 or rows.dtype != torch.int64 or rows.shape[0] == 0:
            raise ShapeMismatch(f"token ids of shape {list(rows.shape)} {rows.dtype}; wanted [tokens] int64")
        low, high = (int(edge) for edge in rows.aminmax())
        check_ids(self.spec, low, high)

    def _check_hidden(self, hidden: Tensor) -> None:
        size = self.spec.hidden_size
        good = hidden.ndim == 2 and hidden.shape[1] == size and hidden.shape[0] > 0
        if not good or hidden.dtype != self.row_type:
            raise ShapeMismatch(
                f"hidden states of shape {list(hidden.shape)} {hidden.dtype}; "
                f"wanted [tokens, {size}] {self.row_type}"
            )
