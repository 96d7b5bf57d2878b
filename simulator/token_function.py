"""A model without weights: a tiny deterministic function in place of the mathematics.

Owns the protocol `Maths`, behind which the real engine can stand too, and the function itself. Each layer
changes a row in its own way and looks at what it made of the position before, so that a layer left out or
doubled, or a wrong row, changes every token behind it. Must not know time: `simulator.compute` charges it.

Where the model has a layer for multi-token prediction, the last stage guesses as often rightly as it is told:
it keeps what all layers make of the text, which no real stage could, and looks ahead.

Rows go over the wire at the real model's size. Eight bytes of a row count, the rest is a filler. A filler
that is not what it must be spoils the row in silence, as a turned bit does in the real network: the mesh
has to notice by its own means, or the tokens come out wrong.
"""

from __future__ import annotations

import hashlib
import zlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from mesh.errors import (
    ContextExceeded,
    ModelNotPulled,
    PositionGap,
    ShapeMismatch,
    StageNotLoaded,
    UnknownSession,
)
from mesh.ports import Prefix, Sampled, Step
from mesh.spec import ModelSpec
from mesh.types import (
    CacheKey,
    Digest,
    FinishReason,
    Hidden,
    Sampling,
    Span,
    StageKey,
    TokenIds,
)

_VALUE_BYTES = 8
_PRIME = 2**30 - 35  # the largest below 2^30: Python multiplies numbers of 30 bits fastest
_FACTOR = 0x2545F491
_WIDE = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F  # odd factors for drawing tokens, of 64 bits
_MASK = 2**64 - 1
_FILLER = b"\x80\x3f"  # 1.0 in bf16


