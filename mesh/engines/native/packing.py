"""Matrices in the blocks that the kernels read.

Owns the rearranging of quants and scales, in bulk. Must not know files or layers. The format is told in
kernels.c; `FORMAT` counts its versions, so that what was packed by another one is packed anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesh.engines.native.kernels import BLOCK_BYTES, LANES, Matrix
from mesh.model.quant import Groups, Int8Groups
from mesh.spec import INT4_GROUP

FORMAT = 1

_OFFSET = 128  # quants of 8 bits are stored without a sign


@dataclass(frozen=True, slots=True)
class Packed:
    """A matrix [rows, columns] in blocks; rows are filled up to a multiple of 16 with zeros."""

    blocks: NDArray[np.uint8]
    num_columns: int
    bits: int

    @property
    def num_rows(self) -> int:
        """Rows, those that fill up included."""
        block_bytes = BLOCK_BYTES[self.bits]
        return self.blocks.nbytes // block_bytes * LANES * INT4_GROUP // self.num_columns

    @property
    def matrix(self) -> Matrix:
        """What the kernels take; valid as long as `blocks` lives."""
        return Matrix(self.blocks.ctypes.data, self.num_rows, self.num_columns, self.bits)


def pack_int4(groups: Groups) -> Packed:
    """Pack a matrix of 4 bits; scales and minima are rounded to float16."""
    quants = _in_blocks(groups.quants)
    halves = np.bitwise_or(quants[:, :, :4], np.left_shift(quants[:, :, 4:], 4, dtype=np.uint8))
    return _joined(halves, (groups.scale, groups.minimum), groups.quants.shape[1], 4)


def pack_int8(groups: Int8Groups) -> Packed:
    """Pack a matrix of 8 bits; scales are rounded to float16."""
    raised = (groups.quants.view(np.uint8) + np.uint8(_OFFSET)).astype(np.uint8)
    return _joined(_in_blocks(raised), (groups.scale,), groups.quants.shape[1], 8)


def _in_blocks(quants: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return [blocks of rows, groups, fours, lanes, 4] of [rows, columns]."""
    filled = _filled(quants)
    fours = filled.view(np.uint32).reshape(-1, LANES, quants.shape[1] // INT4_GROUP, INT4_GROUP // 4)
    ordered = np.ascontiguousarray(fours.transpose(0, 2, 3, 1))
    return ordered.view(np.uint8).reshape(*ordered.shape, 4)


def _joined(
    quants: NDArray[np.uint8], columns: tuple[NDArray[np.float32], ...], num_columns: int, bits: int
) -> Packed:
    num_rows, num_groups = quants.shape[:2]
    parts = [quants.reshape(num_rows, num_groups, -1)]
    parts += [_by_block(column) for column in columns]
    return Packed(np.concatenate(parts, axis=-1).reshape(-1), num_columns, bits)


def _by_block(column: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return [blocks of rows, groups, 32 bytes] float16 of [rows, groups]."""
    lanes = _filled(column.astype(np.float16)).reshape(-1, LANES, column.shape[1])
    return np.ascontiguousarray(lanes.transpose(0, 2, 1)).view(np.uint8)


def _filled(rows: NDArray[np.generic]) -> NDArray[np.generic]:
    missing = -len(rows) % LANES
    whole = np.concatenate((rows, np.zeros((missing, *rows.shape[1:]), rows.dtype))) if missing else rows
    return np.ascontiguousarray(whole)
