"""Formats of weights: exact where the file is exact, and within half a step where it is rounded."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from mesh.model.quant import (
    Groups,
    Int8Groups,
    dequantise,
    round_rows,
    round_to_groups,
    round_to_int8_groups,
    to_groups,
    to_int8_groups,
)
from mesh.model.tensors import TensorType

SHAPE = (24, 512)


def _weights(seed: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def _raw(kind: TensorType) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return bytes of a format, and the reference package's own reading of them.

    The package quantises, but for the K formats, of which it only reads blocks; those are random.
    """
    reference = gguf.GGMLQuantizationType[kind.name]
    stored = _random_blocks(kind) if kind in HALVES else gguf.quants.quantize(_weights(), reference)
    return stored.view(np.uint8).reshape(-1), gguf.quants.dequantize(stored, reference).reshape(SHAPE)


HALVES = {TensorType.Q4_K: (0, 2), TensorType.Q5_K: (0, 2), TensorType.Q6_K: (208,)}
"""Where the blocks of a K format have their float16 numbers."""


def _random_blocks(kind: TensorType) -> NDArray[np.uint8]:
    generator = np.random.default_rng(9)
    num_blocks = SHAPE[0] * SHAPE[1] // kind.block_size
    blocks = generator.integers(0, 256, (num_blocks, kind.block_bytes), dtype=np.uint8)
    for at in HALVES[kind]:
        numbers = generator.standard_normal((num_blocks, 1)).astype("<f2")
        blocks[:, at : at + 2] = numbers.view(np.uint8)
    return blocks


def _restored(groups: Groups) -> NDArray[np.float32]:
    quants = groups.quants.reshape(SHAPE[0], -1, 32).astype(np.float32)
    restored: NDArray[np.float32] = quants * groups.scale[..., None] + groups.minimum[..., None]
    return restored.reshape(SHAPE)


@pytest.mark.parametrize("kind", list(TensorType))
def test_dequantised_weights_equal_the_reference_bit_for_bit(kind: TensorType) -> None:
    raw, expected = _raw(kind)
    weights = dequantise(raw, kind, SHAPE)
    assert weights.dtype == np.float32
    assert np.array_equal(weights, expected)


def test_every_q4_block_is_unpacked_without_loss() -> None:
    generator = np.random.default_rng(5)
    for kind in (TensorType.Q4_0, TensorType.Q4_1):
        raw = _raw(kind)[0].reshape(-1, kind.block_bytes).copy()
        raw[:, -16:] = generator.integers(0, 256, raw[:, -16:].shape, dtype=np.uint8)
        groups = to_groups(raw.reshape(-1), kind, SHAPE)
        assert groups.quants.min() == 0
        assert groups.quants.max() == 15
        expected = dequantise(raw.reshape(-1), kind, SHAPE)
        if kind is TensorType.Q4_1:
            assert np.array_equal(_restored(groups), expected)
        else:
            assert np.array_equal(groups.minimum, -8 * groups.scale)
            assert np.allclose(_restored(groups), expected, rtol=0, atol=1e-6)


def test_q4_k_keeps_its_own_quants_in_4_bits() -> None:
    raw, expected = _raw(TensorType.Q4_K)
    groups = to_groups(raw, TensorType.Q4_K, SHAPE)
    assert (groups.quants.min(), groups.quants.max()) == (0, 15)
    assert np.array_equal(_restored(groups), expected)


OTHERS = [TensorType.F32, TensorType.F16, TensorType.BF16, TensorType.Q5_0, TensorType.Q5_1]
OTHERS += [TensorType.Q5_K, TensorType.Q6_K]


@pytest.mark.parametrize("kind", [*OTHERS, TensorType.Q8_0])
def test_other_types_are_rounded_within_half_a_step(kind: TensorType) -> None:
    raw, expected = _raw(kind)
    groups = to_groups(raw, kind, SHAPE)
    error = np.abs(_restored(groups) - expected).reshape(SHAPE[0], -1, 32)
    assert (error <= groups.scale[..., None] * 0.501).all()


def _restored_int8(groups: Int8Groups) -> NDArray[np.float32]:
    restored: NDArray[np.float32] = groups.quants.reshape(SHAPE[0], -1, 32) * groups.scale[..., None]
    return restored.reshape(SHAPE)


def test_q8_0_keeps_its_own_numbers_in_8_bits() -> None:
    raw = _raw(TensorType.Q8_0)[0].reshape(-1, 34).copy()
    raw[:, 2:] = np.random.default_rng(5).integers(-50, 50, (len(raw), 32), dtype=np.int8).view(np.uint8)
    groups = to_int8_groups(raw.reshape(-1), TensorType.Q8_0, SHAPE)
    assert np.array_equal(groups.quants, raw[:, 2:].view(np.int8).reshape(SHAPE))
    assert np.array_equal(_restored_int8(groups), dequantise(raw.reshape(-1), TensorType.Q8_0, SHAPE))


@pytest.mark.parametrize("kind", [*OTHERS, TensorType.Q4_0, TensorType.Q4_1, TensorType.Q4_K])
def test_others_are_rounded_to_8_bits_with_scales_that_float16_holds(kind: TensorType) -> None:
    raw, expected = _raw(kind)
    groups = to_int8_groups(raw, kind, SHAPE)
    error = np.abs(_restored_int8(groups) - expected).reshape(SHAPE[0], -1, 32)
    assert np.array_equal(groups.scale.astype(np.float16).astype(np.float32), groups.scale)
    assert (error <= groups.scale[..., None] * 0.57).all()  # half a step, and the rounding of the scale
    assert np.abs(groups.quants).max() == 127


def test_rounding_by_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, weights = _raw(TensorType.F32)
    monkeypatch.setattr("mesh.model.quant._PIECE_WEIGHTS", 5 * SHAPE[1])
    assert np.array_equal(
        to_int8_groups(raw, TensorType.F32, SHAPE).quants, round_to_int8_groups(weights).quants
    )
    assert np.array_equal(to_groups(raw, TensorType.F32, SHAPE).quants, round_to_groups(weights).quants)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_no_number_stays_one_in_its_groups_scale(wrong: float) -> None:
    weights = _weights()
    weights[3, 40] = wrong
    expected = np.zeros((SHAPE[0], SHAPE[1] // 32), bool)
    expected[3, 1] = True
    assert np.array_equal(~np.isfinite(round_to_groups(weights).scale), expected)
    assert np.array_equal(~np.isfinite(round_to_int8_groups(weights).scale), expected)


def test_a_group_of_zeros_stays_zero() -> None:
    zeros = np.zeros(SHAPE, np.float32)
    assert not round_to_int8_groups(zeros).quants.any()
    assert np.array_equal(_restored(round_to_groups(zeros)), zeros)


def test_a_constant_group_is_kept() -> None:
    weights = np.full(SHAPE, -0.75, np.float32)
    assert np.array_equal(_restored(round_to_groups(weights)), weights)


def test_rows_in_8_bits_stay_within_half_a_step_and_their_scale_is_bf16() -> None:
    weights = _weights()
    weights[5] = 0.0
    quants, scale = round_rows(weights)
    assert quants.dtype == np.int8
    assert np.array_equal(scale.view(np.uint32) & 0xFFFF, np.zeros(len(scale), np.uint32))
    assert (np.abs(quants * scale[:, None] - weights) <= scale[:, None] * 0.5001).all()
    assert not quants[5].any()