class Maths(Protocol):
    """What a device computes, without the time that it takes: the Compute port, frame by frame.

    What the port returns as a frame's error is raised.
    """

    def load(self, key: StageKey) -> int:
        """Hold a span and return its weights' bytes; does nothing more where it is held."""

    def unload(self, key: StageKey) -> None:
        """Free a span."""

    def open(self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None) -> int:
        """Allot a session's cache on a loaded span; return where it ends now."""

    def close(self, cache: CacheKey) -> None:
        """Free a session's cache; does nothing where there is none."""

    def run(self, step: Step) -> Hidden | Sampled | None:
        """Run one frame."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """A span of one model, ready to run."""

    spec: ModelSpec
    span: Span
    weights_bytes: int
    layer_keys: tuple[int, ...]
    """One number for each layer, by which it differs from all others."""
    row_bytes: int
    filler: bytes
    all_keys: tuple[int, ...] = ()
    """Those of all layers, where this stage guesses."""

    @classmethod
    def of(cls, spec: ModelSpec, key: StageKey) -> _Stage:
        size = spec.row_bytes(key.precision)
        return cls(
            spec=spec,
            span=key.span,
            weights_bytes=spec.weights_bytes(key.span, key.precision),
            layer_keys=_layer_keys(spec, key.span),
            row_bytes=size,
            filler=(_FILLER * size)[: size - _VALUE_BYTES],
            all_keys=_layer_keys(spec, spec.whole) if spec.has_mtp and spec.is_last(key.span) else (),
        )


class _Cache:
    """A session's state: what each layer of the span made of each position, in one flat array.

    A row of zeros stands before position 0.
    """

    __slots__ = ("context", "made", "sampling", "stage", "whole")

    def __init__(self, stage: _Stage, context: int, sampling: Sampling) -> None:
        self.stage = stage
        self.context = context
        self.sampling = sampling
        self.made = _nothing_made(len(stage.layer_keys))
        self.whole = _nothing_made(len(stage.all_keys))
        """What all layers made of each position, as far as the text is known; of stages that guess."""

    @property
    def num_positions(self) -> int:
        return len(self.made) // len(self.stage.layer_keys) - 1

    def begin_with(self, source: _Cache, num_positions: int) -> None:
        """Copy the first positions of another cache of the stage, as many as it has."""
        self.made = source.made[: (num_positions + 1) * len(self.stage.layer_keys)]
        self.whole = source.whole[: (num_positions + 1) * len(self.stage.all_keys)]

    def cut_back(self, num_positions: int) -> None:
        """Forget all but the first positions."""
        del self.made[(num_positions + 1) * len(self.stage.layer_keys) :]


class TokenFunction:
    """Maths of one device, for the models whose shapes it is given."""

    def __init__(self, specs: Iterable[ModelSpec], acceptance: float = 0.8) -> None:
        """`acceptance`: how often a guess is right by which a model with such a layer goes on."""
        self._acceptance = acceptance
        self._specs: dict[Digest, ModelSpec] = {spec.digest: spec for spec in specs}
        self._stages: dict[StageKey, _Stage] = {}
        self._caches: dict[CacheKey, _Cache] = {}

    def load(self, key: StageKey) -> int:
        """Hold a span; see Maths."""
        stage = self._stages.get(key)
        if stage is None:
            spec = self._specs.get(key.digest)
            if spec is None:
                raise ModelNotPulled(f"the model {key.digest[:12]} is not on this device")
            stage = self._stages[key] = _Stage.of(spec, key)
        return stage.weights_bytes

    def unload(self, key: StageKey) -> None:
        """Free a span; see Maths."""
        self._stages.pop(key, None)

    def open(self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None) -> int:
        """Allot a cache; see Maths."""
        stage = self._stages.get(cache.stage)
        if stage is None:
            raise StageNotLoaded(f"layers {cache.stage.span} are not loaded")
        opened = _Cache(stage, context, sampling)
        source = self._caches.get(prefix.source) if prefix else None
        if prefix and source:
            opened.begin_with(source, min(prefix.positions, context))
        self._caches[cache] = opened
        return opened.num_positions

    def close(self, cache: CacheKey) -> None:
        """Free a cache; see Maths."""
        self._caches.pop(cache, None)

    def run(self, step: Step) -> Hidden | Sampled | None:
        """Run one frame; see Maths."""
        cache = self._caches.get(step.cache)
        if cache is None:
            raise UnknownSession(f"session {step.cache.session_id} is not open here")
        stage = cache.stage
        rows = _rows(step, stage)
        _check_room(cache, step.start, len(rows))
        cache.cut_back(step.start)
        outputs = [_through(row, stage.layer_keys, cache.made) for row in rows]
        is_followed = _follow(cache, step.start, step.tokens)
        if not stage.spec.is_last(stage.span):
            filler = stage.filler
            return Hidden(b"".join([value.to_bytes(_VALUE_BYTES, "little") + filler for value in outputs]))
        if not step.sample:
            return None
        position = step.start + len(rows) - len(step.drafts)
        tokens: list[int] = []
        for output, draft in zip(outputs[-1 - len(step.drafts) :], (*step.drafts, None), strict=True):
            tokens.append(_draw(output, cache.sampling, position + len(tokens), stage.spec.vocab_size))
            if tokens[-1] != draft:
                break
        guessed: tuple[int, ...] = ()
        if is_followed and step.num_wanted:
            known = len(step.tokens) - len(step.drafts)
            _follow(cache, step.start, (*step.tokens[:known], *tokens))
            guessed = self._guessed(cache, position + len(tokens), step.num_wanted)
        return Sampled(position, tokens[0], tuple(tokens[1:]), guessed)

    def _guessed(self, cache: _Cache, position: int, count: int) -> tuple[int, ...]:
        """What may follow the text: each token is right, given those before it, as often as was said."""
        stage, made, tokens = cache.stage, cache.whole[:], list[int]()
        for at in range(position, min(position + count, cache.context)):
            token = _draw(made[-1], cache.sampling, at, stage.spec.vocab_size)
            chance = _draw(made[-1] ^ _FACTOR, cache.sampling, at, 1 << 20) / (1 << 20)
            tokens.append(token if chance < self._acceptance else (token + 1) % stage.spec.vocab_size)
            _through(tokens[-1], stage.all_keys, made)
        return tuple(tokens)


def reference_tokens(
    spec: ModelSpec,
    prompt_ids: tuple[int, ...],
    sampling: Sampling,
    max_tokens: int,
    stop_ids: frozenset[int],
) -> tuple[tuple[int, ...], FinishReason]:
    """Return the answer of the undivided model, computed without any mesh.

    As in `mesh.logic.session`, the token by which the model stops does not belong to the answer.
    """
    layer_keys = _layer_keys(spec, spec.whole)
    made = _nothing_made(spec.num_layers)
    value = 0
    for token in prompt_ids:
        value = _through(token, layer_keys, made)
    answer: list[int] = []
    for position in range(len(prompt_ids), len(prompt_ids) + max_tokens):
        token = _draw(value, sampling, position, spec.vocab_size)
        if token in stop_ids:
            return tuple(answer), FinishReason.STOP
        answer.append(token)
        value = _through(token, layer_keys, made)
    return tuple(answer), FinishReason.LENGTH


def _follow(cache: _Cache, start: int, tokens: Iterable[int]) -> bool:
    """Take the whole text from a position on through all layers; False where that stage does not guess."""
    keys = cache.stage.all_keys
    if not keys or not tokens or start > len(cache.whole) // len(keys) - 1:
        return False
    del cache.whole[(start + 1) * len(keys) :]
    for token in tokens:
        _through(token, keys, cache.whole)
    return True


def _layer_keys(spec: ModelSpec, span: Span) -> tuple[int, ...]:
    return tuple(_layer_key(spec.digest, layer) for layer in range(span.start, span.end))


def _layer_key(digest: Digest, layer: int) -> int:
    named = hashlib.blake2b(f"{digest}/{layer}".encode(), digest_size=_VALUE_BYTES)
    return int.from_bytes(named.digest(), "little") % _PRIME


def _nothing_made(num_layers: int) -> array[int]:
    return array("I", [0] * num_layers)


def _rows(step: Step, stage: _Stage) -> list[int]:
    """Read a frame's rows as one number each."""
    is_first = stage.spec.is_first(stage.span)
    match step.payload:
        case TokenIds(ids) if is_first and ids and min(ids) >= 0 and max(ids) < stage.spec.vocab_size:
            return list(ids)
        case Hidden(data) if not is_first and data and len(data) % stage.row_bytes == 0:
            return [_value(data, at, stage) for at in range(0, len(data), stage.row_bytes)]
    raise ShapeMismatch(f"layers {stage.span} cannot take this {type(step.payload).__name__}")


