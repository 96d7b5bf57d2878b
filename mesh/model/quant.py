"""Formats of weights: what the file holds, and what memory holds.

Owns the arithmetic of groups on plain arrays. Must not know files, layers or torch. A weight that is no
number stays one: its group's scale is not finite, so whoever checks results sees it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesh.model.bf16 import widen
from mesh.model.blocks import Bytes as Bytes  # both are part of this module's signatures
from mesh.model.blocks import Floats as Floats
from mesh.model.blocks import unpack
from mesh.model.tensors import TensorType
from mesh.spec import INT4_GROUP

_MAX_INT4 = 15
_MAX_INT8 = 127
_PIECE_WEIGHTS = 1 << 20
"""Weights that are rounded at once: what is made on the way stays small, and near the processor."""

_IN_4_BITS = (TensorType.Q4_0, TensorType.Q4_1, TensorType.Q4_K)


@dataclass(frozen=True, slots=True)
class Groups:
    """A matrix in 4 bits: weight = quant * scale + minimum, by groups along each row."""

    quants: NDArray[np.uint8]
    """[out, in], each 0 to 15."""
    scale: Floats
    """[out, in / INT4_GROUP]."""
    minimum: Floats
    """[out, in / INT4_GROUP]."""

    @property
    def halves(self) -> tuple[Groups, Groups]:
        """The left and the right half of the columns, each of whole groups."""
        parts = zip(
            *(np.split(array, 2, axis=1) for array in (self.quants, self.scale, self.minimum)), strict=True
        )
        left, right = (Groups(*part) for part in parts)
        return left, right


@dataclass(frozen=True, slots=True)
class Int8Groups:
    """A matrix in 8 bits: weight = quant * scale, by groups along each row."""

    quants: NDArray[np.int8]
    """[out, in], each -127 to 127, or -128 where a file says so."""
    scale: Floats
    """[out, in / INT4_GROUP], numbers that float16 can hold."""

    @property
    def halves(self) -> tuple[Int8Groups, Int8Groups]:
        """The left and the right half of the columns, each of whole groups."""
        parts = zip(*(np.split(array, 2, axis=1) for array in (self.quants, self.scale)), strict=True)
        left, right = (Int8Groups(*part) for part in parts)
        return left, right


def dequantise(raw: Bytes, kind: TensorType, shape: tuple[int, ...]) -> Floats:
    """Return a tensor's weights, exactly the numbers that the file means, as [*shape] float32."""
    match kind:
        case TensorType.F32:
            weights = raw.view("<f4").astype(np.float32)
        case TensorType.F16:
            weights = raw.view("<f2").astype(np.float32)
        case TensorType.BF16:
            weights = widen(raw.view("<u2"))
        case _:
            weights = unpack(raw, kind).weights()
    return weights.reshape(shape)


