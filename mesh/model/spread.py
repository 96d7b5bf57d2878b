"""Matrices held by groups in 4 and 8 bits, and spread out for each product.

Owns what lies in memory, which is as many bytes as `mesh.spec` counts, and the spreading, by operators that
every device of torch has. Must not know layers, files or which device it is. For each product a matrix is
read, written out and read again, so one row costs many times what a kernel for groups would take; many rows
share it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mesh.model.placement import Placement
from mesh.model.quant import Floats, Groups, Int8Groups
from mesh.spec import INT4_GROUP

_HALF = INT4_GROUP // 2
_PIECE_WEIGHTS = 1 << 24
"""That are spread at once: 64 MB on the way to them, and the head of a large model is 40 times as much."""

Rows = slice | Tensor
"""Which rows of a matrix: a run of them, or ids [rows] int64."""


class Matrix(Protocol):
    """A matrix [out, in] in memory."""

    shape: tuple[int, int]

    @property
    def num_bytes(self) -> int:
        """Bytes of its weights."""

    def weights(self, rows: Rows) -> Tensor:
        """Return [rows, in] in the type of the activations."""


class Int4Matrix:
    """In 4 bits: byte j of a group holds quant j below and quant j + 16 above; float16 scale and minimum."""

    def __init__(self, groups: Groups, placement: Placement) -> None:
        num_rows, num_columns = groups.quants.shape
        self.shape = num_rows, num_columns
        quants = groups.quants.reshape(num_rows, -1, INT4_GROUP)
        packed = quants[..., :_HALF] | quants[..., _HALF:] << 4
        self._packed = torch.from_numpy(packed).to(placement.device)  # [out, groups, 16]
        self._scale = _column(groups.scale, placement)
        self._minimum = _column(groups.minimum, placement)
        self._dtype = placement.narrow

    @property
    def num_bytes(self) -> int:
        """Bytes of quants, scales and minima."""
        return self._packed.nbytes + self._scale.nbytes + self._minimum.nbytes

    def weights(self, rows: Rows) -> Tensor:
        """Compute quant * scale + minimum in float16, and round once more to the activations' type."""
        packed = self._packed[rows]
        quants = torch.cat((packed & 15, packed >> 4), -1).to(torch.float16)
        spread = torch.addcmul(self._minimum[rows], quants, self._scale[rows])
        return spread.view(-1, self.shape[1]).to(self._dtype)


class Int8Matrix:
    """In 8 bits, with a float16 scale a group."""

    def __init__(self, groups: Int8Groups, placement: Placement) -> None:
        num_rows, num_columns = groups.quants.shape
        self.shape = num_rows, num_columns
        quants = np.ascontiguousarray(groups.quants).reshape(num_rows, -1, INT4_GROUP)
        self._quants = torch.from_numpy(quants).to(placement.device)
        self._scale = _column(groups.scale, placement)
        self._dtype = placement.narrow

    @property
    def num_bytes(self) -> int:
        """Bytes of quants and scales."""
        return self._quants.nbytes + self._scale.nbytes

    def weights(self, rows: Rows) -> Tensor:
        """Compute quant * scale in float16, and round once more to the activations' type."""
        spread = self._quants[rows].to(torch.float16).mul_(self._scale[rows])
        return spread.view(-1, self.shape[1]).to(self._dtype)


class SpreadLinear:
    """A linear map by such a matrix; see `mesh.model.linear.Linear`."""

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix

    @property
    def num_bytes(self) -> int:
        """Bytes of the matrix."""
        return self._matrix.num_bytes

    def __call__(self, rows: Tensor) -> Tensor:
        """Multiply rows [tokens, in]."""
        return _product(rows, self._matrix)


class SpreadTable:
    """The table of tokens as such a matrix [vocab, hidden]; see `mesh.model.linear.Table`."""

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix

    @property
    def num_bytes(self) -> int:
        """Bytes of the matrix."""
        return self._matrix.num_bytes

    def embed(self, ids: Tensor) -> Tensor:
        """Look up ids [tokens]."""
        return self._matrix.weights(ids)

    def logits(self, hidden: Tensor) -> Tensor:
        """Score every token for each row."""
        return _product(hidden, self._matrix).to(torch.float32)


def _column(numbers: Floats, placement: Placement) -> Tensor:
    """Return [out, groups, 1] float16."""
    return torch.from_numpy(numbers.astype(np.float16))[..., None].to(placement.device)


def _product(rows: Tensor, matrix: Matrix) -> Tensor:
    """Multiply rows [tokens, in] piece by piece."""
    parts = [functional.linear(rows, matrix.weights(piece)) for piece in _pieces(matrix)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


def _pieces(matrix: Matrix) -> Iterator[slice]:
    num_rows, num_columns = matrix.shape
    step = max(1, _PIECE_WEIGHTS // num_columns)
    return (slice(start, start + step) for start in range(0, num_rows, step))
