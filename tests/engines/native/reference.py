"""The network in float64, step by step, with the weights that the packed ones mean.

Owns an independent way to the same numbers: heads turned as complex numbers, attention as one matrix. Hidden
states and caches are not rounded; activations may be, to 8 bits, as the engine's are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesh.model.gguf import GgufFile
from mesh.model.quant import dequantise, to_groups, to_int8_groups
from mesh.spec import INT4_GROUP, ModelSpec
from mesh.types import Precision

Doubles = NDArray[np.float64]


@cache
def meant(path: Path, name: str, precision: Precision) -> Doubles:
    """Return a tensor as the engine holds it: matrices in 4 or 8 bits with float16 scales."""
    with GgufFile.open(path) as file:
        info, raw = file.tensors[name], file.raw(name)
        if len(info.shape) == 1:
            return dequantise(raw, info.type, info.shape).astype(np.float64)
        if precision is Precision.INT8 or not name.startswith("blk"):
            eight = to_int8_groups(raw, info.type, info.shape)
            return eight.quants * _spread(eight.scale)
        four = to_groups(raw, info.type, info.shape)
        return four.quants * _spread(four.scale) + _spread(four.minimum)


def _spread(numbers: NDArray[np.float32]) -> Doubles:
    """Give every column its group's number, rounded to float16."""
    return np.repeat(numbers.astype(np.float16).astype(np.float64), INT4_GROUP, axis=1)


def rounded(rows: Doubles) -> Doubles:
    """Round rows to 8 bits by groups: 127 steps to the largest number of each."""
    groups = rows.reshape(len(rows), -1, INT4_GROUP)
    step = step_of(rows)[..., None]
    return np.asarray(np.rint(groups / np.where(step, step, 1)) * step).reshape(rows.shape)


def step_of(rows: Doubles) -> Doubles:
    """Return the step of each group: [rows, groups]."""
    return np.asarray(np.abs(rows.reshape(len(rows), -1, INT4_GROUP)).max(-1) / 127)


def norm(rows: Doubles, weight: Doubles, epsilon: float) -> Doubles:
    return np.asarray(rows / np.sqrt((rows**2).mean(-1, keepdims=True) + epsilon) * weight)


@dataclass(frozen=True, slots=True)
class Reference:
    """One layer of a model."""

    path: Path
    spec: ModelSpec
    precision: Precision
    rounds: bool
    """Whether activations are rounded to 8 bits before each product."""

    def layer(self, index: int, rows: Doubles) -> Doubles:
        """Run a prompt's hidden states [positions, hidden] through a layer."""
        rows = rows + self._times(self._attention(index, rows), index, "attn_output")
        normed = norm(rows, self._weight(index, "ffn_norm"), self.spec.rms_norm_eps)
        gate, up = self._times(normed, index, "ffn_gate"), self._times(normed, index, "ffn_up")
        return rows + self._times(_silu(gate) * up, index, "ffn_down")

    def _attention(self, index: int, rows: Doubles) -> Doubles:
        spec = self.spec
        normed = norm(rows, self._weight(index, "attn_norm"), spec.rms_norm_eps)
        query, key, value = (self._heads(normed, index, role) for role in ("attn_q", "attn_k", "attn_v"))
        group = spec.num_heads // spec.num_kv_heads
        key, value = (np.repeat(each, group, axis=0) for each in (key, value))
        scores = query @ key.swapaxes(1, 2) / np.sqrt(spec.head_dim)  # [heads, positions, positions]
        scores[:, *np.triu_indices(len(rows), 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = weights / weights.sum(-1, keepdims=True) @ value
        return np.asarray(mixed.swapaxes(0, 1).reshape(len(rows), -1))

    def _heads(self, normed: Doubles, index: int, role: str) -> Doubles:
        """Return q, k or v as [heads, positions, head_dim], q and k turned."""
        joint = self._times(normed, index, role)
        if self.spec.attention_bias:
            joint = joint + meant(self.path, f"blk.{index}.{role}.bias", self.precision)
        heads = joint.reshape(len(normed), -1, self.spec.head_dim)
        if role != "attn_v":
            if self.spec.head_norm:
                heads = norm(heads, self._weight(index, f"{role}_norm"), self.spec.rms_norm_eps)
            heads = self._turned(heads)
        return heads.swapaxes(0, 1)

    def _turned(self, heads: Doubles) -> Doubles:
        """Turn each pair by its angle; pairs lie apart by half a head, or side by side in files of llama."""
        spec, half = self.spec, self.spec.head_dim // 2
        angles = spec.rope_base ** (-np.arange(half) / half) / (spec.rope_factors or 1)
        turn = np.exp(1j * np.arange(len(heads))[:, None, None] * angles)
        if spec.architecture == "llama":
            pairs = (heads[..., ::2] + 1j * heads[..., 1::2]) * turn
        else:
            pairs = (heads[..., :half] + 1j * heads[..., half:]) * turn
        # Scores are sums over pairs: their order does not matter as long as q and k have the same.
        return np.concatenate((pairs.real, pairs.imag), axis=-1)

    def _times(self, rows: Doubles, index: int, role: str) -> Doubles:
        return (rounded(rows) if self.rounds else rows) @ self._weight(index, role).T

    def _weight(self, index: int, role: str) -> Doubles:
        return meant(self.path, f"blk.{index}.{role}.weight", self.precision)


def _silu(x: Doubles) -> Doubles:
    return np.asarray(x * np.exp(-np.logaddexp(0, -x)))
