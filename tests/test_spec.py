"""The arithmetic of bytes, against figures worked out by hand for SmolLM2-135M."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesh.spec import CACHE_PAGE
from mesh.types import Digest, ModelRef, Precision, Span
from tests.shapes import SMOLLM2

INT4, F32 = Precision.INT4, Precision.F32
LINEAR = 576 * 576 + 2 * 576 * 192 + 576 * 576 + 3 * 576 * 1536  # q, k and v, o, gate and up and down


def test_a_layer_in_int4_is_half_a_byte_a_weight_and_4_bytes_a_group() -> None:
    assert SMOLLM2.layer_bytes(INT4) == LINEAR // 2 + LINEAR // 32 * 4 + 2 * 576 * 4


def test_a_layer_in_int8_is_a_byte_a_weight_and_2_bytes_a_group_and_in_bf16_2_bytes_a_weight() -> None:
    assert SMOLLM2.layer_bytes(Precision.INT8) == LINEAR + LINEAR // 32 * 2 + 2 * 576 * 4
    assert SMOLLM2.layer_bytes(Precision.BF16) == 2 * LINEAR + 2 * 576 * 2


def test_biases_and_norms_of_heads_are_counted() -> None:
    plain = SMOLLM2.layer_bytes(INT4)
    assert replace(SMOLLM2, attention_bias=True).layer_bytes(INT4) == plain + 4 * (576 + 2 * 192)
    assert replace(SMOLLM2, head_norm=True).layer_bytes(INT4) == plain + 4 * 2 * 64


def test_a_layer_in_float32_is_4_bytes_a_weight() -> None:
    assert SMOLLM2.layer_bytes(F32) == 4 * (LINEAR + 2 * 576)


def test_the_whole_model_has_its_known_number_of_weights() -> None:
    num_weights = SMOLLM2.weights_bytes(SMOLLM2.whole, F32) // 4
    assert num_weights == 134_515_008  # as published


@pytest.mark.parametrize(
    ("precision", "table", "final_norm"),
    [(INT4, 49152 * (576 + 36), 4 * 576), (F32, 4 * 49152 * 576, 4 * 576)],
)
@pytest.mark.parametrize("is_tied", [True, False])
def test_the_ends_are_counted_where_they_are(
    precision: Precision, table: int, final_norm: int, is_tied: bool
) -> None:
    spec = replace(SMOLLM2, tied_embeddings=is_tied)
    layer = spec.layer_bytes(precision)
    assert spec.weights_bytes(Span(0, 10), precision) == 10 * layer + table
    assert spec.weights_bytes(Span(10, 20), precision) == 10 * layer
    assert spec.weights_bytes(Span(20, 30), precision) == 10 * layer + table + final_norm
    tables = table if is_tied else 2 * table
    assert spec.weights_bytes(spec.whole, precision) == 30 * layer + tables + final_norm


@pytest.mark.parametrize(
    ("context", "positions"), [(1, 64), (CACHE_PAGE, 64), (CACHE_PAGE + 1, 128), (1024, 1024)]
)
@pytest.mark.parametrize(("precision", "element"), [(INT4, 2), (F32, 4)])
def test_a_cache_is_allotted_in_whole_pages(
    context: int, positions: int, precision: Precision, element: int
) -> None:
    layer = 2 * positions * 3 * 64 * element  # keys and values
    assert SMOLLM2.layer_cache_bytes(context, precision) == layer
    assert SMOLLM2.cache_bytes(Span(3, 8), context, precision) == 5 * layer


def test_a_spec_knows_its_name_and_its_ends() -> None:
    assert SMOLLM2.ref == ModelRef("smollm2:135m", Digest("a" * 64))
    assert (SMOLLM2.is_first(Span(0, 1)), SMOLLM2.is_last(Span(0, 1))) == (True, False)
    assert (SMOLLM2.is_first(Span(29, 30)), SMOLLM2.is_last(Span(29, 30))) == (False, True)
