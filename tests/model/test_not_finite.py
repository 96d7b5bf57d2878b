"""Numbers that are none, in torch's stages: the layer is named, and neither cache nor others are harmed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mesh.errors import NotFinite
from mesh.model.placement import ON_PROCESSOR, Form, Placement
from mesh.model.stage import Run, Stage
from mesh.types import Precision, Span
from tests.model.tiny import SPEC, write

IDS = torch.from_numpy(np.random.default_rng(3).integers(0, SPEC.vocab_size, 40))
FORMS = pytest.mark.parametrize(
    "placement",
    [ON_PROCESSOR, Placement(torch.device("cpu"), Form.ANYWHERE)],
    ids=["processor", "anywhere"],
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("nan") / "model.gguf")


def rows_of(path: Path, count: int) -> torch.Tensor:
    stage = Stage.load(path, SPEC, Span(0, 1), Precision.INT4)
    return stage.forward(IDS[:count], 0, stage.new_cache(count)).clone()  # to be changed outside of stages


def spoil(stage: Stage, index: int) -> None:
    """Make a layer's numbers outgrow bf16, with weights that are numbers."""
    with torch.inference_mode():
        stage.weights.layers[index].feed_forward_norm.weight.fill_(3e38)


@FORMS
@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_layer_is_named_as_the_model_counts_it(path: Path, placement: Placement, index: int) -> None:
    whole = Stage.load(path, SPEC, SPEC.whole, Precision.INT4, placement)
    spoil(whole, index)
    with pytest.raises(
        NotFinite, match=rf"^layer {index} of tiny made numbers .*positions from 0 on; .* pull"
    ):
        whole.forward(IDS, 0, whole.new_cache(40))


@pytest.mark.parametrize("precision", list(Precision))
def test_in_a_span_too_and_in_every_precision(path: Path, precision: Precision) -> None:
    last = Stage.load(path, SPEC, Span(1, 3), precision)
    cache, rows = last.new_cache(40), rows_of(path, 9).to(last.row_type)
    last.forward(rows, 0, cache)
    spoil(last, 1)
    with pytest.raises(NotFinite, match=r"layer 2 of tiny .* positions from 9 on"):
        last.forward(rows, 9, cache)
    assert cache.length == 9


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_rows_that_are_no_numbers_are_the_first_layers(path: Path, number: float) -> None:
    last = Stage.load(path, SPEC, Span(1, 3), Precision.INT4)
    rows = rows_of(path, 5)
    rows[3, 7] = number
    with pytest.raises(NotFinite, match="layer 1 of tiny"):
        last.forward(rows, 0, last.new_cache(40))


@FORMS
def test_what_was_no_number_is_not_seen_by_later_frames(path: Path, placement: Placement) -> None:
    last = Stage.load(path, SPEC, Span(1, 3), Precision.INT4, placement)
    rows, cache = rows_of(path, 14), last.new_cache(40)
    expected = [last.forward(rows[:5], 0, cache), last.forward(rows[5:6], 5, cache)]
    bad = rows.clone()
    bad[5:] = float("nan")
    with pytest.raises(NotFinite):
        last.forward(bad[5:], 5, cache)
    assert cache.length == 5
    assert torch.equal(last.forward(rows[5:6], 5, cache), expected[1])


@FORMS
def test_others_of_the_batch_are_unharmed(path: Path, placement: Placement) -> None:
    last = Stage.load(path, SPEC, Span(1, 3), Precision.INT4, placement)
    rows = [rows_of(path, count) for count in (3, 20, 1)]

    def results() -> list[torch.Tensor | NotFinite]:
        runs = [Run(some, 0, last.new_cache(40)) for some in rows]
        for run in runs:
            last.begin(run)
        return last.compute(runs)

    expected = results()
    rows[1][19, 0] = float("nan")
    first, wrong, third = results()
    assert isinstance(wrong, NotFinite)
    for result, good in ((first, expected[0]), (third, expected[2])):
        assert isinstance(result, torch.Tensor)
        assert isinstance(good, torch.Tensor)
        assert torch.equal(result, good)
