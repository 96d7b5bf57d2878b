"""From a model's file to a stage that is ready to compute.

Owns which parts a span has, and where each is kept once it is packed. Must not know how a part is read or
how it is computed with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mesh.engines.native.kernels import Kernels
from mesh.engines.native.packs import Packs
from mesh.engines.native.parts import Part, read_joining, read_layer, read_norm, read_table
from mesh.engines.native.prediction import Prediction
from mesh.engines.native.stage import Stage, Weights, num_bytes
from mesh.model.checkpoint import Checkpoint, open_checkpoint
from mesh.model.families import EMBEDDING, FINAL_NORM, MTP, LayerNames, check_tensors, head_name
from mesh.spec import ModelSpec
from mesh.types import Precision, Span, StageKey


@dataclass(frozen=True, slots=True)
class Loaded:
    """A span in memory."""

    stage: Stage
    prediction: Prediction | None
    """Where the span is the model's last, and the model has a layer for it."""
    weights_bytes: int
    """Of both, shared ones once."""


def load(kernels: Kernels, path: Path, spec: ModelSpec, key: StageKey) -> Loaded:
    """Read a span's parts, packed before or packed now.

    Raises ModelNotPulled, ModelCorrupt naming the tensor, or UnsupportedModel.
    """
    span, packs = key.span, Packs.beside(path, spec.digest, key.precision)
    with open_checkpoint(path) as file:
        check_tensors(file, spec, span)
        parts = _Parts(file, packs, spec, key.precision)
        weights = parts.of(span)
        stage = Stage(kernels, spec, span, weights)
        if not (spec.has_mtp and spec.is_last(span)):
            return Loaded(stage, None, stage.weights_bytes)
        joining, layer = parts.joining(), parts.prediction(weights)
    prediction = Prediction(Stage(kernels, spec, Span(0, 1), layer), joining)
    return Loaded(stage, prediction, num_bytes((*weights.parts, *layer.parts, joining)))


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of one model."""

    file: Checkpoint
    packs: Packs
    spec: ModelSpec
    precision: Precision

    def of(self, span: Span) -> Weights:
        layers = tuple(
            self._layer(f"layer-{index:03}", LayerNames(index)) for index in range(span.start, span.end)
        )
        embedding = self._embedding() if self.spec.is_first(span) else None
        if not self.spec.is_last(span):
            return Weights(layers, embedding, None, None)
        return Weights(layers, embedding, self._norm("final-norm", FINAL_NORM), self._head(embedding))

    def prediction(self, weights: Weights) -> Weights:
        """One layer, between the ends that the last stage has or needs for it."""
        shared = weights.head if self.spec.tied_embeddings else weights.embedding
        final_norm = self._norm("mtp-final-norm", MTP.final_norm)
        return Weights(
            (self._layer("mtp-layer", MTP),), shared or self._embedding(), final_norm, weights.head
        )

    def joining(self) -> Part:
        return self.packs.get("mtp-joining", partial(read_joining, self.file, self.spec, self.precision))

    def _layer(self, part: str, names: LayerNames) -> Part:
        return self.packs.get(part, partial(read_layer, self.file, self.spec, names, self.precision))

    def _embedding(self) -> Part:
        return self._table("embedding", EMBEDDING)

    def _head(self, embedding: Part | None) -> Part:
        """The embedding's own table where the model has one for both."""
        if self.spec.tied_embeddings:
            return embedding or self._embedding()
        return self._table("head", head_name(self.spec))

    def _table(self, part: str, name: str) -> Part:
        return self.packs.get(part, partial(read_table, self.file, self.spec, name))

    def _norm(self, part: str, name: str) -> Part:
        return self.packs.get(part, partial(read_norm, self.file, self.spec, name))
