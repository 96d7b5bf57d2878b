"""SmolLM2 itself: against an independent network, against its own float32 self, and bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from mesh.model.families import model_spec
from mesh.model.gguf import GgufFile
from mesh.model.stage import Stage
from mesh.model.tokenizer import Tokenizer
from mesh.spec import ModelSpec
from mesh.types import Digest, Precision, Span
from tests.model.reference import reference_logits

pytestmark = [pytest.mark.model, pytest.mark.slow]

ENGLISH = Path(__file__).parents[1] / "data" / "english.txt"


@pytest.fixture(scope="module")
def spec(smollm2_path: Path) -> ModelSpec:
    with GgufFile.open(smollm2_path) as file:
        return model_spec(file, "smollm2:135m", Digest("0" * 64))


@pytest.fixture(scope="module")
def english(smollm2_path: Path) -> torch.Tensor:
    """Return [tokens] ids of the whole text."""
    with GgufFile.open(smollm2_path) as file:
        tokenizer = Tokenizer.from_metadata(file.metadata)
    return torch.tensor(tokenizer.encode(ENGLISH.read_text()))


@pytest.fixture(scope="module")
def f32(smollm2_path: Path, spec: ModelSpec) -> Stage:
    return Stage.load(smollm2_path, spec, spec.whole, Precision.F32)


@pytest.fixture(scope="module")
def int4(smollm2_path: Path, spec: ModelSpec) -> Stage:
    return Stage.load(smollm2_path, spec, spec.whole, Precision.INT4)


def _hidden(stage: Stage, ids: torch.Tensor) -> torch.Tensor:
    return stage.forward(ids, 0, stage.new_cache(len(ids)))


def _chunked(stage: Stage, ids: torch.Tensor, chunk: int, context: int) -> torch.Tensor:
    """Feed a cache that is full of something else in chunks."""
    cache = stage.new_cache(context)
    stage.forward(ids.flip(0), 0, cache)
    parts = [stage.forward(ids[at : at + chunk], at, cache) for at in range(0, len(ids), chunk)]
    return torch.cat(parts)


def test_f32_agrees_with_an_independent_network(
    f32: Stage, smollm2_path: Path, spec: ModelSpec, english: torch.Tensor
) -> None:
    ids = english[:24]
    difference = f32.logits(_hidden(f32, ids)) - reference_logits(smollm2_path, spec, ids)
    assert difference.abs().max() < 2e-3


@pytest.mark.parametrize("cuts", [[10, 20], [2, 5]], ids=str)
def test_f32_gives_the_same_logits_however_it_is_split(
    f32: Stage, smollm2_path: Path, spec: ModelSpec, english: torch.Tensor, cuts: Sequence[int]
) -> None:
    rows = english[:12]
    whole = f32.logits(_hidden(f32, rows))
    for start, end in pairwise((0, *cuts, spec.num_layers)):
        stage = Stage.load(smollm2_path, spec, Span(start, end), Precision.F32)
        rows = _hidden(stage, rows)
    assert (stage.logits(rows) - whole).abs().max() <= 1e-5


def test_int4_stays_near_f32_on_english(f32: Stage, int4: Stage, english: torch.Tensor) -> None:
    ids = english[:512]
    assert len(ids) == 512
    exact = f32.logits(_hidden(f32, ids)).log_softmax(-1)
    near = int4.logits(_hidden(int4, ids)).log_softmax(-1)
    divergence = (exact.exp() * (exact - near)).sum(-1).mean()
    assert divergence <= 0.004


def test_bytes_in_memory_are_those_of_the_plan(int4: Stage, f32: Stage, spec: ModelSpec) -> None:
    for stage, held in ((int4, 0.97), (f32, 1.0)):  # torch's int4 holds norms and scales in less
        planned = spec.weights_bytes(spec.whole, stage.precision)
        assert held * planned <= stage.weights_bytes <= planned


@pytest.fixture(scope="module")
def span_and_hidden(smollm2_path: Path, spec: ModelSpec, english: torch.Tensor) -> tuple[Stage, torch.Tensor]:
    """Load a few layers, and what they give for a long prompt fed at once."""
    stage = Stage.load(smollm2_path, spec, Span(0, 4), Precision.INT4)
    return stage, _hidden(stage, english[:700])


@pytest.mark.parametrize("chunk", [1, 3, 16, 17, 100, 512])
def test_chunks_of_a_long_prompt_change_no_bit_of_a_span(
    span_and_hidden: tuple[Stage, torch.Tensor], english: torch.Tensor, chunk: int
) -> None:
    stage, expected = span_and_hidden
    assert torch.equal(_chunked(stage, english[:700], chunk, 1000), expected)


@pytest.fixture(scope="module")
def logits(int4: Stage, english: torch.Tensor) -> torch.Tensor:
    """Return what the whole model gives for a prompt fed at once."""
    return int4.logits(_hidden(int4, english[:100]))


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_change_no_bit_of_the_logits(
    int4: Stage, english: torch.Tensor, logits: torch.Tensor, chunk: int
) -> None:
    hidden = _chunked(int4, english[:100], chunk, 200)
    parts = [int4.logits(hidden[at : at + 7]) for at in range(0, len(hidden), 7)]
    assert torch.equal(torch.cat(parts), logits)


def test_int4_gives_the_same_bits_however_it_is_split(
    int4: Stage, smollm2_path: Path, spec: ModelSpec, english: torch.Tensor
) -> None:
    rows = english[:40]
    whole = int4.logits(_hidden(int4, rows))
    for start, end in pairwise((0, 3, 11, 18, 29, spec.num_layers)):
        stage = Stage.load(smollm2_path, spec, Span(start, end), Precision.INT4)
        rows = _hidden(stage, rows)
    assert torch.equal(stage.logits(rows), whole)
