"""A stage of a small random model: its bytes, its checks, its arithmetic, and how it may be split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mesh.errors import ContextExceeded, ModelCorrupt, ModelNotPulled, NotFinite, PositionGap, ShapeMismatch
from mesh.model.gguf import GgufFile
from mesh.model.stage import Run, Stage
from mesh.spec import ModelSpec
from mesh.types import Precision, Span
from tests.model.reference import reference_logits
from tests.model.tiny import SPEC, UNTIED, Recipe, write

IDS = torch.from_numpy(np.random.default_rng(3).integers(0, SPEC.vocab_size, 70))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stage")


@pytest.fixture(scope="module")
def tied_path(folder: Path) -> Path:
    return write(folder / "tied.gguf")


@pytest.fixture(scope="module")
def untied_path(folder: Path) -> Path:
    return write(folder / "untied.gguf", Recipe(spec=UNTIED))


@pytest.fixture(scope="module")
def whole(tied_path: Path) -> Stage:
    return Stage.load(tied_path, SPEC, SPEC.whole, Precision.INT4)


def _logits(path: Path, spec: ModelSpec, cuts: Sequence[int], precision: Precision) -> torch.Tensor:
    edges = [0, *cuts, spec.num_layers]
    rows = IDS
    for start, end in pairwise(edges):
        stage = Stage.load(path, spec, Span(start, end), precision)
        rows = stage.forward(rows, 0, stage.new_cache(128))
    return stage.logits(rows)


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("span", [Span(0, 1), Span(1, 2), Span(1, 3), Span(2, 3), Span(0, 3)], ids=str)
def test_bytes_in_memory_are_those_of_the_plan(
    tied_path: Path, untied_path: Path, span: Span, precision: Precision
) -> None:
    """Norms are held in bf16 where the plan counts float32, and the int4 stage's table has fewer scales."""
    smaller = precision in (Precision.INT4, Precision.INT8)
    for path, spec in ((tied_path, SPEC), (untied_path, UNTIED)):
        stage = Stage.load(path, spec, span, precision)
        assert (stage.spec, stage.span, stage.precision) == (spec, span, precision)
        planned = spec.weights_bytes(span, precision)
        assert planned * (0.95 if smaller else 1) <= stage.weights_bytes <= planned


def test_only_the_spans_tensors_are_read(tied_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    raw = GgufFile.raw

    def noted(file: GgufFile, name: str) -> NDArray[np.uint8]:
        read.append(name)
        return raw(file, name)

    monkeypatch.setattr(GgufFile, "raw", noted)
    Stage.load(tied_path, SPEC, Span(1, 2), Precision.INT4)
    assert len(read) == 9
    assert all(name.startswith("blk.1.") for name in read)


@pytest.mark.slow
@pytest.mark.parametrize("spec", [SPEC, UNTIED], ids=["tied", "untied"])
def test_f32_agrees_with_an_independent_network(folder: Path, spec: ModelSpec) -> None:
    path = write(folder / f"reference-{spec.tied_embeddings}.gguf", Recipe(spec=spec))
    expected = reference_logits(path, spec, IDS)
    assert expected.std() > 0.3
    assert (_logits(path, spec, [], Precision.F32) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("cuts", [[1], [2], [1, 2]], ids=str)
def test_any_split_gives_the_same_logits(tied_path: Path, untied_path: Path, cuts: list[int]) -> None:
    for path, spec in ((tied_path, SPEC), (untied_path, UNTIED)):
        f32 = _logits(path, spec, [], Precision.F32)
        assert (_logits(path, spec, cuts, Precision.F32) - f32).abs().max() <= 1e-5
        assert torch.equal(_logits(path, spec, cuts, Precision.INT4), _logits(path, spec, [], Precision.INT4))


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.BF16])
def test_smaller_precisions_stay_nearer_than_int4(untied_path: Path, precision: Precision) -> None:
    exact = _logits(untied_path, UNTIED, [], Precision.F32)
    near = _logits(untied_path, UNTIED, [1], precision)
    assert float((near - exact).square().mean().sqrt() / exact.std()) < 0.05


