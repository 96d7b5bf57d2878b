"""Formats of weights: exact where the file is exact, and within half a step where it is rounded."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from mesh.model.gguf import TensorType
from mesh.model.quant import Groups, dequantise, round_rows, round_to_groups, to_groups

SHAPE = (48, 96)


def _weights(seed: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def _raw(kind: TensorType) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Quantise with the reference package; return its bytes, and its own reading of them."""
    reference = gguf.GGMLQuantizationType[kind.name]
    stored = gguf.quants.quantize(_weights(), reference)
    return stored.view(np.uint8).reshape(-1), gguf.quants.dequantize(stored, reference).reshape(SHAPE)


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


@pytest.mark.parametrize("kind", [TensorType.F32, TensorType.BF16, TensorType.Q8_0])
def test_other_types_are_rounded_within_half_a_step(kind: TensorType) -> None:
    raw, expected = _raw(kind)
    groups = to_groups(raw, kind, SHAPE)
    error = np.abs(_restored(groups) - expected).reshape(SHAPE[0], -1, 32)
    assert (error <= groups.scale[..., None] * 0.501).all()


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
