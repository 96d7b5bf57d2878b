"""The layer for multi-token prediction, between a product that joins what comes in and the model's head.

Owns the order of these steps. Which slots there are is in `mesh.engines.mtp`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mesh.engines.native.cache import KvCache
from mesh.engines.native.kernels import Head
from mesh.engines.native.parts import Part
from mesh.engines.native.stage import Rows, Run, Stage, matrix_of


class Prediction:
    """One layer, ready to compute; made by `mesh.engines.native.loading`."""

    def __init__(self, stage: Stage, joining: Part) -> None:
        """`stage` has that layer alone, and both ends; `joining` is made by `read_joining`."""
        self._stage = stage
        self._joining = joining  # what the structures point to
        self._hidden_half, self._token_half = (self._half(of) for of in ("hidden", "token"))

    def new_cache(self, context: int) -> KvCache:
        """Allot the keys and values of a session's slots."""
        return self._stage.new_cache(context)

    def forward(self, runs: Sequence[Run], tokens: Sequence[int], num_threads: int) -> None:
        """Run slots through the layer; `tokens` are those behind each, of all runs one after the other.

        `Run.hidden` are hidden states before, and what the layer makes of them after. As in `Stage.forward`,
        caches' lengths are not changed.
        """
        stage, hidden = self._stage, np.concatenate([run.hidden for run in runs])
        embedded = stage.embed(np.asarray(tokens, np.int64))
        joined = stage.product(self._hidden_half, hidden, num_threads)
        joined += stage.product(self._token_half, embedded, num_threads)
        at = 0
        for run in runs:
            run.hidden[:] = joined[at : at + run.num_rows, : hidden.shape[1]]
            at += run.num_rows
        stage.forward(runs, num_threads)

    def logits(self, hidden: Rows, num_threads: int) -> Rows:
        """Score what the layer made [slots, hidden]: [slots, vocab]."""
        return self._stage.logits(hidden, num_threads)

    def _half(self, of: str) -> Head:
        size = self._stage.spec.hidden_size
        matrix = matrix_of(self._joining[f"{of}_half"], size, size)
        return Head(self._joining[f"{of}_norm"].ctypes.data, matrix)
