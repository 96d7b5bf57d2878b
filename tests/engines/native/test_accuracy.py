"""Each step against float64.

What may differ. Activations are rounded to 8 bits by groups of 32: each is off by at most half a step, and
evenly so, which is 1 / sqrt(12) of a step at the root of the mean square. Keys and values are rounded to
float16 (2^-11 of each), a layer's result to bf16 (2^-9), which is little beside it. All else is float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mesh.engines.native.packing import pack_int4, pack_int8
from mesh.engines.native.rotary import Rotary
from mesh.model.quant import Floats, round_to_groups, round_to_int8_groups
from mesh.spec import INT4_GROUP, ModelSpec
from mesh.types import Precision, Span
from tests.engines.native.models import (
    PLAIN,
    SCALED,
    SPECS,
    WIDE,
    fed,
    load,
    product,
    some_ids,
    some_rows,
    write,
)
from tests.engines.native.reference import Doubles, Reference, meant, norm, step_of

Paths = Callable[[str], Path]


def share(difference: Doubles, whole: Doubles) -> float:
    """Return how large a difference is beside what it differs from, by the roots of the mean squares."""
    return float(np.sqrt((difference**2).mean() / (whole**2).mean()))


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("columns", [32, 576, 1536])
def test_a_product_is_off_by_no_more_than_the_rounding_of_its_rows(bits: int, columns: int) -> None:
    generator = np.random.default_rng(9)
    weights = generator.standard_normal((40, columns)).astype(np.float32)
    rows = (generator.standard_normal((7, columns)) * generator.uniform(0.1, 30, columns)).astype(np.float32)
    four, eight = round_to_groups(weights), round_to_int8_groups(weights)
    packed = pack_int4(four) if bits == 4 else pack_int8(eight)
    held = (
        four.quants * _spread(four.scale) + _spread(four.minimum)
        if bits == 4
        else eight.quants * _spread(eight.scale)
    )
    normed = norm(rows.astype(np.float64), np.ones(columns), 1e-5)
    step = np.repeat(step_of(normed), INT4_GROUP, axis=1)
    error = product(packed, rows)[:, :40] - normed @ held.T
    # Float32 sums add a little: 2^-24 of the terms for each of them.
    slack = np.abs(normed) @ np.abs(held).T * columns * 2**-24
    assert (np.abs(error) <= step / 2 @ np.abs(held).T + slack).all()
    expected = np.sqrt(step**2 / 12 @ (held**2).T)
    assert 0.8 < np.sqrt((error**2).mean() / (expected**2).mean()) < 1.2


def _spread(numbers: Floats) -> Doubles:
    return np.repeat(numbers.astype(np.float16).astype(np.float64), INT4_GROUP, axis=1)


def test_tokens_are_looked_up_exactly(path_of: Paths) -> None:
    stage = load(path_of("plain"), PLAIN)
    table = meant(path_of("plain"), "token_embd.weight", Precision.INT8)
    ids = np.arange(PLAIN.vocab_size)
    assert (stage.embed(ids) == table.astype(np.float32)).all()


def test_logits_are_products_of_the_last_norm_and_the_table(path_of: Paths) -> None:
    path, spec = path_of("normed"), SPECS["normed"]
    hidden = some_rows(spec, 6)
    normed = norm(
        hidden.astype(np.float64), meant(path, "output_norm.weight", Precision.INT8), spec.rms_norm_eps
    )
    exact = normed @ meant(path, "output.weight", Precision.INT8).T
    assert share(load(path, spec).logits(hidden, 1) - exact, exact) < 0.01


def assert_near_float64(path: Path, spec: ModelSpec, precision: Precision, num_rows: int = 60) -> None:
    """Run a layer; it may be off by what 8 bits alone make of float64, and a tenth of that for all else."""
    rows = some_rows(spec, num_rows)
    ours = fed(load(path, spec, Span(1, 2), precision), rows)
    exact = Reference(path, spec, precision, rounds=False).layer(1, rows.astype(np.float64))
    in_8_bits = Reference(path, spec, precision, rounds=True).layer(1, rows.astype(np.float64))
    assert share(ours - exact, exact) < 1.1 * share(in_8_bits - exact, exact)
    assert share(in_8_bits - exact, exact) < 0.03


@pytest.mark.parametrize("name", list(SPECS))
@pytest.mark.parametrize("precision", [Precision.INT4, Precision.INT8])
def test_a_layer_is_that_of_float64(path_of: Paths, name: str, precision: Precision) -> None:
    path, spec = path_of(name), SPECS[name]
    assert_near_float64(path, spec, precision)


LEFT_OUT = {
    "biased": replace(SPECS["biased"], attention_bias=False),
    "normed": replace(SPECS["normed"], head_norm=False),
    "scaled": replace(SCALED, rope_factors=()),
}


@pytest.mark.parametrize("name", list(LEFT_OUT))
def test_what_a_family_has_besides_makes_a_difference_that_these_tests_would_see(
    path_of: Paths, name: str
) -> None:
    rows = some_rows(SPECS[name], 100).astype(np.float64)
    whole, less = (
        Reference(path_of(name), spec, Precision.INT8, rounds=False).layer(1, rows)
        for spec in (SPECS[name], LEFT_OUT[name])
    )
    assert share(less - whole, whole) > 0.03


def steep(spec: ModelSpec, role: str, factor: float) -> dict[str, Floats]:
    """Return layer 1's matrix of a role with larger weights."""
    sizes = {"attn_q": spec.num_heads * spec.head_dim, "ffn_gate": spec.intermediate_size}
    weights = np.random.default_rng(8).standard_normal((sizes[role], spec.hidden_size)) * factor
    return {f"blk.1.{role}.weight": (weights / np.sqrt(spec.hidden_size)).astype(np.float32)}


