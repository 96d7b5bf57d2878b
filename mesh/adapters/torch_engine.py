"""The engine on torch: stages, caches and the steps through them, synchronous.

Owns the tensors. Must not know threads or messages: `mesh.adapters.torch_compute` calls it on a thread of
its own. Importing this module imports torch, which takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from mesh.errors import InternalError, ShapeMismatch, StageNotLoaded, UnknownSession
from mesh.model.kv_cache import KvCache
from mesh.model.sampling import sample
from mesh.model.stage import Stage
from mesh.ports import Sampled, Step
from mesh.spec import ModelSpec
from mesh.types import CacheKey, Hidden, Payload, Precision, Sampling, StageKey, TokenIds

_DTYPES = {Precision.INT4: torch.bfloat16, Precision.F32: torch.float32}


@dataclass(frozen=True, slots=True)
class _Open:
    stage: Stage
    cache: KvCache
    sampling: Sampling


class TorchEngine:
    """Stages in this process's memory."""

    def __init__(self) -> None:
        self._stages: dict[StageKey, Stage] = {}
        self._caches: dict[CacheKey, _Open] = {}

    def load(self, key: StageKey, path: Path, spec: ModelSpec) -> int:
        """Read a span's weights; return their bytes."""
        if key not in self._stages:
            self._stages[key] = Stage.load(path, spec, key.span, key.precision)
        return self._stages[key].weights_bytes

    def unload(self, key: StageKey) -> None:
        """Free a span's weights."""
        self._stages.pop(key, None)

    def open(self, cache: CacheKey, context: int, sampling: Sampling) -> None:
        """Allot a session's cache."""
        stage = self._stages.get(cache.stage)
        if stage is None:
            raise StageNotLoaded(f"layers {cache.stage.span} are not loaded")
        self._caches[cache] = _Open(stage, stage.new_cache(context), sampling)

    def close(self, cache: CacheKey) -> None:
        """Free a session's cache."""
        self._caches.pop(cache, None)

    def run(self, step: Step) -> Hidden | Sampled | None:
        """Run one frame; see the Compute port."""
        session = self._caches.get(step.cache)
        if session is None:
            raise UnknownSession(f"session {step.cache.session_id} is not open here")
        stage = session.stage
        hidden = stage.forward(_to_rows(step.payload, stage), step.start, session.cache)
        if not stage.spec.is_last(stage.span):
            return Hidden(_to_bytes(hidden))
        if not step.sample:
            return None
        position = step.start + hidden.shape[0]
        logits = stage.logits(hidden[-1:])[0].numpy()
        return Sampled(position, sample(logits, session.sampling, position))


def _to_rows(payload: Payload, stage: Stage) -> torch.Tensor:
    """Make a frame's payload a tensor: token ids [tokens], or hidden states [tokens, hidden]."""
    match payload:
        case TokenIds(ids):
            return torch.tensor(ids, dtype=torch.int64)
        case Hidden(data):
            dtype, size = _DTYPES[stage.precision], stage.spec.hidden_size
            if not data or len(data) % (size * dtype.itemsize):
                raise ShapeMismatch(f"{len(data)} bytes of hidden states are no rows of {size} {dtype}")
            return torch.frombuffer(bytearray(data), dtype=dtype).view(-1, size)
    raise InternalError(f"a payload of type {type(payload).__name__}")


def _to_bytes(hidden: torch.Tensor) -> bytes:
    # numpy has no bf16: the bytes pass as integers.
    return hidden.contiguous().view(torch.uint8).numpy().tobytes()
