"""How long a batch of frames takes a stage on a device.

Owns the roofline: a batch takes the longer of moving its bytes and of doing its arithmetic, and a fixed
cost on top (Williams, Waterman and Patterson, "Roofline: an insightful visual performance model", 2009).
Pure. Must not know what else slows a device down: faults and heat are the processor's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mesh.spec import ModelSpec
from mesh.types import Precision, StageKey
from simulator.profiles.types import DeviceProfile


@dataclass(frozen=True, slots=True)
class FrameSize:
    """What of a frame its time depends on."""

    position: int
    """Of its first row."""
    num_rows: int
    samples: bool
    """Whether a token is drawn: then the output head runs, on the last row alone."""
    num_guessed: int = 0
    """Tokens that the last stage guesses behind it, one after the other."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """What of a stage its time depends on, counted once."""

    layers_bytes: int
    """Weights of the layers, read once a batch."""
    row_flops: int
    """Of the layers, for one row, without attention."""
    attention_flops: int
    """For one row and one position that it looks at."""
    cache_bytes: int
    """Keys and values of one position."""
    embedding_bytes: int
    """One row of the table of embeddings; 0 where the stage does not embed."""
    head_bytes: int
    """The output head; 0 where the stage does not have it."""
    head_flops: int
    guess_bytes: int = 0
    """What one guess reads; 0 where the stage does not guess."""

    @classmethod
    def of(cls, spec: ModelSpec, key: StageKey) -> StageCost:
        """Count a stage."""
        num_layers, precision = key.span.num_layers, key.precision
        q_size, kv_size = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
        element_bytes = 4 if precision is Precision.F32 else 2
        table_bytes = spec.table_bytes(precision)
        is_last = spec.is_last(key.span)
        return cls(
            layers_bytes=num_layers * spec.layer_bytes(precision),
            row_flops=2 * num_layers * layer_weights(spec),
            attention_flops=4 * num_layers * q_size,  # queries times keys, then weights times values
            cache_bytes=2 * num_layers * kv_size * element_bytes,
            embedding_bytes=table_bytes // spec.vocab_size if spec.is_first(key.span) else 0,
            head_bytes=table_bytes if is_last else 0,
            head_flops=2 * spec.vocab_size * spec.hidden_size if is_last else 0,
            guess_bytes=spec.layer_bytes(precision) + table_bytes if is_last and spec.has_mtp else 0,
        )


def layer_weights(spec: ModelSpec) -> int:
    """Return how many weights one layer's products have."""
    q_size, kv_size = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
    return spec.hidden_size * (2 * q_size + 2 * kv_size + 3 * spec.intermediate_size)


def batch_bytes(cost: StageCost, sizes: Sequence[FrameSize]) -> int:
    """Return the bytes that a batch moves: weights once, each cache, a row of embeddings a position."""
    cached = sum(size.position + size.num_rows for size in sizes) * cost.cache_bytes
    embedded = sum(size.num_rows for size in sizes) * cost.embedding_bytes
    head = cost.head_bytes if any(size.samples for size in sizes) else 0
    guesses = cost.guess_bytes * max((size.num_guessed for size in sizes), default=0)
    return cost.layers_bytes + cached + embedded + head + guesses


def frame_flops(cost: StageCost, size: FrameSize) -> int:
    """Return a frame's floating-point operations; each row looks at itself and all before it."""
    rows = size.num_rows
    looked_at = rows * size.position + rows * (rows + 1) // 2
    head = cost.head_flops if size.samples else 0
    return rows * cost.row_flops + looked_at * cost.attention_flops + head


def batch_seconds(profile: DeviceProfile, cost: StageCost, sizes: Sequence[FrameSize]) -> float:
    """Return how long a batch takes on a cool, healthy device."""
    moving_s = batch_bytes(cost, sizes) / (profile.bandwidth_bytes_per_s * profile.decode_efficiency)
    computing_s = sum(frame_flops(cost, size) for size in sizes) / profile.prefill_flops
    return max(moving_s, computing_s) + profile.frame_overhead_s


def load_seconds(profile: DeviceProfile, num_bytes: int) -> float:
    """Return how long it takes to bring weights from disk into memory."""
    return num_bytes / profile.load_bytes_per_s