@pytest.mark.parametrize(("role", "factor"), [("attn_q", 40.0), ("ffn_gate", 60.0)])
def test_attention_on_one_key_and_gates_far_from_zero_are_those_of_float64(
    tmp_path: Path, role: str, factor: float
) -> None:
    path = write(tmp_path, WIDE, changed=steep(WIDE, role, factor))
    assert_near_float64(path, WIDE, Precision.INT8)


def test_a_position_far_along_is_turned_by_its_own_angle() -> None:
    spec = replace(SCALED, context_length=1 << 17, rope_base=500_000.0)
    tables = Rotary(spec)
    tables.reserve(3)
    first = tables.cosines[:3].copy()
    tables.reserve(100_001)
    assert (tables.cosines[:3] == first).all()
    half = spec.head_dim // 2
    frequencies = 500_000.0 ** (-np.arange(half) / half) / np.array(spec.rope_factors)
    for position in (0, 1, 1023, 1024, 100_000):
        # Angles are rounded to float32 twice: the frequency, and the product with the position.
        allowed = position * frequencies * 2**-22 + 2**-24
        assert (np.abs(tables.cosines[position] - np.cos(position * frequencies)) <= allowed).all()
        assert (np.abs(tables.sines[position] - np.sin(position * frequencies)) <= allowed).all()


@pytest.mark.parametrize("linear", ["Q4_0", "Q4_1", "Q8_0", "F16", "BF16", "F32"])
@pytest.mark.parametrize("precision", [Precision.INT4, Precision.INT8])
def test_every_type_of_file_is_computed(tmp_path: Path, linear: str, precision: Precision) -> None:
    path = write(tmp_path, PLAIN, linear)
    assert_near_float64(path, PLAIN, precision, 40)


def test_bytes_in_memory_are_those_of_the_plan(tmp_path: Path) -> None:
    for name, spec in SPECS.items():
        whole = replace(spec, vocab_size=144)  # the table's rows are filled up to a multiple of 16
        path = write(tmp_path / name, whole)
        for precision in (Precision.INT4, Precision.INT8):
            for span in (whole.whole, Span(0, 1), Span(1, 2)):
                stage = load(path, whole, span, precision)
                assert stage.weights_bytes == whole.weights_bytes(span, precision)
            cache = stage.new_cache(100)
            assert cache.num_bytes == whole.cache_bytes(span, 100, precision)
    assert fed(stage, some_ids(whole, 1) if whole.is_first(span) else some_rows(whole, 1)).shape[0] == 1
