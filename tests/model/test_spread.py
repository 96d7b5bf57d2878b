"""Matrices by groups that are spread out for each product: their bytes, and their numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mesh.model import spread
from mesh.model.placement import Form, Placement
from mesh.model.quant import round_to_groups, round_to_int8_groups
from mesh.model.spread import Int4Matrix, Int8Matrix, Matrix, SpreadLinear, SpreadTable

ROWS, COLUMNS = 48, 96
WEIGHTS = np.random.default_rng(5).standard_normal((ROWS, COLUMNS), np.float32) / np.float32(10)
GROUPS, INT8_GROUPS = round_to_groups(WEIGHTS), round_to_int8_groups(WEIGHTS)
TYPES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])


def placement(dtype: torch.dtype) -> Placement:
    return Placement(torch.device("cpu"), Form.ANYWHERE, dtype)


def int4(dtype: torch.dtype = torch.bfloat16) -> Int4Matrix:
    return Int4Matrix(GROUPS, placement(dtype))


def int8(dtype: torch.dtype = torch.bfloat16) -> Int8Matrix:
    return Int8Matrix(INT8_GROUPS, placement(dtype))


def exact_int4() -> torch.Tensor:
    """Dequantise in float64 by the groups that are held: scales and minima of float16."""
    held = [part.astype(np.float16).astype(np.float64) for part in (GROUPS.scale, GROUPS.minimum)]
    scale, minimum = (part[..., None] for part in held)
    return torch.from_numpy((GROUPS.quants.reshape(ROWS, -1, 32) * scale + minimum).reshape(ROWS, COLUMNS))


def exact_int8() -> torch.Tensor:
    scale = INT8_GROUPS.scale.astype(np.float64)[..., None]
    return torch.from_numpy((INT8_GROUPS.quants.reshape(ROWS, -1, 32) * scale).reshape(ROWS, COLUMNS))


@TYPES
def test_int4_spreads_to_the_groups_numbers(dtype: torch.dtype) -> None:
    spread_out, exact = int4(dtype).weights(slice(0, ROWS)), exact_int4()
    assert spread_out.dtype == dtype
    steps = torch.from_numpy(GROUPS.scale).repeat_interleave(32, 1)
    tolerance = exact.abs() * torch.finfo(dtype).eps + 0.02 * steps  # of float16 on the way: 15 * 2^-11
    assert ((spread_out.double() - exact).abs() <= tolerance).all()


@TYPES
def test_int8_spreads_to_the_groups_numbers(dtype: torch.dtype) -> None:
    spread_out, exact = int8(dtype).weights(slice(0, ROWS)), exact_int8()
    assert spread_out.dtype == dtype
    assert ((spread_out.double() - exact).abs() <= exact.abs() * torch.finfo(dtype).eps + 1e-7).all()


def test_bytes_are_half_a_byte_or_one_and_what_a_group_adds() -> None:
    assert int4().num_bytes == WEIGHTS.size // 2 + WEIGHTS.size // 32 * 4
    assert int8().num_bytes == WEIGHTS.size + WEIGHTS.size // 32 * 2


@pytest.mark.parametrize("matrix", [int4(), int8()], ids=["int4", "int8"])
def test_rows_that_are_looked_up_are_those_of_the_whole(matrix: Matrix) -> None:
    ids = torch.tensor([47, 0, 3, 3])
    assert torch.equal(SpreadTable(matrix).embed(ids), matrix.weights(slice(0, ROWS))[ids])


@pytest.mark.parametrize("matrix", [int4(), int8()], ids=["int4", "int8"])
@pytest.mark.parametrize("num_rows", [1, 7, 48, 100])
def test_a_product_by_pieces_is_a_product(
    matrix: Matrix, num_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = torch.randn(5, COLUMNS, generator=torch.Generator().manual_seed(1)).bfloat16()
    exact = rows.double() @ matrix.weights(slice(0, ROWS)).double().T
    monkeypatch.setattr(spread, "_PIECE_WEIGHTS", num_rows * COLUMNS)
    product = SpreadLinear(matrix)(rows)
    assert product.dtype == torch.bfloat16
    assert torch.allclose(product.double(), exact, rtol=0.01, atol=0.01)
    scores = SpreadTable(matrix).logits(rows)
    assert scores.dtype == torch.float32
    assert torch.equal(scores, product.float())
