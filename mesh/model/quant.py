"""Formats of weights: what the file holds, and what memory holds.

Owns the arithmetic of blocks and groups on plain arrays. Must not know files, layers or torch.

Source of the blocks: https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesh.model.gguf import TensorType
from mesh.spec import INT4_GROUP

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_MAX_INT4 = 15
_MAX_INT8 = 127


@dataclass(frozen=True, slots=True)
class Groups:
    """A matrix in 4 bits: weight = quant * scale + minimum, by groups along each row."""

    quants: NDArray[np.uint8]
    """[out, in], each 0 to 15."""
    scale: Floats
    """[out, in / INT4_GROUP]."""
    minimum: Floats
    """[out, in / INT4_GROUP]."""


def dequantise(raw: Bytes, kind: TensorType, shape: tuple[int, ...]) -> Floats:
    """Return a tensor's weights, exactly the numbers that the file means, as [*shape] float32."""
    match kind:
        case TensorType.F32:
            weights = raw.view("<f4").astype(np.float32)
        case TensorType.F16:
            weights = raw.view("<f2").astype(np.float32)
        case TensorType.BF16:
            weights = (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
        case TensorType.Q8_0:
            weights = _dequantise_q8_0(raw)
        case TensorType.Q4_0 | TensorType.Q4_1:
            weights = _dequantise_q4(raw, kind)
    return weights.reshape(shape)


def to_groups(raw: Bytes, kind: TensorType, shape: tuple[int, ...]) -> Groups:
    """Return a matrix in 4 bits: the file's own quants where it has 4 bits, rounded anew otherwise.

    The matrix is [out, in] with `in` a multiple of INT4_GROUP.
    """
    if kind in (TensorType.Q4_0, TensorType.Q4_1):
        quants, scale, minimum = _unpack_q4(raw, kind)
        grouped = (shape[0], shape[1] // INT4_GROUP)
        return Groups(quants.reshape(shape), scale.reshape(grouped), minimum.reshape(grouped))
    return round_to_groups(dequantise(raw, kind, shape))


def round_to_groups(weights: Floats) -> Groups:
    """Round a matrix [out, in] to 4 bits; each group spans exactly from its least weight to its largest."""
    rows, columns = weights.shape
    groups = weights.reshape(rows, columns // INT4_GROUP, INT4_GROUP)
    minimum = groups.min(-1)
    scale = (groups.max(-1) - minimum) / np.float32(_MAX_INT4)
    steps = (groups - minimum[..., None]) / np.where(scale == 0, np.float32(1), scale)[..., None]
    quants = np.clip(np.rint(steps), 0, _MAX_INT4).astype(np.uint8)
    return Groups(quants.reshape(weights.shape), scale, minimum)


def round_rows(weights: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Round each row of [rows, columns] to 8 bits; return the quants and a scale a row.

    weight = quant * scale. The scale is a bf16 number, rounded up so that no weight is cut off.
    """
    largest = np.maximum(np.abs(weights).max(-1), np.finfo(np.float32).tiny * 1024)
    scale = _round_up_to_bf16(largest / np.float32(_MAX_INT8))
    quants = np.rint(weights / scale[:, None])
    return quants.astype(np.int8), scale


def _round_up_to_bf16(positive: Floats) -> Floats:
    return ((positive.view(np.uint32) + np.uint32(0xFFFF)) & np.uint32(0xFFFF0000)).view(np.float32)


def _blocks(raw: Bytes, kind: TensorType) -> Bytes:
    return raw.reshape(-1, kind.block_bytes)


def _half(blocks: Bytes, column: int) -> Floats:
    """Read the float16 that starts at a byte of every block, as [blocks, 1]."""
    return blocks[:, column : column + 2].copy().view("<f2").astype(np.float32)


def _dequantise_q8_0(raw: Bytes) -> Floats:
    blocks = _blocks(raw, TensorType.Q8_0)
    return blocks[:, 2:].view(np.int8).astype(np.float32) * _half(blocks, 0)


def _dequantise_q4(raw: Bytes, kind: TensorType) -> Floats:
    quants, scale, minimum = _unpack_q4(raw, kind)
    if kind is TensorType.Q4_0:  # the format's own order of operations, which rounds once
        return (quants.astype(np.int8) - 8).astype(np.float32) * scale
    return quants.astype(np.float32) * scale + minimum


def _unpack_q4(raw: Bytes, kind: TensorType) -> tuple[Bytes, Floats, Floats]:
    """Return quants [blocks, 32], scale and minimum [blocks, 1].

    Byte i of a block holds weight i in its low half and weight i + 16 in its high half.
    """
    blocks = _blocks(raw, kind)
    packed = blocks[:, kind.block_bytes - kind.block_size // 2 :]
    quants = np.concatenate((packed & 0x0F, packed >> 4), axis=-1)
    scale = _half(blocks, 0)
    minimum = _half(blocks, 2) if kind is TensorType.Q4_1 else -8 * scale
    return quants, scale, minimum
