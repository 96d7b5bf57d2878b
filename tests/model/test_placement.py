"""The form that runs on every device of torch, computed on the processor; and how cards are placed on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from mesh.errors import ModelCorrupt
from mesh.model.placement import ON_PROCESSOR, Form, Placement, on_card, row_type
from mesh.model.stage import Run, Stage
from mesh.types import Precision, Span
from tests.model.tiny import SPEC, UNTIED, Recipe, write

IDS = torch.from_numpy(np.random.default_rng(3).integers(0, SPEC.vocab_size, 300))
CPU = torch.device("cpu")
ANYWHERE = Placement(CPU, Form.ANYWHERE)
HALF = Placement(CPU, Form.ANYWHERE, torch.float16)
PLACEMENTS = pytest.mark.parametrize("placement", [ANYWHERE, HALF], ids=["bf16", "float16"])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("placement") / "model.gguf", Recipe(spec=UNTIED))


def hidden_of(stages: Sequence[Stage], ids: torch.Tensor, chunk: int = 1000) -> torch.Tensor:
    """Return the last stage's hidden states."""
    caches = [stage.new_cache(len(ids)) for stage in stages]
    parts = []
    for at in range(0, len(ids), chunk):
        rows = ids[at : at + chunk]
        for stage, cache in zip(stages, caches, strict=True):
            rows = stage.forward(rows, at, cache)
        parts.append(rows)
    return torch.cat(parts)


def stages_of(
    path: Path, placement: Placement, precision: Precision = Precision.INT4, cuts: Sequence[int] = ()
) -> list[Stage]:
    edges = pairwise([0, *cuts, UNTIED.num_layers])
    return [Stage.load(path, UNTIED, Span(start, end), precision, placement) for start, end in edges]


def logits(path: Path, placement: Placement, precision: Precision = Precision.INT4) -> torch.Tensor:
    stages = stages_of(path, placement, precision)
    return stages[-1].logits(hidden_of(stages, IDS))


def share(near: torch.Tensor, exact: torch.Tensor) -> float:
    """Return how far apart, in standard deviations of the exact ones."""
    return float((near - exact).square().mean().sqrt() / exact.std())


@PLACEMENTS
def test_int4_computes_what_the_processors_operator_and_float32_compute(
    path: Path, placement: Placement
) -> None:
    anywhere = logits(path, placement)
    assert share(anywhere, logits(path, ON_PROCESSOR)) < 0.05
    # The file is Q4_1, so float32 has the same weights but for the table's rounding to 8 bits.
    assert share(anywhere, logits(path, ON_PROCESSOR, Precision.F32)) < 0.03


@PLACEMENTS
@pytest.mark.parametrize("precision", [Precision.INT8, Precision.BF16])
def test_other_precisions_compute_what_they_compute_on_the_processor(
    path: Path, placement: Placement, precision: Precision
) -> None:
    assert share(logits(path, placement, precision), logits(path, ON_PROCESSOR, precision)) < 0.03


def test_float32_stays_float32(path: Path) -> None:
    exact = logits(path, ON_PROCESSOR, Precision.F32)
    assert (logits(path, HALF, Precision.F32) - exact).abs().max() < 1e-4


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("span", [Span(0, 1), Span(1, 2), Span(2, 3), Span(0, 3)], ids=str)
def test_memory_is_what_the_plan_says(path: Path, span: Span, precision: Precision) -> None:
    stage = Stage.load(path, UNTIED, span, precision, HALF)
    planned = UNTIED.weights_bytes(span, precision)
    vectors = (2 * span.num_layers + UNTIED.is_last(span)) * UNTIED.hidden_size
    spared = 2 * vectors if precision in (Precision.INT4, Precision.INT8) else 0  # 2 bytes, not 4
    assert stage.weights_bytes == planned - spared


@pytest.mark.parametrize("context", [1, 64, 600, 1500])
def test_a_card_allots_no_more_for_a_cache_than_the_plan_says(path: Path, context: int) -> None:
    stage = Stage.load(path, UNTIED, UNTIED.whole, Precision.INT4, ANYWHERE)
    cache = stage.new_cache(context)
    kept = [part for layer in range(3) for part in (cache.layer(layer).keys, cache.layer(layer).values)]
    assert sum(part.nbytes for part in kept) == cache.num_bytes
    assert cache.num_bytes == UNTIED.cache_bytes(UNTIED.whole, context, Precision.INT4)