def _value(data: bytes, at: int, stage: _Stage) -> int:
    value = int.from_bytes(data[at : at + _VALUE_BYTES], "little")
    if data.startswith(stage.filler, at + _VALUE_BYTES):  # compares in place, a fraction of a microsecond
        return value
    return value ^ (zlib.crc32(data[at + _VALUE_BYTES : at + stage.row_bytes]) + 1)


def _check_room(cache: _Cache, start: int, num_rows: int) -> None:
    if start > cache.num_positions:
        raise PositionGap(f"a frame starts at {start} but the cache ends at {cache.num_positions}")
    if start + num_rows > cache.context:
        raise ContextExceeded(
            f"a frame ends at {start + num_rows} but the cache has {cache.context} positions"
        )


def _through(value: int, layer_keys: tuple[int, ...], made: array[int]) -> int:
    """Take a row through the layers, add what each made of it to `made`, and return the last of that.

    This is where a run's time goes: a fifth of a microsecond a layer.
    """
    before = made[-len(layer_keys) :]
    row = [
        value := ((value + memory) ^ key) * _FACTOR % _PRIME
        for key, memory in zip(layer_keys, before, strict=True)
    ]
    made.extend(row)
    return value


def _draw(value: int, sampling: Sampling, position: int, vocab_size: int) -> int:
    """Return the token at a position: a function of the last row, the position and, if drawn, the seed."""
    seed = sampling.seed if sampling.temperature > 0 else 0
    mixed = ((value ^ seed) * _WIDE[0] + position * _WIDE[1]) & _MASK
    mixed = ((mixed ^ (mixed >> 29)) * _WIDE[1]) & _MASK
    return (mixed ^ (mixed >> 32)) % vocab_size
