"""Folders and files of each family compute what transformers computes, whole and split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mesh.model.checkpoint import open_checkpoint
from mesh.model.families import model_spec
from mesh.model.hf_folder import HfFolder
from mesh.model.stage import Stage
from mesh.model.tensors import TensorType
from mesh.spec import ModelSpec
from mesh.types import Digest, Precision, Span
from tests.model.hf_models import VOCABULARY, Network, Shape, logits_of_network, network, save, write_gguf

pytestmark = pytest.mark.slow

IDS = torch.from_numpy(np.random.default_rng(3).integers(0, VOCABULARY, 70))
SHAPES = [
    Shape("llama"),
    Shape("llama", tied=True, llama3=True),
    Shape("qwen2", tied=True),
    Shape("qwen3"),
]


def _spec(path: Path) -> ModelSpec:
    with open_checkpoint(path) as file:
        return model_spec(file, "tiny", Digest("0" * 64))


def _logits(path: Path, cuts: Sequence[int], precision: Precision = Precision.F32) -> torch.Tensor:
    spec, rows = _spec(path), IDS
    for start, end in pairwise([0, *cuts, 3]):
        stage = Stage.load(path, spec, Span(start, end), precision)
        assert stage.weights_bytes <= spec.weights_bytes(Span(start, end), precision)
        rows = stage.forward(rows, 0, stage.new_cache(128))
    return stage.logits(rows)


def _assert_parity(path: Path, made: Network) -> None:
    expected = logits_of_network(made, IDS)
    assert expected.std() > 0.3
    for cuts in ([], [1], [1, 2]):
        assert (_logits(path, cuts) - expected).abs().max() < 1e-4, cuts


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_f32_agrees_with_transformers_whole_and_split(tmp_path: Path, shape: Shape) -> None:
    made = network(shape)
    _assert_parity(save(made, tmp_path), made)


def test_shards_are_read_as_one(tmp_path: Path) -> None:
    made = network(Shape("qwen2"))
    save(made, tmp_path, "40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    _assert_parity(tmp_path, made)


def test_a_folder_in_bf16_agrees(tmp_path: Path) -> None:
    made = network(Shape("llama"))
    with torch.no_grad():
        for _, weights in made.named_parameters():
            weights.copy_(weights.to(torch.bfloat16))
    save(deepcopy(made).to(torch.bfloat16), tmp_path)
    with open_checkpoint(tmp_path) as file:
        assert file.tensors["blk.0.attn_q.weight"].type is TensorType.BF16
    _assert_parity(tmp_path, made)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gguf_files_of_each_family_agree_too(tmp_path: Path, shape: Shape) -> None:
    made = network(shape)
    _assert_parity(write_gguf(made, tmp_path / "tiny.gguf", shape), made)


def as_mimo(made: Network, folder: Path) -> Path:
    """Save a Qwen2 network as MiMo's: the same main network, and a part of a layer for several tokens."""
    save(made, folder)
    config = json.loads((folder / "config.json").read_bytes())
    config |= {"architectures": ["MiMoForCausalLM"], "model_type": "mimo", "num_nextn_predict_layers": 1}
    (folder / "config.json").write_text(json.dumps({**config, "attention_bias": True}))
    tensors = {name: weights.detach().contiguous() for name, weights in made.named_parameters()}
    tensors["model.mtp_layers.0.input_proj.weight"] = torch.ones(64, 128)
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_mimos_main_network_agrees_where_the_rest_is_not_whole(tmp_path: Path) -> None:
    made = network(Shape("qwen2"))
    _assert_parity(as_mimo(made, tmp_path), made)
    assert "input_layernorm" in _spec(tmp_path).no_mtp


def test_llama3_scaling_changes_the_answer(tmp_path: Path) -> None:
    path = save(network(Shape("llama", llama3=True)), tmp_path)
    config = json.loads((path / "config.json").read_bytes())
    scaled = _logits(path, [])
    (path / "config.json").write_text(json.dumps({**config, "rope_parameters": {"rope_theta": 10_000.0}}))
    assert (_logits(path, []) - scaled).abs().max() > 0.1


def test_older_spellings_of_the_rotary_settings_mean_the_same(tmp_path: Path) -> None:
    path = save(network(Shape("llama", llama3=True)), tmp_path)
    config = json.loads((path / "config.json").read_bytes())
    expected = _spec(path)
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    (path / "config.json").write_text(json.dumps({**config, "rope_scaling": rope}))
    assert expected.rope_factors
    assert _spec(path) == expected


@pytest.mark.parametrize("precision", [Precision.INT4, Precision.INT8, Precision.BF16])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_smaller_precisions_stay_near(tmp_path: Path, family: str, precision: Precision) -> None:
    made = network(Shape(family))
    path = save(made, tmp_path)
    exact, near = logits_of_network(made, IDS), _logits(path, [1], precision)
    share = float((near - exact).square().mean().sqrt() / exact.std())
    assert share < (0.4 if precision is Precision.INT4 else 0.05)


def test_only_the_spans_tensors_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read, raw = save(network(Shape("qwen3")), tmp_path), list[str](), HfFolder.raw

    def noted(file: HfFolder, name: str) -> object:
        read.append(name)
        return raw(file, name)

    spec = _spec(path)
    monkeypatch.setattr(HfFolder, "raw", noted)
    Stage.load(path, spec, Span(1, 2), Precision.INT4)
    assert len(read) == 11
    assert all(name.startswith("blk.1.") for name in read)