@PLACEMENTS
def test_what_travels_is_bf16_wherever_a_stage_lives(path: Path, placement: Placement) -> None:
    (first, last) = stages_of(path, placement, cuts=[1])
    rows = first.forward(IDS[:3], 0, first.new_cache(9))
    assert rows.dtype == torch.bfloat16
    assert last.forward(rows, 0, last.new_cache(9)).dtype == torch.bfloat16
    assert row_type(Precision.F32) == torch.float32


def test_in_bf16_a_cut_between_layers_changes_no_bit_where_frames_are_the_same(path: Path) -> None:
    whole = hidden_of(stages_of(path, ANYWHERE), IDS, chunk=70)
    assert torch.equal(hidden_of(stages_of(path, ANYWHERE, cuts=[1, 2]), IDS, chunk=70), whole)


@PLACEMENTS
@pytest.mark.parametrize(("chunk", "count"), [(1, 20), (33, 270), (256, 270)])
def test_chunks_give_almost_the_same_numbers(
    path: Path, placement: Placement, chunk: int, count: int
) -> None:
    stages, ids = stages_of(path, placement), IDS[:count]
    assert share(hidden_of(stages, ids, chunk).float(), hidden_of(stages, ids).float()) < 0.02


def test_a_batch_gives_almost_what_each_gets_alone(path: Path) -> None:
    (stage,) = stages_of(path, ANYWHERE)
    runs = [Run(IDS[:count], 0, stage.new_cache(100)) for count in (1, 40, 3)]
    alone = [stage.forward(run.rows, 0, stage.new_cache(100)) for run in runs]
    for run in runs:
        stage.begin(run)
    for together, expected in zip(stage.compute(runs), alone, strict=True):
        assert isinstance(together, torch.Tensor)
        assert share(together.float(), expected.float()) < 0.02
    assert [run.cache.length for run in runs] == [1, 40, 3]


@pytest.mark.slow  # the first time torch imports what "meta" computes shapes with
@pytest.mark.parametrize("precision", list(Precision))
def test_all_that_a_stage_holds_and_makes_is_on_its_device(
    path: Path, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device "meta" has no numbers, and refuses to compute with what is on another device."""
    stage = Stage.load(path, UNTIED, UNTIED.whole, precision, Placement(torch.device("meta"), Form.ANYWHERE))
    left: list[torch.Tensor] = []

    def leave(hidden: torch.Tensor) -> torch.Tensor:
        left.append(hidden)
        return torch.zeros(hidden.shape)

    monkeypatch.setattr(stage, "left", leave)
    runs = [Run(IDS[:count], 0, stage.new_cache(600)) for count in (1, 300)]
    for run in runs:
        stage.begin(run)
    stage.compute(runs)
    assert {hidden.device.type for hidden in left} == {"meta"}
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: tensor)
    assert stage.logits(torch.zeros(1, UNTIED.hidden_size, dtype=stage.row_type)).device.type == "meta"


def test_scales_beyond_float16_are_refused_with_their_tensor(tmp_path: Path) -> None:
    path = write(tmp_path / "large.gguf", Recipe(linear="F32", large="blk.1.ffn_up.weight"))
    Stage.load(path, SPEC, Span(1, 2), Precision.INT4)
    with pytest.raises(ModelCorrupt, match=r"weights in 'blk\.1\.ffn_up\.weight' that are no numbers"):
        Stage.load(path, SPEC, Span(1, 2), Precision.INT4, ANYWHERE)


@pytest.mark.parametrize(("bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_card_computes_in_bf16_where_it_can(
    bf16: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in (torch.cuda, torch.backends.mps):
        monkeypatch.setattr(part, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: bf16)
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, minor: bf16)
    for name in ("cuda", "mps"):
        assert on_card(name) == Placement(torch.device(name), Form.ANYWHERE, dtype)


def test_a_card_that_torch_cannot_use_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in (torch.cuda, torch.backends.mps):
        monkeypatch.setattr(part, "is_available", lambda: False)
    assert [on_card(name) for name in ("cuda", "mps", "abacus")] == [None, None, None]
