"""Folders: what is whole is read, and whatever is wrong is said in one line that names it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mesh.errors import ModelCorrupt, ModelError, ModelNotPulled, UnsupportedModel
from mesh.model.checkpoint import open_checkpoint
from mesh.model.families import check_tensors, model_spec
from mesh.model.gguf import GgufFile
from mesh.model.hf_folder import HfFolder
from mesh.model.quant import dequantise
from tests.model.tiny import DIGEST, SPEC, write
from tests.model.tiny_folder import FIRST, INDEX, SECOND, Folder, weights, write_folder, write_shards


def _refused(path: Path) -> ModelError:
    """Return why a folder cannot be read whole."""
    with pytest.raises(ModelError) as raised:
        _read(path)
    assert "\n" not in str(raised.value)
    return raised.value


def _read(path: Path) -> None:
    with open_checkpoint(path) as file:
        spec = model_spec(file, "tiny", DIGEST)
        check_tensors(file, spec, spec.whole)


def test_the_shape_is_that_of_the_same_model_as_gguf(tmp_path: Path) -> None:
    with open_checkpoint(write_folder(tmp_path)) as file:
        assert isinstance(file, HfFolder)
        assert model_spec(file, "tiny", DIGEST) == SPEC
        assert not file.interleaved_rotary


def test_a_file_is_opened_as_gguf(tmp_path: Path) -> None:
    with open_checkpoint(write(tmp_path / "tiny.gguf")) as file:
        assert isinstance(file, GgufFile)
        assert file.interleaved_rotary


@pytest.mark.parametrize("written", [write_folder, write_shards])
def test_every_tensor_is_read_under_its_canonical_name(
    tmp_path: Path, written: Callable[[Path], Path]
) -> None:
    expected = weights(Folder())
    with open_checkpoint(written(tmp_path)) as file:
        assert len(file.tensors) == len(expected)
        for name, info in file.tensors.items():
            assert info.name == file.spell(name)
            found = dequantise(file.raw(name), info.type, info.shape)
            assert np.array_equal(found, expected[info.name])


def test_views_outlive_the_folder_and_a_closed_one_gives_none(tmp_path: Path) -> None:
    with open_checkpoint(write_folder(tmp_path)) as file:
        view = file.raw("output_norm.weight")
    assert not view.flags.writeable
    assert np.isfinite(view.view(np.float32)).all()
    file.close()
    with pytest.raises(ValueError, match="is closed"):
        file.raw("output_norm.weight")


def test_a_head_in_the_file_is_left_alone_where_the_config_ties_it(tmp_path: Path) -> None:
    head = {"lm_head.weight": np.ones((SPEC.vocab_size, SPEC.hidden_size), np.float32)}
    with open_checkpoint(write_folder(tmp_path / "tied", Folder(extra=head))) as file:
        assert model_spec(file, "tiny", DIGEST).tied_embeddings
    changed = Folder({"tie_word_embeddings": False}, extra=head)
    with open_checkpoint(write_folder(tmp_path / "not", changed)) as file:
        assert not model_spec(file, "tiny", DIGEST).tied_embeddings


Q_PROJ = "model.layers.1.self_attn.q_proj.weight"


@pytest.mark.parametrize(
    ("folder", "kind", "says"),
    [
        (Folder(without=Q_PROJ), ModelCorrupt, f"has no tensor '{Q_PROJ}'"),
        (Folder(extra={Q_PROJ: np.ones((65, 64), np.float32)}), ModelCorrupt,
         rf"'{Q_PROJ}' of shape \[65, 64\] where \[64, 64\] belongs"),
        (Folder(extra={Q_PROJ: np.ones((64, 64), np.int8)}), UnsupportedModel,
         f"'{Q_PROJ}' is of type I8; supported: F32, F16, BF16"),
        (Folder(extra={"model.layers.0.mlp.up_proj.bias": np.ones(96, np.float32)}), UnsupportedModel,
         r"'model\.layers\.0\.mlp\.up_proj\.bias', which the network llama has not"),
        (Folder({"tie_word_embeddings": False}), ModelCorrupt, r"no tensor 'lm_head\.weight'"),
        (Folder({"num_hidden_layers": 4}), ModelCorrupt, r"no tensor 'model\.layers\.3\."),
        (Folder({"num_hidden_layers": 10**9}), ModelCorrupt, "announces 1000000000 layers"),
        (Folder({"hidden_size": 96}), ModelCorrupt, r"embed_tokens\.weight' of shape \[128, 64\]"),
        (Folder({"num_attention_heads": 3}), ModelCorrupt, "3 heads of 21 numbers on 2"),
        (Folder({"num_attention_heads": 66}), ModelCorrupt, "66 heads of 0 numbers on 2"),
        (Folder({"num_attention_heads": "four"}), ModelCorrupt, "'four' as 'num_attention_heads'"),
        (Folder({"rms_norm_eps": -1}), ModelCorrupt, "-1 as 'rms_norm_eps' where a positive number"),
        (Folder({"rope_scaling": [1]}), ModelCorrupt, "'rope_scaling' where a JSON object belongs"),
        (Folder({"tie_word_embeddings": 3}), ModelCorrupt, "3 as 'tie_word_embeddings' where true or"),
        (Folder({"hidden_size": None}), ModelCorrupt, "no metadata 'hidden_size'"),
        (Folder({"architectures": None}), ModelCorrupt, "has no 'architectures'"),
        (Folder({"architectures": ["MambaForCausalLM"]}), UnsupportedModel,
         "'MambaForCausalLM'; supported: LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, MiMo"),
        (Folder({"hidden_act": "gelu"}), UnsupportedModel, "has hidden_act 'gelu', which is not computed"),
        (Folder({"attention_bias": True}), UnsupportedModel, "has attention_bias True"),
        (Folder({"layer_types": ["full_attention", "sliding_attention"]}), UnsupportedModel, "layer_types"),
        (Folder({"quantization_config": {"bits": 4}}), UnsupportedModel, "quantization_config"),
        (Folder({"rope_scaling": {"type": "yarn"}}), UnsupportedModel, r"\(yarn\); supported: default"),
        (Folder({"rope_scaling": {"rope_type": "llama3"}}), ModelCorrupt, "no metadata 'factor'"),
    ],
)  # fmt: skip
def test_what_would_compute_wrongly_is_refused_by_name(
    tmp_path: Path, folder: Folder, kind: type[ModelError], says: str
) -> None:
    error = _refused(write_folder(tmp_path, folder))
    assert type(error) is kind
    assert re.search(says, str(error))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    (write_shards(tmp_path) / SECOND).unlink()
    assert f"has no {SECOND}" in str(_refused(tmp_path))


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    write_shards(tmp_path)
    save_file(weights(Folder()), tmp_path / SECOND)
    assert re.search("tensor 'model.* twice", str(_refused(tmp_path)))


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ({"weight_map": {"a": "../../model.safetensors"}}, "names a file outside its folder"),
        ({"weight_map": {}}, "names no files"),
        ({}, "names no files"),
        ([], "is no JSON object"),
    ],
)
def test_an_index_that_makes_no_sense_is_refused(tmp_path: Path, index: object, says: str) -> None:
    (write_shards(tmp_path) / INDEX).write_text(json.dumps(index))
    assert says in str(_refused(tmp_path))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    (write_folder(tmp_path) / name).unlink()
    assert re.search(rf"has no {name}; take the folder of a whole model$", str(_refused(tmp_path)))


def test_weights_as_pickles_are_refused(tmp_path: Path) -> None:
    (write_folder(tmp_path) / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    error = _refused(tmp_path)
    assert type(error) is UnsupportedModel
    assert "only safetensors files are read" in str(error)


def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelNotPulled, match="no model folder"):
        HfFolder.open(tmp_path / "none")


def test_a_truncated_file_is_refused_at_any_length(tmp_path: Path) -> None:
    path = write_shards(tmp_path) / FIRST
    whole = path.stat().st_size
    for length in [*range(0, 3000, 211), *range(3000, whole, 20_001), whole - 1]:
        os.truncate(path, length)
        assert re.search("is empty|is not a whole safetensors file", str(_refused(tmp_path)))
        path.unlink()
        write_shards(tmp_path)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("[]", "no JSON object"),
        ("{", "no JSON"),
        ('{"w": 3}', "'w' is not described"),
        ('{"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}', r"shape \[4\] takes 8 bytes"),
        ('{"w": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}', "has no shape"),
        ('{"w": {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]}}', "or no place"),
        ('{"w": {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]}}', "ends before tensor 'w' does"),
        ('{"w": {"dtype": ["F32"], "shape": [4], "data_offsets": [0, 16]}}', "is of type"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, header: str, says: str) -> None:
    data = len(header).to_bytes(8, "little") + header.encode() + bytes(16)
    (write_folder(tmp_path) / "model.safetensors").write_bytes(data)
    assert re.search(says, str(_refused(tmp_path)))


@pytest.mark.slow
def test_reading_a_folder_does_not_load_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mesh.model.checkpoint import open_checkpoint;"
        "import mesh.model.families;"
        f"open_checkpoint(Path({str(write_folder(tmp_path))!r})); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
