"""Attention over a session's cache, and the rotary positions of queries and keys.

Owns the shapes in which the kernel is called. Must not know weights, or whose cache it reads.

The bf16 kernel's bits depend on how many rows and keys it is called with. For a position's result to be
the same however its prompt was cut into chunks, every call is brought to one of few shapes that were
measured to agree: queries in blocks that never cross a multiple of 16 positions, filled up to 2, 8 or 16
rows by repeating the last; keys padded to a multiple of 16 up to 512, and of 512 beyond. One row alone,
odd counts of rows, strided queries and finer padding each changed bits somewhere. In the form ANYWHERE no
such shapes are known, so blocks are large, and no more keys are read than a cache's pages hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from mesh.model.placement import Form, Placement
from mesh.spec import ModelSpec

_FINE_KEYS = 16
_FINE_UP_TO = 512


@dataclass(frozen=True, slots=True)
class _Shapes:
    """In which shapes the kernel is called."""

    block_rows: int
    """Blocks never cross a multiple of so many positions."""
    filled_rows: tuple[int, ...]
    """Counts of rows that blocks are filled up to; none: they stay as they are."""
    coarse_keys: int
    """Keys are padded to a multiple of so many, beyond _FINE_UP_TO."""


_SHAPES = {
    Form.PROCESSOR: _Shapes(block_rows=16, filled_rows=(2, 8, 16), coarse_keys=512),
    Form.ANYWHERE: _Shapes(block_rows=256, filled_rows=(), coarse_keys=_FINE_KEYS),
}


def padded_keys(count: int, form: Form) -> int:
    """Return how many keys attention reads where `count` are asked for."""
    unit = _FINE_KEYS if count <= _FINE_UP_TO else _SHAPES[form].coarse_keys
    return -(-count // unit) * unit


@dataclass(frozen=True, slots=True)
class Block:
    """Rows [first, end) of a frame that attend together, and what each of them may see."""

    first: int
    end: int
    mask: Tensor
    """[filled rows * group, padded keys], 0 or minus infinity."""


def blocks(start: int, num_tokens: int, group: int, dtype: torch.dtype, placement: Placement) -> list[Block]:
    """Cut a frame of rows at positions [start, start + num_tokens) into blocks.

    `group` is the number of query heads that share a key-value head.
    """
    end, step = start + num_tokens, _SHAPES[placement.form].block_rows
    edges = [start, *range(start - start % step + step, end, step), end]
    return [
        Block(first - start, last - start, _mask(first, last, group, dtype, placement))
        for first, last in pairwise(edges)
    ]


def _mask(first: int, end: int, group: int, dtype: torch.dtype, placement: Placement) -> Tensor:
    """Let the row at each position see that position and all before it."""
    shapes, device = _SHAPES[placement.form], placement.device
    num_rows = next((rows for rows in shapes.filled_rows if rows >= end - first), end - first)
    positions = torch.arange(first, first + num_rows, device=device).clamp_max_(end - 1)
    keys = torch.arange(padded_keys(end, placement.form), device=device)
    hidden = keys > positions.repeat_interleave(group)[:, None]
    return torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill_(hidden, float("-inf"))


def attend(queries: Tensor, keys: Tensor, values: Tensor, plan: Sequence[Block]) -> Tensor:
    """Return [tokens, heads * head_dim] for queries [tokens, heads, head_dim].

    Keys and values are the cache's, [kv_heads, positions, head_dim], the frame's own rows included.
    """
    parts = [_attend_block(queries[block.first : block.end], keys, values, block.mask) for block in plan]
    return joined(parts)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Put tensors one behind the other; copies nothing where there is one."""
    return parts[0] if len(parts) == 1 else torch.cat(tuple(parts))


def _attend_block(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Attend one block; query heads that share a key-value head become rows of one call."""
    num_tokens, num_heads, head_dim = queries.shape
    num_kv_heads, num_keys = keys.shape[0], mask.shape[1]
    group = num_heads // num_kv_heads
    rows = _filled(queries, mask.shape[0] // group).view(-1, num_kv_heads, group, head_dim)
    mixed = functional.scaled_dot_product_attention(
        rows.transpose(0, 1).reshape(1, num_kv_heads, -1, head_dim).contiguous(),
        keys[None, :, :num_keys],
        values[None, :, :num_keys],
        attn_mask=mask,
    )  # [1, kv_heads, rows * group, head_dim]
    by_token = mixed.view(num_kv_heads, -1, group, head_dim).transpose(0, 1)
    return by_token[:num_tokens].reshape(num_tokens, -1)


def _filled(queries: Tensor, num_rows: int) -> Tensor:
    """Repeat the last of [tokens, heads, head_dim] until there are so many rows."""
    missing = num_rows - queries.shape[0]
    if not missing:
        return queries
    return torch.cat((queries, queries[-1:].expand(missing, -1, -1)))


class Rotary:
    """Tables of the rotary embedding in its half-split form: number i pairs with i + head_dim / 2.

    Source: Su et al., RoFormer (2021), in the arithmetic of transformers' Llama (float32 angles). They are
    computed on the processor for every device, because sines differ.
    """

    def __init__(self, spec: ModelSpec, dtype: torch.dtype, device: torch.device) -> None:
        head_dim = spec.head_dim
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
        self._frequencies = 1.0 / spec.rope_base**exponents
        if spec.rope_factors:
            self._frequencies /= torch.tensor(spec.rope_factors)
        self._cos = torch.empty(0, head_dim, dtype=dtype, device=device)
        self._sin = torch.empty(0, head_dim, dtype=dtype, device=device)

    def reserve(self, positions: int) -> None:
        """Make the tables reach at least so many positions; they grow by the page.

        Pages have one shape, so a position's numbers do not depend on when the tables grew.
        """
        if positions <= self._cos.shape[0]:
            return
        starts = range(self._cos.shape[0], positions, _PAGE)
        pages = [self._page(start) for start in starts]
        self._cos = torch.cat((self._cos, *(cos for cos, _ in pages)))
        self._sin = torch.cat((self._sin, *(sin for _, sin in pages)))

    def at(self, runs: Sequence[range]) -> Turn:
        """Return the turn of rows at runs of positions, one behind the other; they must be reserved."""
        cos = [self._cos[run.start : run.stop] for run in runs]
        sin = [self._sin[run.start : run.stop] for run in runs]
        return Turn(joined(cos)[:, None], joined(sin)[:, None])

    def _page(self, start: int) -> tuple[Tensor, Tensor]:
        positions = torch.arange(start, start + _PAGE, dtype=torch.float32)
        angles = positions[:, None] * self._frequencies
        cos, sin = angles.cos(), angles.sin()
        return torch.cat((cos, cos), -1).to(self._cos), torch.cat((-sin, sin), -1).to(self._sin)


_PAGE = 64


@dataclass(frozen=True, slots=True)
class Turn:
    """Cosines and signed sines of some rows: [tokens, 1, head_dim]."""

    cos: Tensor
    sin: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Rotate [tokens, heads, head_dim] by position."""
        swapped = rows.roll(rows.shape[-1] // 2, -1)
        return torch.addcmul(rows * self.cos, swapped, self.sin)
