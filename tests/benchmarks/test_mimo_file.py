"""The random model's file, at a small size."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.beside import mimo_file
from mesh.model.families import model_spec
from mesh.model.gguf import GgufFile
from mesh.store.shelf import ModelStore
from nodes.options import DEFAULT_MODEL, default_data_dir

pytestmark = [pytest.mark.model, pytest.mark.slow]

_SMALL = {"_HIDDEN": 64, "_INTERMEDIATE": 96, "_VOCABULARY": 50_176, "_NUM_HEADS": 4, "_NUM_KV_HEADS": 2}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModelStore:
    for name, value in {**_SMALL, "_HEAD_DIM": 16, "_POOL_GROUPS": 1024}.items():
        monkeypatch.setattr(mimo_file, name, value)
    return ModelStore(tmp_path)


def test_the_file_is_a_whole_model_that_the_loader_knows(store: ModelStore) -> None:
    vocabulary = ModelStore(default_data_dir()).path(DEFAULT_MODEL)
    name = mimo_file.mimo_file(store, vocabulary, num_layers=3)
    path, ref = store.verified(name)
    with GgufFile.open(path) as file:
        spec = model_spec(file, ref.name, ref.digest)
        kinds = {info.type.name for info in file.tensors.values()}
    assert (spec.num_layers, spec.vocab_size, spec.attention_bias) == (3, 50_176, True)
    assert not spec.tied_embeddings
    assert kinds == {"F32", "Q4_1", "Q8_0"}


def test_a_file_that_is_there_is_not_written_again(store: ModelStore) -> None:
    vocabulary = ModelStore(default_data_dir()).path(DEFAULT_MODEL)
    name = mimo_file.mimo_file(store, vocabulary, num_layers=3)
    written_ns = store.file_of(name).stat().st_mtime_ns
    assert mimo_file.mimo_file(store, vocabulary, num_layers=3) == name
    assert store.file_of(name).stat().st_mtime_ns == written_ns
