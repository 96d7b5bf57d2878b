"""MiMo folders with a layer for multi-token prediction, and those that run without it and say why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mesh.model.checkpoint import open_checkpoint
from mesh.model.families import check_tensors, model_spec
from mesh.types import Digest, Precision, Span
from tests.model import mimo, tiny


def test_its_layer_belongs_to_the_last_span(tmp_path: Path) -> None:
    path = mimo.write(tmp_path)
    spec = mimo.spec_of(path)
    assert (spec.has_mtp, spec.no_mtp) == (True, "")
    with open_checkpoint(path) as file:
        assert file.spell("mtp.0.attn_q.bias") == "model.mtp_layers.0.self_attn.q_proj.bias"
        for span in (spec.whole, Span(0, 2), Span(2, 3)):
            check_tensors(file, spec, span)


def test_its_bytes_are_counted_where_they_are(tmp_path: Path) -> None:
    spec = mimo.spec_of(mimo.write(tmp_path))
    plain = replace(spec, has_mtp=False)
    sizes = {name: int(np.prod(shape)) for name, shape in mimo.shapes().items()}
    layer = 4 * sum(size for name, size in sizes.items() if name.startswith(mimo.MTP))
    table = 4 * sizes["model.embed_tokens.weight"]
    f32 = Precision.F32
    assert spec.weights_bytes(Span(0, 2), f32) == plain.weights_bytes(Span(0, 2), f32)
    assert spec.weights_bytes(Span(1, 3), f32) == plain.weights_bytes(Span(1, 3), f32) + layer + table
    assert spec.weights_bytes(spec.whole, f32) == plain.weights_bytes(spec.whole, f32) + layer
    tied = replace(spec, tied_embeddings=True)
    assert tied.weights_bytes(Span(1, 3), f32) == spec.weights_bytes(Span(1, 3), f32) - table
    assert spec.cache_bytes(Span(1, 3), 100, f32) == 3 * spec.layer_cache_bytes(100, f32)
    assert spec.cache_bytes(Span(1, 2), 100, f32) == spec.layer_cache_bytes(100, f32)


def _without(name: str) -> mimo.Tensors:
    made = mimo.tensors()
    del made[f"{mimo.MTP}.{name}"]
    return made


def _misshapen() -> mimo.Tensors:
    return mimo.tensors() | {f"{mimo.MTP}.input_proj.weight": np.ones((64, 64), np.float32)}


@pytest.mark.parametrize(
    ("made", "config", "said"),
    [
        (None, {"num_nextn_predict_layers": None}, "config.json announces no MTP layer"),
        (None, {"num_nextn_predict_layers": 0}, "config.json announces no MTP layer"),
        (None, {"num_nextn_predict_layers": 3}, "3 MTP layers where one is understood"),
        (_without("final_layernorm.weight"), {},
         "the MTP layer has no tensor 'model.mtp_layers.0.final_layernorm.weight'"),
        (_without("self_attn.k_proj.bias"), {},
         "the MTP layer has no tensor 'model.mtp_layers.0.self_attn.k_proj.bias'"),
        (_misshapen(), {},
         "the MTP layer has 'model.mtp_layers.0.input_proj.weight' of [64, 64] where [64, 128] belongs"),
    ],
)  # fmt: skip
def test_one_that_cannot_guess_runs_without_and_says_why(
    tmp_path: Path, made: mimo.Tensors | None, config: Mapping[str, object], said: str
) -> None:
    path = mimo.write(tmp_path, made, config)
    spec = mimo.spec_of(path)
    assert (spec.has_mtp, spec.no_mtp) == (False, said)
    with open_checkpoint(path) as file:
        check_tensors(file, spec, spec.whole)


@pytest.mark.parametrize(("name", "said"), [("MiMo 7B RL", "take the model's folder"), ("tiny", "")])
def test_a_gguf_file_of_mimo_says_that_it_lacks_the_layer(tmp_path: Path, name: str, said: str) -> None:
    spec = replace(tiny.SPEC, architecture="llama")
    path = tiny.write(tmp_path / "m.gguf", tiny.Recipe(spec, extra=(("general.name", name),)))
    with open_checkpoint(path) as file:
        found = model_spec(file, "m", Digest("0" * 64))
    assert not found.has_mtp
    assert said in found.no_mtp
    assert bool(found.no_mtp) == bool(said)
