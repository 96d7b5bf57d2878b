"""The engine on our own kernels.

Owns which stages it takes, and the way from a frame's bytes to rows and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesh.engines.mtp import Part
from mesh.engines.native.cache import KvCache
from mesh.engines.native.kernels import Kernels
from mesh.engines.native.loading import Loaded, load
from mesh.engines.native.prediction import Prediction
from mesh.engines.native.stage import Run
from mesh.engines.stage import per_run
from mesh.engines.staged import StagedEngine
from mesh.errors import InternalError, NotFinite, ShapeMismatch, UnsupportedModel
from mesh.model.bf16 import narrow, widen
from mesh.model.edges import not_finite
from mesh.spec import ModelSpec
from mesh.types import Hidden, Payload, Precision, StageKey, TokenIds

_PRECISIONS = (Precision.INT4, Precision.INT8)
_HEAD_UNIT = 16  # numbers that the kernels take at once: heads are whole multiples


def runs(key: StageKey, spec: ModelSpec) -> bool:
    """Whether this engine computes such a stage."""
    return key.precision in _PRECISIONS and spec.head_dim % _HEAD_UNIT == 0


class NativeEngine(StagedEngine[KvCache, Run]):
    """Stages of packed weights on the processor."""

    def __init__(self, kernels: Kernels, num_threads: int) -> None:
        super().__init__(partial(_load, kernels, num_threads))


def _load(kernels: Kernels, num_threads: int, key: StageKey, path: Path, spec: ModelSpec) -> _Stage:
    if not runs(key, spec):
        raise UnsupportedModel(
            f"{spec.name} in {key.precision} with heads of {spec.head_dim}: the native engine takes "
            f"{' and '.join(_PRECISIONS)} and heads in multiples of {_HEAD_UNIT}; use --engine torch"
        )
    return _Stage(load(kernels, path, spec, key), num_threads)


class _Stage:
    """See `mesh.engines.stage.Stage`."""

    def __init__(self, loaded: Loaded, num_threads: int) -> None:
        stage, prediction = loaded.stage, loaded.prediction
        self.spec, self.span = stage.spec, stage.span
        self.weights_bytes = loaded.weights_bytes
        self.predictor = _Predictor(prediction, num_threads) if prediction else None
        self._stage = stage
        self._num_threads = num_threads

    def new_cache(self, context: int) -> KvCache:
        return self._stage.new_cache(context)

    def begin(self, payload: Payload, start: int, cache: KvCache) -> Run:
        rows = self._rows(payload)
        cache.begin(start, len(rows))
        return Run(cache, start, rows)

    def compute(self, runs: Sequence[Run]) -> list[NotFinite | None]:
        errors: list[NotFinite | None] = []
        for run, bad_layer in zip(runs, self._stage.forward(runs, self._num_threads), strict=True):
            if bad_layer is None:
                run.cache.finish(run.num_rows)
                errors.append(None)
            else:
                errors.append(not_finite(self.spec, bad_layer, run.start))
        return errors

    def to_bytes(self, run: Run) -> bytes:
        return narrow(run.hidden).tobytes()  # they are numbers of bf16 already

    def hidden(self, run: Run) -> NDArray[np.float32]:
        return run.hidden

    def scores(self, runs: Sequence[Run], counts: Sequence[int]) -> list[NDArray[np.float32]]:
        last_rows = [run.hidden[-count:] for run, count in zip(runs, counts, strict=True)]
        scores = self._stage.logits(np.concatenate(last_rows), self._num_threads)
        return per_run(scores, counts)

    def _rows(self, payload: Payload) -> NDArray[np.float32]:
        """Make a frame's payload hidden states [tokens, hidden] float32."""
        match payload:
            case TokenIds(ids):
                if not ids:
                    raise ShapeMismatch("a frame without tokens")
                return self._stage.embed(np.asarray(ids, np.int64))
            case Hidden(data):
                size = self.spec.hidden_size
                if self.spec.is_first(self.span):
                    raise ShapeMismatch(f"span {self.span} takes tokens, not hidden states")
                if not data or len(data) % (2 * size):
                    raise ShapeMismatch(f"{len(data)} bytes of hidden states are no rows of {size} bf16")
                return widen(np.frombuffer(data, "<u2")).reshape(-1, size)
        raise InternalError(f"a payload of type {type(payload).__name__}")


class _Predictor:
    """See `mesh.engines.mtp.Predictor`."""

    def __init__(self, prediction: Prediction, num_threads: int) -> None:
        self._prediction = prediction
        self._num_threads = num_threads

    def new_cache(self, context: int) -> KvCache:
        return self._prediction.new_cache(context)

    def predict(self, parts: Sequence[Part[KvCache]]) -> list[NDArray[np.float32]]:
        runs = [Run(part.cache, part.cache.length, part.hidden.copy()) for part in parts]
        tokens = [token for part in parts for token in part.tokens]
        self._prediction.forward(runs, tokens, self._num_threads)
        for run in runs:
            run.cache.finish(run.num_rows)
        return [run.hidden for run in runs]

    def scores(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._prediction.logits(hidden, self._num_threads)
