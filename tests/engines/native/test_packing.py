"""Packing: what lies in the blocks is what was put in."""

from __future__ import annotations

import numpy as np
import pytest

from mesh.engines.native.kernels import BLOCK_BYTES, LANES
from mesh.engines.native.packing import Packed, pack_int4, pack_int8
from mesh.model.quant import Floats, Groups, Int8Groups, round_to_groups, round_to_int8_groups
from mesh.spec import INT4_GROUP

SIZES = [(16, 32), (32, 96), (1, 32), (15, 64), (17, 32), (131, 160)]


def a_matrix(shape: tuple[int, int]) -> Floats:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def numbers_of(packed: Packed) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], Floats]:
    """Read blocks as kernels.c tells it: quants [rows, columns] and float16 numbers [kinds, rows, groups]."""
    num_groups = packed.num_columns // INT4_GROUP
    blocks = packed.blocks.reshape(-1, num_groups, BLOCK_BYTES[packed.bits])
    num_quants = LANES * INT4_GROUP * packed.bits // 8
    quants = blocks[:, :, :num_quants]
    if packed.bits == 4:
        quants = np.concatenate((quants & 15, quants >> 4), axis=-1)
    fours = quants.reshape(-1, num_groups, INT4_GROUP // 4, LANES, 4)
    halves = np.ascontiguousarray(blocks[:, :, num_quants:]).view(np.float16)
    lanes = halves.reshape(-1, num_groups, halves.shape[-1] // LANES, LANES)
    return (
        fours.transpose(0, 3, 1, 2, 4).reshape(-1, packed.num_columns),
        lanes.transpose(2, 0, 3, 1).reshape(lanes.shape[2], -1, num_groups).astype(np.float32),
    )


def rounded(numbers: Floats) -> Floats:
    return numbers.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_4_bits_come_back_from_their_blocks(shape: tuple[int, int]) -> None:
    groups: Groups = round_to_groups(a_matrix(shape))
    packed = pack_int4(groups)
    quants, (scale, minimum) = numbers_of(packed)
    rows = shape[0]
    assert (quants[:rows] == groups.quants).all()
    assert (scale[:rows] == rounded(groups.scale)).all()
    assert (minimum[:rows] == rounded(groups.minimum)).all()


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_8_bits_come_back_from_their_blocks(shape: tuple[int, int]) -> None:
    groups: Int8Groups = round_to_int8_groups(a_matrix(shape))
    groups.quants[0, 0] = -128  # files may say so
    quants, (scale,) = numbers_of(pack_int8(groups))
    rows = shape[0]
    assert (quants[:rows].astype(np.int16) - 128 == groups.quants).all()
    assert (scale[:rows] == groups.scale).all()


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_rows_are_filled_up_to_whole_blocks_with_weights_of_zero(shape: tuple[int, int]) -> None:
    whole = -(-shape[0] // LANES) * LANES
    weights = a_matrix(shape)
    for packed in (pack_int4(round_to_groups(weights)), pack_int8(round_to_int8_groups(weights))):
        assert packed.num_rows == packed.matrix.num_rows == whole
        assert packed.num_columns == packed.matrix.num_columns == shape[1]
        _, numbers = numbers_of(packed)
        assert not numbers[:, shape[0] :].any()


def test_rows_of_two_matrices_lie_one_below_the_other_when_their_blocks_do() -> None:
    upper, lower = round_to_groups(a_matrix((16, 64))), round_to_groups(-a_matrix((48, 64)))
    joined = np.concatenate([pack_int4(upper).blocks, pack_int4(lower).blocks])
    quants, _ = numbers_of(Packed(joined, 64, 4))
    assert (quants == np.concatenate([upper.quants, lower.quants])).all()
