"""A model without weights: the Compute port with a tiny deterministic token function.

Owns caches of what passed through each stage, so that the port's rules (position is the truth, errors
with both numbers) hold as they do for the real one. A hidden row is 8 bytes that each layer changes in
its own way, so that a layer left out, doubled or given a wrong row changes every token behind it. Every
frame is charged the same virtual time.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field

from mesh.errors import ContextExceeded, PositionGap, ShapeMismatch, StageNotLoaded, UnknownSession
from mesh.ports import Sampled, Step
from mesh.spec import ModelSpec
from mesh.types import Hidden, Sampling, SessionId, Span, StageKey, TokenIds

ROW_BYTES = 8


@dataclass(slots=True)
class _Cache:
    key: StageKey
    context: int
    sampling: Sampling
    outputs: list[tuple[bytes, ...]] = field(default_factory=list)
    """For each position, what each layer of the span made of it."""


class TokenFunctionCompute:
    """The Compute port for one virtual device."""

    def __init__(self, spec: ModelSpec, step_s: float = 0.01) -> None:
        self._spec = spec
        self._step_s = step_s
        self._stages: set[StageKey] = set()
        self._caches: dict[SessionId, _Cache] = {}

    @property
    def num_open(self) -> int:
        """Sessions that hold a cache here."""
        return len(self._caches)

    @property
    def stages(self) -> frozenset[StageKey]:
        """What is loaded."""
        return frozenset(self._stages)

    async def load(self, key: StageKey) -> int:
        """Load a span; see the port."""
        self._stages.add(key)
        return self._spec.weights_bytes(key.span, key.precision)

    async def unload(self, key: StageKey) -> None:
        """Free a span; see the port."""
        self._stages.discard(key)

    async def open(self, session_id: SessionId, key: StageKey, context: int, sampling: Sampling) -> None:
        """Allot a cache; see the port."""
        if key not in self._stages:
            raise StageNotLoaded(f"layers {key.span} are not loaded")
        self._caches[session_id] = _Cache(key, context, sampling)

    async def close_session(self, session_id: SessionId) -> None:
        """Free a cache; see the port."""
        self._caches.pop(session_id, None)

    async def run(self, step: Step) -> Hidden | Sampled | None:
        """Run one frame; see the port."""
        await asyncio.sleep(self._step_s)
        cache = self._caches.get(step.session_id)
        if cache is None:
            raise UnknownSession(f"session {step.session_id} is not open here")
        rows = self._rows(step, cache)
        _check_room(cache, step.start, len(rows))
        del cache.outputs[step.start :]
        for row in rows:
            before = cache.outputs[-1] if cache.outputs else None
            cache.outputs.append(_through(row, cache.key.span, before))
        if not self._spec.is_last(cache.key.span):
            return Hidden(b"".join(outputs[-1] for outputs in cache.outputs[step.start :]))
        position = len(cache.outputs)
        return Sampled(position, self._sample(cache, position)) if step.sample else None

    def _rows(self, step: Step, cache: _Cache) -> list[bytes]:
        is_first = self._spec.is_first(cache.key.span)
        match step.payload:
            case TokenIds(ids) if is_first and ids and max(ids) < self._spec.vocab_size:
                return [token.to_bytes(ROW_BYTES, "little") for token in ids]
            case Hidden(data) if not is_first and data and len(data) % ROW_BYTES == 0:
                return [data[i : i + ROW_BYTES] for i in range(0, len(data), ROW_BYTES)]
        raise ShapeMismatch(f"layers {cache.key.span} cannot take this {type(step.payload).__name__}")

    def _sample(self, cache: _Cache, position: int) -> int:
        seed = cache.sampling.seed if cache.sampling.temperature > 0 else 0
        digest = _digest(cache.outputs[-1][-1], seed, position)
        return int.from_bytes(digest, "little") % self._spec.vocab_size


def _check_room(cache: _Cache, start: int, num_rows: int) -> None:
    if start > len(cache.outputs):
        raise PositionGap(f"a frame starts at {start} but the cache ends at {len(cache.outputs)}")
    if start + num_rows > cache.context:
        raise ContextExceeded(
            f"a frame ends at {start + num_rows} but the cache has {cache.context} positions"
        )


def _through(row: bytes, span: Span, before: tuple[bytes, ...] | None) -> tuple[bytes, ...]:
    """Take a row through the layers; as in the real network each also looks at the position before."""
    outputs: list[bytes] = []
    for index in range(span.num_layers):
        row = _digest(row + (before[index] if before else b""), span.start + index, 0)
        outputs.append(row)
    return tuple(outputs)


def _digest(data: bytes, first: int, second: int) -> bytes:
    key = first.to_bytes(8, "little") + second.to_bytes(8, "little")
    return hashlib.blake2b(data, digest_size=ROW_BYTES, key=key).digest()