def to_groups(raw: Bytes, kind: TensorType, shape: tuple[int, ...]) -> Groups:
    """Return a matrix in 4 bits: the file's own quants where it has 4 bits, rounded anew otherwise.

    The matrix is [out, in] with `in` a multiple of INT4_GROUP.
    """
    num_rows, num_columns = shape
    grouped = (num_rows, num_columns // INT4_GROUP)
    if kind in _IN_4_BITS:
        blocks = unpack(raw, kind)
        assert blocks.minimum is not None  # all three formats have one
        quants = blocks.quants.astype(np.uint8, copy=False).reshape(shape)
        return Groups(quants, blocks.scale.reshape(grouped), blocks.minimum.reshape(grouped))
    groups = Groups(np.empty(shape, np.uint8), np.empty(grouped, np.float32), np.empty(grouped, np.float32))
    for rows, weights in _pieces(raw, kind, shape):
        piece = round_to_groups(weights)
        groups.quants[rows], groups.scale[rows], groups.minimum[rows] = (
            piece.quants,
            piece.scale,
            piece.minimum,
        )
    return groups


def to_int8_groups(raw: Bytes, kind: TensorType, shape: tuple[int, ...]) -> Int8Groups:
    """Return a matrix in 8 bits: the file's own numbers for Q8_0, rounded otherwise.

    The matrix is [out, in] with `in` a multiple of INT4_GROUP.
    """
    num_rows, num_columns = shape
    grouped = (num_rows, num_columns // INT4_GROUP)
    if kind is TensorType.Q8_0:
        blocks = unpack(raw, kind)
        return Int8Groups(blocks.quants.astype(np.int8).reshape(shape), blocks.scale.reshape(grouped))
    groups = Int8Groups(np.empty(shape, np.int8), np.empty(grouped, np.float32))
    for rows, weights in _pieces(raw, kind, shape):
        piece = round_to_int8_groups(weights)
        groups.quants[rows], groups.scale[rows] = piece.quants, piece.scale
    return groups


def round_to_groups(weights: Floats) -> Groups:
    """Round a matrix [out, in] to 4 bits; each group spans exactly from its least weight to its largest."""
    groups = weights.reshape(weights.shape[0], -1, INT4_GROUP)
    with np.errstate(invalid="ignore", over="ignore"):
        minimum = groups.min(-1)
        scale = (groups.max(-1) - minimum) / np.float32(_MAX_INT4)
        steps = (groups - minimum[..., None]) * _inverse(scale)
    quants = np.clip(np.rint(np.nan_to_num(steps)), 0, _MAX_INT4).astype(np.uint8)
    return Groups(quants.reshape(weights.shape), scale, minimum)


def round_to_int8_groups(weights: Floats) -> Int8Groups:
    """Round a matrix [out, in] to 8 bits; the largest weight of a group becomes 127 or -127.

    Weights beyond what float16 scales can reach make their group's scale infinite.
    """
    groups = weights.reshape(weights.shape[0], -1, INT4_GROUP)
    with np.errstate(invalid="ignore", over="ignore"):
        largest = np.abs(groups).max(-1)
        scale = (largest / np.float32(_MAX_INT8)).astype(np.float16).astype(np.float32)
        steps = groups * _inverse(scale)
    quants = np.clip(np.rint(np.nan_to_num(steps)), -_MAX_INT8, _MAX_INT8).astype(np.int8)
    return Int8Groups(quants.reshape(weights.shape), scale)


def stack_groups(parts: Sequence[Groups]) -> Groups:
    """Put matrices of the same `in` one below the other, so that one product computes them all."""
    if len(parts) == 1:
        return parts[0]
    return Groups(
        np.concatenate([part.quants for part in parts]),
        np.concatenate([part.scale for part in parts]),
        np.concatenate([part.minimum for part in parts]),
    )


def stack_int8_groups(parts: Sequence[Int8Groups]) -> Int8Groups:
    """Put matrices of the same `in` one below the other, as `stack_groups` does."""
    if len(parts) == 1:
        return parts[0]
    return Int8Groups(
        np.concatenate([part.quants for part in parts]), np.concatenate([part.scale for part in parts])
    )


def round_rows(weights: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Round each row of [rows, columns] to 8 bits; return the quants and a scale a row.

    weight = quant * scale. The scale is a bf16 number, rounded up so that no weight is cut off.
    """
    largest = np.maximum(np.abs(weights).max(-1), np.finfo(np.float32).tiny * 1024)
    scale = _round_up_to_bf16(largest / np.float32(_MAX_INT8))
    quants = np.rint(weights / scale[:, None])
    return quants.astype(np.int8), scale


def _pieces(raw: Bytes, kind: TensorType, shape: tuple[int, ...]) -> Iterator[tuple[slice, Floats]]:
    """Yield a matrix's weights by runs of rows."""
    num_rows, num_columns = shape
    by_rows = raw.reshape(num_rows, -1)
    step = max(1, _PIECE_WEIGHTS // num_columns)
    for start in range(0, num_rows, step):
        rows = slice(start, min(start + step, num_rows))
        yield rows, dequantise(by_rows[rows].reshape(-1), kind, (rows.stop - rows.start, num_columns))


def _inverse(scale: Floats) -> Floats:
    """Return 1 / scale as [out, groups, 1]; 0 where a scale is 0 or no number, for then all quants are 0."""
    usable = scale > 0
    inverse: Floats = np.where(usable, 1 / np.where(usable, scale, np.float32(1)), np.float32(0))
    return inverse[..., None]


def _round_up_to_bf16(positive: Floats) -> Floats:
    return ((positive.view(np.uint32) + np.uint32(0xFFFF)) & np.uint32(0xFFFF0000)).view(np.float32)
