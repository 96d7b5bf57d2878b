"""Whatever the processor, the same bits: each kind of arithmetic beside the best of this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mesh.engines.native.kernels import Kind
from mesh.engines.native.packing import pack_int4, pack_int8
from mesh.model.quant import round_to_groups, round_to_int8_groups
from mesh.types import Precision
from tests.engines.native.models import KINDS, PLAIN, SPECS, fed, load, product, same_bits, some_ids

OTHERS = KINDS[:-1]
BEST = KINDS[-1]

pytestmark = pytest.mark.skipif(not OTHERS, reason="this processor runs only one kind")


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("pack", [4, 8])
@pytest.mark.parametrize("shape", [(16, 32), (131, 96), (48, 576)], ids=str)
def test_products_are_equal(kind: Kind, pack: int, shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(2)
    weights = generator.standard_normal(shape).astype(np.float32)
    packed = pack_int4(round_to_groups(weights)) if pack == 4 else pack_int8(round_to_int8_groups(weights))
    for num_rows in (1, 2, 3, 5, 8, 15, 17):
        rows = (generator.standard_normal((num_rows, shape[1])) ** 3).astype(np.float32)
        rows[0, :32] = 0  # a group without any
        assert same_bits(product(packed, rows, kind), product(packed, rows, BEST))


@pytest.mark.parametrize("kind", OTHERS)
def test_products_of_the_largest_quants_are_equal(kind: Kind) -> None:
    """What is 16 bits wide on the way must not run over."""
    signs = np.where(np.random.default_rng(4).random((32, 64)) < 0.5, -1, 1).astype(np.float32)
    signs[:8] = 1
    rows = np.stack([signs[8], -signs[8], np.ones(64, np.float32)])
    for packed in (pack_int8(round_to_int8_groups(signs)), pack_int4(round_to_groups(signs))):
        best = product(packed, rows, BEST)
        assert same_bits(product(packed, rows, kind), best)
        assert np.allclose(best[2, :8], 64, rtol=1e-3)


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("name", list(SPECS))
@pytest.mark.parametrize("precision", [Precision.INT4, Precision.INT8])
def test_whole_stages_are_equal(
    path_of: Callable[[str], Path], kind: Kind, name: str, precision: Precision
) -> None:
    path, spec = path_of(name), SPECS[name]
    stage, best = load(path, spec, None, precision, kind), load(path, spec, None, precision, BEST)
    ids = some_ids(spec, 35)
    hidden = fed(stage, ids, 19)
    assert same_bits(hidden, fed(best, ids))
    assert same_bits(stage.logits(hidden, 1), best.logits(hidden, 1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", OTHERS)
def test_long_contexts_are_equal(path_of: Callable[[str], Path], kind: Kind) -> None:
    path, spec = path_of("plain"), replace(PLAIN, num_layers=3)
    stage, best = load(path, spec, kind=kind), load(path, spec, kind=BEST)
    ids = some_ids(spec, 540)
    assert same_bits(fed(stage, ids, 200), fed(best, ids))