def test_weights_that_are_no_numbers_are_refused_with_their_tensor(folder: Path) -> None:
    path = write(folder / "nan.gguf", Recipe(linear="F32", spoilt="blk.1.ffn_up.weight"))
    Stage.load(path, SPEC, Span(0, 1), Precision.INT4)
    for precision in Precision:
        with pytest.raises(ModelCorrupt, match=r"weights in 'blk\.1\.ffn_up\.weight' that are no numbers"):
            Stage.load(path, SPEC, Span(1, 2), precision)


@pytest.mark.parametrize("linear", ["F32", "F16", "BF16", "Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1"])
def test_int4_stays_near_f32_for_every_type_of_file(folder: Path, linear: str) -> None:
    path = write(folder / f"{linear}.gguf", Recipe(linear=linear, table="Q8_0"))
    exact = _logits(path, SPEC, [], Precision.F32)
    near = _logits(path, SPEC, [], Precision.INT4)
    share = float((near - exact).square().mean().sqrt() / exact.std())
    assert share < (0.05 if linear.startswith("Q4") else 0.4)  # others are rounded to 4 bits


@pytest.mark.parametrize("chunk", [1, 3, 16, 17])
def test_chunks_and_a_dirty_cache_change_no_bit(whole: Stage, chunk: int) -> None:
    expected = whole.forward(IDS, 0, whole.new_cache(128))
    cache = whole.new_cache(128)
    whole.forward(IDS.flip(0), 0, cache)
    parts = [whole.forward(IDS[at : at + chunk], at, cache) for at in range(0, len(IDS), chunk)]
    assert torch.equal(torch.cat(parts), expected)


def test_going_back_and_on_gives_what_a_straight_way_gives(whole: Stage) -> None:
    expected = whole.forward(IDS, 0, whole.new_cache(128))
    cache = whole.new_cache(128)
    whole.forward(torch.cat((IDS[:40], IDS[:20])), 0, cache)
    assert torch.equal(whole.forward(IDS[40:], 40, cache), expected[40:])
    assert cache.length == len(IDS)


def _same(result: torch.Tensor | NotFinite, expected: torch.Tensor) -> bool:
    return isinstance(result, torch.Tensor) and torch.equal(result, expected)


def test_a_batch_of_strangers_changes_no_bit(whole: Stage) -> None:
    sizes = {1: 30, 17: 0, 2: 5, 40: 16, 3: 1}  # rows of a frame: positions before it
    caches = [whole.new_cache(128) for _ in sizes]
    frames = list(zip(sizes.items(), caches, strict=True))
    for (_, before), cache in frames:
        if before:
            whole.forward(IDS[:before], 0, cache)
    runs = [Run(IDS[:count], before, cache) for (count, before), cache in frames]
    alone = [whole.forward(run.rows, run.start, run.cache) for run in runs]
    for run in runs:
        whole.begin(run)
    assert all(map(_same, whole.compute(runs), alone))
    last_rows = [rows[-1:] for rows in alone]
    assert all(map(torch.equal, whole.scores(last_rows), [whole.logits(row)[0] for row in last_rows]))


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.BF16, Precision.F32])
def test_what_would_change_bits_in_a_batch_is_computed_alone(tied_path: Path, precision: Precision) -> None:
    stage = Stage.load(tied_path, SPEC, SPEC.whole, precision)
    assert not stage.batches
    runs = [Run(IDS[:count], 0, stage.new_cache(70)) for count in (1, 9, 30)]
    alone = [stage.forward(run.rows, 0, stage.new_cache(70)) for run in runs]
    for run in runs:
        stage.begin(run)
    assert all(map(_same, stage.compute(runs), alone))


def test_rows_of_the_head_do_not_depend_on_their_company(whole: Stage) -> None:
    hidden = whole.forward(IDS, 0, whole.new_cache(128))
    together = whole.logits(hidden)
    assert together.dtype == torch.float32
    assert torch.equal(torch.cat([whole.logits(row[None]) for row in hidden]), together)


