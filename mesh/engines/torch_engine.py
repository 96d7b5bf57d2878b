"""The engine on torch.

Owns the way from a frame's bytes to tensors and back. Importing this module imports torch, which takes
seconds. All stages of an engine live in one placement: on the processor, or on a graphics card. Tokens are
drawn on the processor everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mesh.engines.mtp import Part
from mesh.engines.stage import per_run
from mesh.engines.staged import StagedEngine
from mesh.errors import InsufficientMemory, InternalError, NotFinite, ShapeMismatch
from mesh.model import stage as reference
from mesh.model.kv_cache import KvCache
from mesh.model.placement import ON_PROCESSOR, Placement
from mesh.model.prediction import Prediction
from mesh.spec import ModelSpec
from mesh.types import Hidden, Payload, StageKey, TokenIds

_Guard = Callable[[str], AbstractContextManager[None]]
"""Says for what there is no room where a card is full."""


@dataclass(slots=True)
class _Run:
    frame: reference.Run
    hidden: torch.Tensor
    """[tokens, hidden] on the processor; what came in, until it is computed."""

    @property
    def num_rows(self) -> int:
        """Positions by which it takes its session further."""
        return len(self.frame.rows)


class TorchEngine(StagedEngine[KvCache, _Run]):
    """Stages in one placement.

    Raises InsufficientMemory beside what the protocol says, where a card is full.
    """

    def __init__(self, placement: Placement = ON_PROCESSOR) -> None:
        super().__init__(partial(_load, placement))


def _load(placement: Placement, key: StageKey, path: Path, spec: ModelSpec) -> _Stage:
    guard = partial(_room_for, placement)
    with guard(f"layers {key.span} of {spec.name}"):
        stage = reference.Stage.load(path, spec, key.span, key.precision, placement)
        predicts = spec.has_mtp and spec.is_last(key.span)
        return _Stage(stage, Prediction.load(path, stage) if predicts else None, guard)


class _Stage:
    """See `mesh.engines.stage.Stage`."""

    def __init__(self, stage: reference.Stage, prediction: Prediction | None, guard: _Guard) -> None:
        self.spec, self.span = stage.spec, stage.span
        self.weights_bytes = stage.weights_bytes + (prediction.weights_bytes if prediction else 0)
        self.predictor = _Predictor(prediction, guard) if prediction else None
        self._stage = stage
        self._guard = guard

    def new_cache(self, context: int) -> KvCache:
        with self._guard(f"a session of {context} positions"):
            return self._stage.new_cache(context)

    def begin(self, payload: Payload, start: int, cache: KvCache) -> _Run:
        rows = self._rows(payload)
        frame = reference.Run(rows, start, cache)
        self._stage.begin(frame)
        return _Run(frame, rows)

    def compute(self, runs: Sequence[_Run]) -> list[NotFinite | None]:
        errors: list[NotFinite | None] = [None] * len(runs)
        with self._guard(f"a batch of {len(runs)} frames"):
            computed = self._stage.compute([run.frame for run in runs])
        for index, (run, hidden) in enumerate(zip(runs, computed, strict=True)):
            if isinstance(hidden, NotFinite):
                errors[index] = hidden
            else:
                run.hidden = hidden
        return errors

    def to_bytes(self, run: _Run) -> bytes:
        # numpy has no bf16: the bytes pass as integers.
        return run.hidden.contiguous().view(torch.uint8).numpy().tobytes()

    def hidden(self, run: _Run) -> NDArray[np.float32]:
        return run.hidden.float().numpy()

    def scores(self, runs: Sequence[_Run], counts: Sequence[int]) -> list[NDArray[np.float32]]:
        last_rows = [row[None] for run, n in zip(runs, counts, strict=True) for row in run.hidden[-n:]]
        with self._guard(f"the tokens of {len(runs)} sessions"):
            scores = np.stack([logits.numpy() for logits in self._stage.scores(last_rows)])
        return per_run(scores, counts)

    def _rows(self, payload: Payload) -> torch.Tensor:
        """Make a frame's payload a tensor: token ids [tokens], or hidden states [tokens, hidden]."""
        match payload:
            case TokenIds(ids):
                return torch.tensor(ids, dtype=torch.int64)
            case Hidden(data):
                dtype, size = self._stage.row_type, self.spec.hidden_size
                if not data or len(data) % (size * dtype.itemsize):
                    raise ShapeMismatch(f"{len(data)} bytes of hidden states are no rows of {size} {dtype}")
                return torch.frombuffer(bytearray(data), dtype=dtype).view(-1, size)
        raise InternalError(f"a payload of type {type(payload).__name__}")


class _Predictor:
    """See `mesh.engines.mtp.Predictor`."""

    def __init__(self, prediction: Prediction, guard: _Guard) -> None:
        self._prediction = prediction
        self._guard = guard

    def new_cache(self, context: int) -> KvCache:
        with self._guard(f"guesses in a session of {context} positions"):
            return self._prediction.new_cache(context)

    def predict(self, parts: Sequence[Part[KvCache]]) -> list[NDArray[np.float32]]:
        with self._guard(f"guesses for {len(parts)} sessions"):
            return [self._made(part).numpy() for part in parts]

    def scores(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._prediction.logits(torch.from_numpy(hidden)).numpy()

    def _made(self, part: Part[KvCache]) -> torch.Tensor:
        return self._prediction.forward(torch.from_numpy(part.hidden), part.tokens, part.cache)


@contextmanager
def _room_for(placement: Placement, what: str) -> Iterator[None]:
    """Say in our own words that a card is full; torch's are many lines."""
    try:
        yield
    except RuntimeError as error:
        # Apple's is a plain RuntimeError of torch.
        if isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error):
            text = f"the memory of {placement.device} is full: no room for {what}; lend less with --memory"
            raise InsufficientMemory(text) from error
        raise
