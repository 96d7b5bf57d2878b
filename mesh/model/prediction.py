"""Multi-token prediction on torch: one layer between a product that joins what comes in and the model's head.

Owns the order of these steps. Must not know which slots a session has; that is `mesh.engines.mtp`.

Source: Xiaomi LLM-Core Team, MiMo (2025).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from mesh.errors import NotFinite
from mesh.model.checkpoint import open_checkpoint
from mesh.model.kv_cache import KvCache
from mesh.model.stage import Run, Stage
from mesh.model.weights import PredictionWeights, load_prediction
from mesh.types import Span


class Prediction:
    """The layer of one last stage; made by `Prediction.load`."""

    def __init__(self, stage: Stage, weights: PredictionWeights) -> None:
        self.weights_bytes = weights.num_bytes
        """Bytes of the weights beside those of the last stage."""
        self._weights = weights
        self._stage = Stage(stage.spec, Span(0, 1), stage.precision, weights.layer, stage.placement)

    @classmethod
    def load(cls, path: Path, stage: Stage) -> Prediction:
        """Read the layer that belongs to a last stage; raises as `Stage.load` does."""
        with open_checkpoint(path) as file, torch.inference_mode():
            weights = load_prediction(file, stage.spec, stage.precision, stage.placement, stage.weights)
        return cls(stage, weights)

    def new_cache(self, context: int) -> KvCache:
        """Allot the keys and values of a session's slots."""
        return self._stage.new_cache(context)

    def forward(self, hidden: Tensor, tokens: Sequence[int], cache: KvCache) -> Tensor:
        """Fill slots behind those of the cache; return what the layer makes of them: [slots, hidden] float32.

        `hidden` are hidden states [slots, hidden] float32, `tokens` the one behind each. What is no number
        comes out as none.
        """
        slots, size = cache.length, len(tokens)
        joined = self._joined(hidden, torch.tensor(tokens, dtype=torch.int64))
        cache.begin(slots, size)
        (made,) = self._stage.compute([Run(joined, slots, cache)])
        return torch.full(hidden.shape, torch.nan) if isinstance(made, NotFinite) else made.float()

    def logits(self, hidden: Tensor) -> Tensor:
        """Score what the layer made [slots, hidden]: [slots, vocab] float32."""
        return self._stage.logits(hidden.to(self._stage.row_type))

    def _joined(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Hidden states and embeddings, each behind a norm, the former first, as rows for the layer."""
        weights, stage = self._weights, self._stage
        with torch.inference_mode():
            of_hidden = weights.hidden_norm(stage.entered(hidden.to(stage.row_type)))
            of_tokens = weights.token_norm(stage.entered(tokens))
            return stage.left(weights.joining(torch.cat((of_hidden, of_tokens), -1)))
