"""A session's cache: position is the truth, and memory is what was promised."""

from __future__ import annotations

import pytest
import torch

from mesh.errors import ContextExceeded, PositionGap
from mesh.model.kv_cache import KvCache
from mesh.types import Precision, Span
from tests.model.tiny import SPEC


def _cache(context: int = 100) -> KvCache:
    return KvCache(SPEC, Span(1, 3), Precision.INT4, context)


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("context", [1, 64, 65, 512, 700, 1024])
def test_bytes_are_those_of_the_plan_and_lie_in_zeroed_memory(context: int, precision: Precision) -> None:
    cache = KvCache(SPEC, Span(1, 3), precision, context)
    assert cache.num_bytes == SPEC.cache_bytes(Span(1, 3), context, precision)
    pages = -(-context // 64) * 64
    kept = [
        part[:, :pages] for index in range(2) for part in (cache.layer(index).keys, cache.layer(index).values)
    ]
    assert sum(part.numel() * part.element_size() for part in kept) == cache.num_bytes
    assert not any(part.any() for part in kept)


def test_rows_are_written_where_they_belong() -> None:
    layer = _cache().layer(0)
    keys, values = torch.randn(3, 2, 16).bfloat16(), torch.randn(3, 2, 16).bfloat16()
    layer.write(5, keys, values)
    assert torch.equal(layer.keys[1, 5:8], keys[:, 1])
    assert torch.equal(layer.values[0, 5:8], values[:, 0])
    assert not layer.keys[:, :5].any()
    assert not layer.keys[:, 8:].any()


def test_a_copy_has_the_first_positions_of_its_source_and_zeros_behind() -> None:
    source, copy = _cache(), _cache(context=30)
    for index in range(2):
        rows = torch.randn(20, 2, 16).bfloat16()
        source.layer(index).write(0, rows, -rows)
    source.length = 20
    copy.copy_from(source, 7)
    assert copy.length == 7
    for index in range(2):
        old, new = source.layer(index), copy.layer(index)
        assert torch.equal(new.keys[:, :7], old.keys[:, :7])
        assert torch.equal(new.values[:, :7], old.values[:, :7])
        assert not new.keys[:, 7:].any()


def test_wiping_leaves_zeros_behind_the_end_and_nothing_else() -> None:
    cache = _cache()
    rows = torch.randn(20, 2, 16).bfloat16()
    for index in range(2):
        cache.layer(index).write(0, rows, rows)
    cache.length = 5
    cache.wipe(9)
    for index in range(2):
        for part in (cache.layer(index).keys, cache.layer(index).values):
            assert torch.equal(part[0, :20], torch.cat((rows[:5, 0], torch.zeros(9, 16), rows[14:, 0])))


def test_a_frame_before_the_end_cuts_back() -> None:
    cache = _cache()
    cache.begin(0, 10)
    cache.finish(10)
    cache.begin(4, 2)
    cache.finish(2)
    assert cache.length == 6


def test_a_gap_names_both_positions_and_changes_nothing() -> None:
    cache = _cache()
    cache.begin(0, 10)
    cache.finish(10)
    with pytest.raises(PositionGap, match="starts at position 12 but the cache ends at 10"):
        cache.begin(12, 1)
    assert cache.length == 10


def test_beyond_the_context_names_both_numbers_and_changes_nothing() -> None:
    cache = _cache(context=70)
    cache.begin(0, 70)
    cache.finish(70)
    with pytest.raises(ContextExceeded, match="71 positions do not fit the session's context of 70"):
        cache.begin(60, 11)
    assert cache.length == 70
