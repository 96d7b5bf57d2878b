"""A whole model on one machine, stage after stage: what the mesh computes, without the mesh.

Owns nothing: it is the shortest way through the stages, for reference and comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mesh.model.stage import Stage
from mesh.spec import ModelSpec
from mesh.types import Precision, Span


def logits_of(
    path: Path, spec: ModelSpec, spans: Sequence[Span], precision: Precision, tokens: Sequence[int]
) -> NDArray[np.float32]:
    """Return the logits of every position: float32 [tokens, vocab].

    `spans` cover the model in order; each is loaded, run and freed before the next, so that no more than
    one is ever in memory. Raises as `Stage.load` and `Stage.forward` do.
    """
    rows = torch.tensor(list(tokens), dtype=torch.int64)
    for span in spans:
        stage = Stage.load(path, spec, span, precision)
        rows = stage.forward(rows, 0, stage.new_cache(len(tokens)))
    logits: NDArray[np.float32] = stage.logits(rows).numpy()
    return logits
