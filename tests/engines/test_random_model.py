"""A file of random weights is one that engines load and run."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mesh.engines.choosing import make_native
from mesh.engines.native.kernels import available
from mesh.engines.probe import Probed, Subject, Watch, probe
from mesh.engines.random_model import SHAPE, write_random_model
from mesh.model.checkpoint import open_checkpoint
from mesh.model.families import EMBEDDING, check_tensors
from mesh.spec import ModelSpec

SMALL = replace(SHAPE, num_layers=2, vocab_size=256, context_length=512)


def test_it_has_every_tensor_of_the_shape_and_finite_weights(tmp_path: Path) -> None:
    write_random_model(tmp_path / "model.gguf", SMALL)
    with open_checkpoint(tmp_path / "model.gguf") as file:
        check_tensors(file, SMALL, SMALL.whole)
        scales = file.raw(EMBEDDING).reshape(-1, 34)[:, :2].copy().view(np.float16)
        assert np.isfinite(scales).all()
        assert len(np.unique(file.raw(EMBEDDING))) == 256


@pytest.mark.model
def test_its_shape_is_that_of_the_small_model(smollm2_spec: ModelSpec) -> None:
    same = replace(SHAPE, digest=smollm2_spec.digest, rms_norm_eps=smollm2_spec.rms_norm_eps)
    assert same == smollm2_spec
    assert pytest.approx(smollm2_spec.rms_norm_eps) == SHAPE.rms_norm_eps


@pytest.mark.slow
@pytest.mark.skipif(not available(), reason="the kernels were not built")
def test_the_native_engine_is_measured_on_it(tmp_path: Path) -> None:
    write_random_model(tmp_path / "model.gguf", SMALL)
    watch = Watch(time.perf_counter, 0.01)  # noqa: TID251  what is measured is real time
    on = Subject(tmp_path / "model.gguf", SMALL)
    speed = probe(Probed(make_native(1), "native", "any", 1), on, watch)
    assert 1 < speed.decode_tokens_per_s < 1e6
    assert 1 < speed.prefill_tokens_per_s < 1e8
    assert speed.memory_rate_bytes_per_s > 1e6
