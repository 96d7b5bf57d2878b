"""Reading a model's shape: what is right is read, what would run wrongly is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gguf
import pytest

from mesh.errors import ModelCorrupt, UnsupportedModel
from mesh.model.families import model_spec
from mesh.model.gguf import GgufFile
from mesh.spec import ModelSpec
from mesh.types import Digest
from tests.model.tiny import DIGEST, SPEC, UNTIED, Recipe, write


def _spec(path: Path) -> ModelSpec:
    with GgufFile.open(path) as file:
        return model_spec(file, "tiny", DIGEST)


def test_the_shape_is_read_from_the_file(tmp_path: Path) -> None:
    assert _spec(write(tmp_path / "tied.gguf")) == SPEC
    assert _spec(write(tmp_path / "untied.gguf", Recipe(spec=UNTIED))) == UNTIED


def test_an_unknown_architecture_is_named_with_those_that_run(tmp_path: Path) -> None:
    path = write(tmp_path / "mamba.gguf", Recipe(spec=replace(SPEC, architecture="mamba")))
    with pytest.raises(UnsupportedModel, match="architecture 'mamba'; supported: llama"):
        _spec(path)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("llama.expert_count", 8, "mixture of experts"),
        ("llama.rope.scaling.type", "yarn", "scales its rotary positions .yarn."),
        ("llama.rope.dimension_count", 8, "llama.rope.dimension_count other than its heads' 16"),
        ("llama.attention.value_length", 32, "value_length other than its heads' 16"),
    ],
)
def test_a_variant_that_would_compute_wrongly_is_refused(
    tmp_path: Path, key: str, value: str | int, says: str
) -> None:
    path = write(tmp_path / "variant.gguf", Recipe(extra=((key, value),)))
    with pytest.raises(UnsupportedModel, match=says):
        _spec(path)


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        (replace(SPEC, num_heads=3, head_dim=21), ModelCorrupt, "3 heads of 21 numbers on 2 key-value heads"),
        (replace(SPEC, intermediate_size=80), UnsupportedModel, r"rows of \(64, 64, 80\)"),
    ],
)
def test_impossible_shapes_are_refused(
    tmp_path: Path, changed: ModelSpec, error: type[Exception], says: str
) -> None:
    path = write(tmp_path / "shape.gguf", Recipe(spec=changed, linear="F32"))
    with pytest.raises(error, match=says):
        _spec(path)


@pytest.mark.parametrize("name", ["blk.1.attn_q.bias", "blk.2.attn_output.bias", "blk.0.ffn_gate_inp.weight"])
def test_a_layer_with_more_than_the_network_has_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "more.gguf", Recipe(beside=((name, 64),)))
    with pytest.raises(UnsupportedModel, match=f"tensor '{name}', which the network llama has not"):
        _spec(path)


def test_layers_beyond_the_main_network_are_left_alone(tmp_path: Path) -> None:
    assert _spec(write(tmp_path / "more.gguf", Recipe(beside=(("blk.3.nextn.weight", 64),)))) == SPEC


def test_factors_of_the_rotary_frequencies_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "rope.gguf", Recipe(beside=(("rope_freqs.weight", 8),)))
    factors = _spec(path).rope_factors
    assert len(factors) == 8
    assert all(0.5 <= factor <= 1.5 for factor in factors)


def test_factors_of_another_number_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "rope.gguf", Recipe(beside=(("rope_freqs.weight", 7),)))
    with pytest.raises(ModelCorrupt, match=r"'rope_freqs\.weight' than 8 positive numbers"):
        _spec(path)


def _metadata_only(path: Path, **entries: int | str) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in entries.items():
        name = key.replace("__", ".")
        writer.add_string(name, value) if isinstance(value, str) else writer.add_uint32(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({}, "no metadata 'llama.embedding_length'"),
        ({"llama__embedding_length": "many"}, "'many' as 'llama.embedding_length' where a count belongs"),
        ({"llama__embedding_length": 0}, "0 as 'llama.embedding_length'"),
    ],
)
def test_missing_or_wrong_metadata_is_named(tmp_path: Path, entries: dict[str, int | str], says: str) -> None:
    with pytest.raises(ModelCorrupt, match=says):
        _spec(_metadata_only(tmp_path / "bare.gguf", **entries))


def test_a_file_without_architecture_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "nothing.gguf"
    path.write_bytes(b"GGUF\x03\x00\x00\x00" + bytes(16))
    with pytest.raises(ModelCorrupt, match=r"no metadata 'general\.architecture'"):
        _spec(path)


def test_a_file_without_embedding_is_corrupt(tmp_path: Path) -> None:
    path = write(tmp_path / "headless.gguf", Recipe(without="token_embd.weight"))
    with pytest.raises(ModelCorrupt, match=r"no tensor 'token_embd\.weight'"):
        _spec(path)


@pytest.mark.model
def test_the_real_shape_is_that_of_smollm2(smollm2_path: Path) -> None:
    with GgufFile.open(smollm2_path) as file:
        spec = model_spec(file, "smollm2:135m", Digest("1" * 64))
    assert (spec.num_layers, spec.hidden_size, spec.vocab_size) == (30, 576, 49_152)
    assert (spec.num_heads, spec.num_kv_heads, spec.head_dim) == (9, 3, 64)
    assert (spec.rope_base, spec.context_length, spec.tied_embeddings) == (100_000.0, 8192, True)
