"""Attention over a session's cache, and the rotary positions of queries and keys.

Owns the shapes in which the kernel is called. Must not know weights, or whose cache it reads.

The bf16 kernel's bits depend on how many rows and keys it is called with. For a position's result to be
the same however its prompt was cut into chunks, every call is brought to one of few shapes that were
measured to agree: queries in blocks that never cross a multiple of 16 positions, filled up to 2, 8 or 16
rows by repeating the last; keys padded to a multiple of 16 up to 512, and of 512 beyond. One row alone,
odd counts of rows, strided queries and finer padding each changed bits somewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

_BLOCK_ROWS = 16
_FILLED_ROWS = (2, 8, 16)
_FINE_KEYS = 16
_COARSE_KEYS = 512


def padded_keys(count: int) -> int:
    """Return how many keys attention reads where `count` are asked for."""
    unit = _FINE_KEYS if count <= _COARSE_KEYS else _COARSE_KEYS
    return -(-count // unit) * unit


@dataclass(frozen=True, slots=True)
class Block:
    """Rows [first, end) of a frame that attend together, and what each of them may see."""

    first: int
    end: int
    mask: Tensor
    """[filled rows * group, padded keys], 0 or minus infinity."""


def blocks(start: int, num_tokens: int, group: int, dtype: torch.dtype) -> list[Block]:
    """Cut a frame of rows at positions [start, start + num_tokens) into blocks.

    `group` is the number of query heads that share a key-value head.
    """
    end = start + num_tokens
    edges = [start, *range(start - start % _BLOCK_ROWS + _BLOCK_ROWS, end, _BLOCK_ROWS), end]
    return [
        Block(first - start, last - start, _mask(first, last, group, dtype))
        for first, last in pairwise(edges)
    ]


def _mask(first: int, end: int, group: int, dtype: torch.dtype) -> Tensor:
    """Let the row at each position see that position and all before it."""
    num_rows = next(rows for rows in _FILLED_ROWS if rows >= end - first)
    positions = torch.arange(first, first + num_rows).clamp_max_(end - 1).repeat_interleave(group)
    hidden = torch.arange(padded_keys(end)) > positions[:, None]
    return torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, float("-inf"))


def attend(queries: Tensor, keys: Tensor, values: Tensor, plan: Sequence[Block]) -> Tensor:
    """Return [tokens, heads * head_dim] for queries [tokens, heads, head_dim].

    Keys and values are the cache's, [kv_heads, positions, head_dim], the frame's own rows included.
    """
    parts = [_attend_block(queries[block.first : block.end], keys, values, block.mask) for block in plan]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


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

    Source: Su et al., RoFormer (2021), in the arithmetic of transformers' Llama (float32 angles).
    """

    def __init__(self, head_dim: int, base: float, dtype: torch.dtype) -> None:
        self._dtype = dtype
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
        self._frequencies = 1.0 / base**exponents
        self._cos = torch.empty(0, head_dim, dtype=dtype)
        self._sin = torch.empty(0, head_dim, dtype=dtype)

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

    def at(self, start: int, num_tokens: int) -> Turn:
        """Return the turn of rows at positions [start, start + num_tokens), which must be reserved."""
        rows = slice(start, start + num_tokens)
        return Turn(self._cos[rows, None], self._sin[rows, None])

    def _page(self, start: int) -> tuple[Tensor, Tensor]:
        positions = torch.arange(start, start + _PAGE, dtype=torch.float32)
        angles = positions[:, None] * self._frequencies
        cos, sin = angles.cos(), angles.sin()
        return torch.cat((cos, cos), -1).to(self._dtype), torch.cat((-sin, sin), -1).to(self._dtype)


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
