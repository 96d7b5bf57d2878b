"""Matrices in memory: linear maps and the table of tokens, by torch's operators for this processor, or plain.

Owns the packing and the kernels. Must not know layers, files or positions. What is spread out for each
product is in `mesh.model.spread`.

The kernels for int4 matrices and for the int8 table with a scale a row give a row the same bits whatever
rows stand beside it, which the mesh's exactness rests on; a plain `F.linear` does not.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mesh.model.quant import Floats, Groups, round_rows
from mesh.spec import INT4_GROUP

_MIDDLE = 8
"""The int4 kernel computes (quant - 8) * scale + zero."""


class Linear(Protocol):
    """A map of rows [tokens, in] to rows [tokens, out]."""

    @property
    def num_bytes(self) -> int:
        """Bytes of its weights."""

    def __call__(self, rows: Tensor) -> Tensor:
        """Multiply; the result has the type of the rows."""


class Table(Protocol):
    """One row of numbers a token, read both ways: as embedding and as output head."""

    @property
    def num_bytes(self) -> int:
        """Bytes of its weights."""

    def embed(self, ids: Tensor) -> Tensor:
        """Look up ids [tokens] as hidden states [tokens, hidden]."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Score every token for each row: [tokens, hidden] to [tokens, vocab] float32."""


class PlainLinear:
    """A matrix [out, in] in the type of the rows."""

    def __init__(self, weights: Tensor) -> None:
        self._weights = weights

    @property
    def num_bytes(self) -> int:
        """Bytes of its weights."""
        return self._weights.nbytes

    def __call__(self, rows: Tensor) -> Tensor:
        """Multiply rows [tokens, in]."""
        return functional.linear(rows, self._weights)


class Int4Linear:
    """A matrix [out, in] in 4 bits by groups; rows are bf16.

    The kernel is fast with bf16 rows only: in other types it falls to scalar code.
    """

    def __init__(self, groups: Groups) -> None:
        quants = torch.from_numpy(groups.quants.astype(np.int32))
        self._packed: Tensor = torch.ops.aten._convert_weight_to_int4pack_for_cpu(quants, 1)
        self._scale_and_zero = _scale_and_zero(groups)

    @property
    def num_bytes(self) -> int:
        """Bytes of quants, scales and zeros."""
        return self._packed.nbytes + self._scale_and_zero.nbytes

    def __call__(self, rows: Tensor) -> Tensor:
        """Multiply rows [tokens, in]."""
        product: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(
            rows, self._packed, INT4_GROUP, self._scale_and_zero
        )
        return product


def _scale_and_zero(groups: Groups) -> Tensor:
    """Return [in / group, out, 2] bf16, as the kernel wants them."""
    scale = torch.from_numpy(groups.scale)
    zero = torch.from_numpy(groups.minimum + np.float32(_MIDDLE) * groups.scale)
    return torch.stack((scale.T, zero.T), dim=-1).to(torch.bfloat16).contiguous()


class PlainTable:
    """The table [vocab, hidden] in the type of the hidden states."""

    def __init__(self, weights: Tensor) -> None:
        self._weights = weights

    @property
    def num_bytes(self) -> int:
        """Bytes of its weights."""
        return self._weights.nbytes

    def embed(self, ids: Tensor) -> Tensor:
        """Look up ids [tokens]."""
        return functional.embedding(ids, self._weights)

    def logits(self, hidden: Tensor) -> Tensor:
        """Score every token for each row."""
        return functional.linear(hidden, self._weights).to(torch.float32)


class Int8Table:
    """The table [vocab, hidden] in 8 bits with one bf16 scale a row; hidden states are bf16."""

    def __init__(self, weights: Floats) -> None:
        quants, scale = round_rows(weights)
        self._quants = torch.from_numpy(quants)
        self._scale = torch.from_numpy(scale).to(torch.bfloat16)

    @property
    def num_bytes(self) -> int:
        """Bytes of quants and scales."""
        return self._quants.nbytes + self._scale.nbytes

    def embed(self, ids: Tensor) -> Tensor:
        """Look up ids [tokens]; the product of quant and scale is rounded to bf16 once."""
        return self._quants[ids].to(torch.bfloat16) * self._scale[ids, None]

    def logits(self, hidden: Tensor) -> Tensor:
        """Score every token for each row; the kernel's sums are float32, its results bf16."""
        scores: Tensor = torch.ops.aten._weight_int8pack_mm(hidden, self._quants, self._scale)
        return scores.to(torch.float32)
