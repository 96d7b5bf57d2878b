"""Blocks of quantised weights, taken apart.

Owns where each format keeps its quants, scales and minima. Must not know matrices, files or torch. All is
computed as the format's own reference does it, in the same order, so that the results are equal bit for bit.

Source: https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesh.model.tensors import TensorType

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_FOUR = np.uint8(4)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Quants with what turns them into weights: weight = quant * scale + minimum."""

    quants: NDArray[np.uint8] | NDArray[np.int8]
    """[groups, weights of a group]."""
    scale: Floats
    """[groups, 1]."""
    minimum: Floats | None
    """[groups, 1]; None for formats that have none."""

    def weights(self) -> Floats:
        """Return the weights, [groups, weights of a group]."""
        weights: Floats = self.quants.astype(np.float32)
        with np.errstate(invalid="ignore"):  # a damaged scale makes weights that are no numbers: see quant
            weights *= self.scale
            if self.minimum is not None:
                weights += self.minimum
        return weights


def unpack(raw: Bytes, kind: TensorType) -> Unpacked:
    """Take the blocks of a quantised format apart; the groups come in the order of their weights.

    Raises KeyError for a format that has no quants.
    """
    return _FORMATS[kind](raw.reshape(-1, kind.block_bytes))


def _q4_0(blocks: Bytes) -> Unpacked:
    scale = _half(blocks, 0)
    return Unpacked(_nibbles(blocks[:, 2:], 16), scale, -8 * scale)


def _q4_1(blocks: Bytes) -> Unpacked:
    return Unpacked(_nibbles(blocks[:, 4:], 16), _half(blocks, 0), _half(blocks, 2))


def _q5_0(blocks: Bytes) -> Unpacked:
    scale = _half(blocks, 0)
    return Unpacked(_nibbles(blocks[:, 6:], 16) | _fifth_bits(blocks[:, 2:6]), scale, -16 * scale)


def _q5_1(blocks: Bytes) -> Unpacked:
    quants = _nibbles(blocks[:, 8:], 16) | _fifth_bits(blocks[:, 4:8])
    return Unpacked(quants, _half(blocks, 0), _half(blocks, 2))


def _q8_0(blocks: Bytes) -> Unpacked:
    return Unpacked(blocks[:, 2:].view(np.int8), _half(blocks, 0), None)


def _q4_k(blocks: Bytes) -> Unpacked:
    return Unpacked(_nibbles(blocks[:, 16:], 32), *_scales_and_minima(blocks))


def _q5_k(blocks: Bytes) -> Unpacked:
    quants = _nibbles(blocks[:, 48:], 32) | _shifted(blocks[:, 16:48], 1) << _FOUR
    return Unpacked(quants, *_scales_and_minima(blocks))


def _q6_k(blocks: Bytes) -> Unpacked:
    """Six bits: the low four at [0, 128), the high two at [128, 192), 16 scales of 16 weights, a float16."""
    quants = _nibbles(blocks[:, :128], 64) | _shifted(blocks[:, 128:192], 2) << _FOUR
    scale = _half(blocks, 208) * blocks[:, 192:208].view(np.int8)
    signed = quants.view(np.int8) - np.int8(32)
    return Unpacked(signed.reshape(-1, 16), scale.reshape(-1, 1), None)


_FORMATS: dict[TensorType, Callable[[Bytes], Unpacked]] = {
    TensorType.Q4_0: _q4_0,
    TensorType.Q4_1: _q4_1,
    TensorType.Q5_0: _q5_0,
    TensorType.Q5_1: _q5_1,
    TensorType.Q8_0: _q8_0,
    TensorType.Q4_K: _q4_k,
    TensorType.Q5_K: _q5_k,
    TensorType.Q6_K: _q6_k,
}


def _nibbles(packed: Bytes, run: int) -> Bytes:
    """Split [blocks, bytes] into [groups, 32]: of each run of bytes first the low halves, then the high."""
    runs = packed.reshape(-1, run)
    quants = np.empty((runs.shape[0], 2, run), np.uint8)
    np.bitwise_and(runs, 0x0F, out=quants[:, 0])
    np.right_shift(runs, 4, out=quants[:, 1])
    return quants.reshape(-1, 32)


def _fifth_bits(packed: Bytes) -> Bytes:
    """Spread [blocks, 4] to [blocks, 32]: bit i, from the lowest on, is the fifth of weight i."""
    return np.unpackbits(packed, axis=-1, bitorder="little") << _FOUR


def _shifted(packed: Bytes, bits: int) -> Bytes:
    """Split [blocks, bytes] into [groups, 32]: of each run of 32 bytes the lowest bits first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    parts = packed.reshape(-1, 1, 32) >> shifts & np.uint8((1 << bits) - 1)
    return parts.reshape(-1, 32)


def _scales_and_minima(blocks: Bytes) -> tuple[Floats, Floats]:
    """Read Q4_K's and Q5_K's eight scales and minima of six bits, each times the block's own float16.

    Twelve bytes from the fourth on: low six bits of scales 0 to 3, then of minima 0 to 3, each byte with
    two bits of number 4 to 7 on top; then the low four bits of scales 4 to 7 beside those of the minima.
    """
    first, second, low = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scale = np.concatenate((first & 0x3F, low & 0x0F | first >> 2 & 0x30), axis=-1)
    minimum = np.concatenate((second & 0x3F, low >> 4 | second >> 2 & 0x30), axis=-1)
    return (_half(blocks, 0) * scale).reshape(-1, 1), -(_half(blocks, 2) * minimum).reshape(-1, 1)


def _half(blocks: Bytes, column: int) -> Floats:
    """Read the float16 that starts at a byte of every block, as [blocks, 1]."""
    return blocks[:, column : column + 2].copy().view("<f2").astype(np.float32)
