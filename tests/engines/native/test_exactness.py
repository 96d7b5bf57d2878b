"""A row has the same bits in any company: chunks, strangers, threads, splits, what a cache held before."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mesh.engines.native.cache import KvCache
from mesh.engines.native.stage import Run, Stage
from mesh.model.quant import Floats
from mesh.types import Precision, Span
from tests.engines.native.models import SPECS, Ids, fed, load, same_bits, some_ids, some_rows

Paths = Callable[[str], Path]

LONG = 700
"""Positions of the long prompt: beyond 16, 64, 256 and 512, where blocks, pages and calls end."""


@pytest.fixture(scope="module", params=["plain", "wide", "lone"])
def stage(request: pytest.FixtureRequest, path_of: Paths) -> Stage:
    return load(path_of(request.param), SPECS[request.param])


def prompt(stage: Stage, count: int, seed: int = 3) -> Ids:
    return some_ids(stage.spec, count, seed)


def at_once(stage: Stage, ids: Ids) -> Floats:
    return fed(stage, ids)


@pytest.fixture(scope="module")
def long(path_of: Paths) -> tuple[Stage, Ids, Floats]:
    """Load a model, and what it gives for a long prompt fed at once."""
    stage = load(path_of("plain"), SPECS["plain"])
    ids = prompt(stage, LONG)
    return stage, ids, at_once(stage, ids)


@pytest.mark.parametrize("chunk", [1, 3, 16, 17, 64, 100, 256, 300, 512])
def test_chunks_of_a_long_prompt_and_a_dirty_cache_change_no_bit(
    long: tuple[Stage, Ids, Floats], chunk: int
) -> None:
    stage, ids, expected = long
    cache = stage.new_cache(LONG)
    fed(stage, ids[::-1], cache=cache)
    assert same_bits(fed(stage, ids, chunk, cache), expected)


@pytest.mark.parametrize("chunk", [1, 3, 7, 8, 20])
def test_chunks_change_no_bit_whatever_the_heads(stage: Stage, chunk: int) -> None:
    ids = prompt(stage, 70)
    assert same_bits(fed(stage, ids, chunk), at_once(stage, ids))


@pytest.mark.parametrize("num_threads", [2, 3])
@pytest.mark.parametrize(("count", "chunk"), [(5, 1), (70, 37)])
def test_threads_change_no_bit(stage: Stage, num_threads: int, count: int, chunk: int) -> None:
    ids = prompt(stage, count)
    expected = at_once(stage, ids)
    assert same_bits(fed(stage, ids, chunk, num_threads=num_threads), expected)
    alone = stage.logits(expected, 1)
    assert same_bits(stage.logits(expected, num_threads), alone)


def test_going_back_and_on_gives_what_a_straight_way_gives(stage: Stage) -> None:
    ids = prompt(stage, 70)
    cache = stage.new_cache(128)
    fed(stage, np.concatenate((ids[:40], ids[:60])), cache=cache)
    rows = stage.embed(ids[40:])
    cache.begin(40, len(rows))
    stage.forward([Run(cache, 40, rows)], 1)
    assert same_bits(rows, at_once(stage, ids)[40:])


def grown(stage: Stage, ids: Ids, length: int) -> KvCache:
    """Return a cache that holds the first positions of a prompt."""
    cache = stage.new_cache(600)
    if length:
        fed(stage, ids[:length], cache=cache)
    return cache


BATCHES = [
    [(0, 1), (5, 1), (15, 1), (16, 1), (63, 1), (64, 1), (511, 1), (512, 1)],
    [(0, 70), (17, 1), (3, 2)],
    [(40, 1), (0, 300), (64, 17)],
    [(0, 256), (9, 1)],
    [(2, 255), (1, 2), (0, 3)],
]
"""Positions held and rows sent of each session; the later ones are cut over several calls."""


@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_a_batch_of_strangers_changes_no_bit(stage: Stage, batch: list[tuple[int, int]]) -> None:
    runs, alone = [], []
    for seed, (held, sent) in enumerate(batch):
        ids = prompt(stage, held + sent, seed)
        cache, own = grown(stage, ids, held), stage.new_cache(600)
        own.copy_from(cache, held)
        runs.append(Run(cache, held, stage.embed(ids[held:])))
        alone.append(Run(own, held, stage.embed(ids[held:])))
    assert stage.forward(runs, 1) == [None] * len(runs)
    for run, by_itself in zip(runs, alone, strict=True):
        stage.forward([by_itself], 1)
        assert same_bits(run.hidden, by_itself.hidden)
        assert (run.cache.keys == by_itself.cache.keys).all()
        assert (run.cache.values == by_itself.cache.values).all()


def test_rows_of_the_head_do_not_depend_on_their_company(stage: Stage) -> None:
    hidden = at_once(stage, prompt(stage, 21))
    together = stage.logits(hidden, 1)
    assert together.shape == (21, stage.spec.vocab_size)
    for count in (1, 2, 3, 5, 8, 13):
        parts = [stage.logits(hidden[at : at + count], 1) for at in range(0, 21, count)]
        assert same_bits(np.concatenate(parts), together)


@pytest.mark.parametrize("name", list(SPECS))
@pytest.mark.parametrize("precision", [Precision.INT4, Precision.INT8])
def test_a_cut_after_any_layers_changes_no_bit(path_of: Paths, name: str, precision: Precision) -> None:
    path, spec = path_of(name), SPECS[name]
    whole = load(path, spec, precision=precision)
    expected = fed(whole, some_ids(spec, 40))
    hidden = fed(load(path, spec, Span(0, 1), precision), some_ids(spec, 40), 11)
    for start, end in pairwise(range(1, spec.num_layers + 1)):
        stage = load(path, spec, Span(start, end), precision)
        hidden = fed(stage, hidden, 13)
    assert same_bits(hidden, expected)
    assert same_bits(stage.logits(hidden, 1), whole.logits(expected, 1))


def test_what_a_stage_gives_are_numbers_of_bf16(path_of: Paths) -> None:
    stage = load(path_of("plain"), SPECS["plain"], Span(1, 2))
    hidden = fed(stage, some_rows(stage.spec, 5))
    assert not (hidden.view(np.uint32) & np.uint32(0xFFFF)).any()


@pytest.mark.parametrize("positions", [1, 15, 16, 17, 40, 64, 65])
def test_a_copied_beginning_goes_on_as_its_own(stage: Stage, positions: int) -> None:
    ids = prompt(stage, 90)
    source = grown(stage, ids, 80)
    copied = stage.new_cache(91)
    copied.copy_from(source, positions)
    source.keys[:] = source.values[:] = 0x7E00  # whatever becomes of the source
    rows = stage.embed(ids[positions:])
    stage.forward([Run(copied, positions, rows)], 1)
    assert same_bits(rows, at_once(stage, ids)[positions:])