def test_a_gap_and_a_full_context_are_refused_and_the_cache_is_kept(whole: Stage) -> None:
    cache = whole.new_cache(20)
    whole.forward(IDS[:10], 0, cache)
    with pytest.raises(PositionGap, match="position 11 but the cache ends at 10"):
        whole.forward(IDS[:1], 11, cache)
    with pytest.raises(ContextExceeded, match="21 positions do not fit the session's context of 20"):
        whole.forward(IDS[:11], 10, cache)
    assert cache.length == 10


def test_a_context_beyond_the_model_is_refused(whole: Stage) -> None:
    with pytest.raises(ContextExceeded, match="context of 2049 positions is beyond the 2048 of tiny"):
        whole.new_cache(2049)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (torch.tensor([0, 128]), "token id 128 is outside the vocabulary of 128"),
        (torch.tensor([-1, 0]), "token id -1 is outside"),
        (torch.tensor([], dtype=torch.int64), r"shape \[0\]"),
        (torch.tensor([1], dtype=torch.int32), "int32; wanted .tokens. int64"),
        (torch.zeros(2, 64, dtype=torch.bfloat16), r"shape \[2, 64\]"),
    ],
)
def test_wrong_ids_are_refused(whole: Stage, rows: torch.Tensor, says: str) -> None:
    with pytest.raises(ShapeMismatch, match=says):
        whole.forward(rows, 0, whole.new_cache(10))


@pytest.mark.parametrize(
    "rows",
    [
        torch.zeros(2, 63, dtype=torch.bfloat16),
        torch.zeros(2, 64),
        torch.zeros(0, 64, dtype=torch.bfloat16),
        torch.tensor([1, 2]),
    ],
)
def test_wrong_hidden_states_are_refused(tied_path: Path, rows: torch.Tensor) -> None:
    stage = Stage.load(tied_path, SPEC, Span(1, 3), Precision.INT4)
    with pytest.raises(ShapeMismatch, match=r"wanted \[tokens, 64\] torch\.bfloat16"):
        stage.forward(rows, 0, stage.new_cache(10))
    with pytest.raises(ShapeMismatch):
        stage.logits(rows)


def test_only_the_last_stage_has_logits(tied_path: Path) -> None:
    stage = Stage.load(tied_path, SPEC, Span(0, 2), Precision.INT4)
    with pytest.raises(ShapeMismatch, match=r"span \[0, 2\) has no output head"):
        stage.logits(torch.zeros(1, 64, dtype=torch.bfloat16))


def test_a_span_beyond_the_model_is_refused(tied_path: Path) -> None:
    with pytest.raises(ShapeMismatch, match=r"\[2, 4\) reaches beyond the 3 layers"):
        Stage.load(tied_path, SPEC, Span(2, 4), Precision.INT4)


def test_a_missing_or_misshapen_tensor_is_named_where_its_span_is_loaded(folder: Path) -> None:
    missing = write(folder / "missing.gguf", Recipe(without="blk.1.ffn_up.weight"))
    wrong = write(folder / "wrong.gguf", Recipe(misshapen="blk.1.attn_k.weight"))
    Stage.load(missing, SPEC, Span(0, 1), Precision.INT4)
    with pytest.raises(ModelCorrupt, match=r"no tensor 'blk\.1\.ffn_up\.weight'"):
        Stage.load(missing, SPEC, Span(1, 2), Precision.INT4)
    with pytest.raises(ModelCorrupt, match=r"'blk\.1\.attn_k\.weight' of shape \[64, 64\] where \[32, 64\]"):
        Stage.load(wrong, SPEC, SPEC.whole, Precision.INT4)


def test_a_spec_of_another_model_is_refused(tied_path: Path) -> None:
    with pytest.raises(ModelCorrupt, match=r"token_embd\.weight"):
        Stage.load(tied_path, replace(SPEC, vocab_size=256), Span(0, 1), Precision.F32)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelNotPulled):
        Stage.load(tmp_path / "none.gguf", SPEC, SPEC.whole, Precision.INT4)
