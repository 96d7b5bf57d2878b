"""The random model's file, at a small size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.beside import mimo_file
from benchmarks.beside.mimo_file import MimoShape
from mesh.engines.native.engine import NativeEngine
from mesh.engines.native.kernels import load_kernels
from mesh.model.families import model_spec
from mesh.model.gguf import GgufFile
from mesh.ports import Sampled, Step
from mesh.store.shelf import ModelStore
from mesh.types import CacheKey, Precision, Sampling, SessionId, Span, StageKey, TokenIds
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
    name = mimo_file.mimo_file(store, vocabulary, MimoShape(3))
    path, ref = store.verified(name)
    with GgufFile.open(path) as file:
        spec = model_spec(file, ref.name, ref.digest)
        kinds = {info.type.name for info in file.tensors.values()}
    assert (spec.num_layers, spec.vocab_size, spec.attention_bias) == (3, 50_176, True)
    assert not spec.tied_embeddings
    assert kinds == {"F32", "Q4_1", "Q8_0"}


def test_a_file_that_is_there_is_not_written_again(store: ModelStore) -> None:
    vocabulary = ModelStore(default_data_dir()).path(DEFAULT_MODEL)
    name = mimo_file.mimo_file(store, vocabulary, MimoShape(3))
    written_ns = store.file_of(name).stat().st_mtime_ns
    assert mimo_file.mimo_file(store, vocabulary, MimoShape(3)) == name
    assert store.file_of(name).stat().st_mtime_ns == written_ns


def test_with_its_mtp_layer_the_engine_loads_what_is_planned_and_guesses(store: ModelStore) -> None:
    vocabulary = ModelStore(default_data_dir()).path(DEFAULT_MODEL)
    path, ref = store.verified(mimo_file.mimo_file(store, vocabulary, MimoShape(3, has_mtp=True)))
    with GgufFile.open(path) as file:
        spec = model_spec(file, ref.name, ref.digest)
    assert (spec.architecture, spec.has_mtp, spec.no_mtp) == ("mimo", True, "")
    engine, key = NativeEngine(load_kernels(), 1), StageKey(spec.digest, spec.whole, Precision.INT4)
    assert engine.load(key, path, spec) == spec.weights_bytes(spec.whole, Precision.INT4)
    without = replace(spec, has_mtp=False).weights_bytes(spec.whole, Precision.INT4)
    assert spec.weights_bytes(spec.whole, Precision.INT4) > without + spec.layer_bytes(Precision.INT4)
    cache, text = CacheKey(SessionId("a"), key), tuple(range(10, 30))
    engine.open(cache, 64, Sampling())
    (drawn,) = engine.run([Step(cache, 0, TokenIds(text), True, (), text, 3)])
    assert isinstance(drawn, Sampled)
    assert len(drawn.guessed) == 3


def test_the_last_stage_alone_holds_the_layer(store: ModelStore) -> None:
    vocabulary = ModelStore(default_data_dir()).path(DEFAULT_MODEL)
    path, ref = store.verified(mimo_file.mimo_file(store, vocabulary, MimoShape(3, has_mtp=True)))
    with GgufFile.open(path) as file:
        spec = model_spec(file, ref.name, ref.digest)
    plain = replace(spec, has_mtp=False)
    more = [
        spec.weights_bytes(span, Precision.INT4) - plain.weights_bytes(span, Precision.INT4)
        for span in (Span(0, 1), Span(1, 2), Span(2, 3))
    ]
    assert more[:2] == [0, 0]
    assert more[2] > spec.layer_bytes(Precision.INT4) + spec.table_bytes(Precision.INT4)
