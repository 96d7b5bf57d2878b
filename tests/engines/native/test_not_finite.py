"""Numbers that are none: damaged weights stop a load, damaged rows end one session, and no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from mesh.engines.native.engine import NativeEngine
from mesh.engines.native.kernels import Kind
from mesh.errors import ModelCorrupt, NotFinite
from mesh.model.bf16 import narrow
from mesh.model.quant import Floats
from mesh.ports import Step, StepResult
from mesh.spec import ModelSpec
from mesh.types import CacheKey, Hidden, Precision, Sampling, SessionId, Span, StageKey, TokenIds
from tests.engines.native.models import KINDS, NORMED, PLAIN, SPECS, kernels, load, some_rows, write

Paths = Callable[[str], Path]
NAN_OR_INFINITE = pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])


def spoil(path: Path, name: str, at: int, number: float) -> None:
    """Overwrite a number inside a tensor's bytes: a float32 where it has such, else a block's float16."""
    reader = gguf.GGUFReader(path, "r+")
    (tensor,) = (tensor for tensor in reader.tensors if tensor.name == name)
    is_plain = tensor.tensor_type is gguf.GGMLQuantizationType.F32
    damage = np.array([number], np.float32 if is_plain else np.float16).view(np.uint8)
    tensor.data.reshape(-1).view(np.uint8)[at : at + len(damage)] = damage
    reader.data.flush()


@NAN_OR_INFINITE
@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("blk.1.attn_k.weight", 0),
        ("blk.1.ffn_down.weight", 20 * 7 + 2),
        ("blk.0.attn_q.bias", 4),
        ("token_embd.weight", 34 * 3),
    ],
)
@pytest.mark.parametrize("precision", [Precision.INT4, Precision.INT8])
def test_weights_that_are_no_numbers_are_found_when_they_are_loaded_and_named(
    tmp_path: Path, name: str, at: int, number: float, precision: Precision
) -> None:
    spec = SPECS["biased"]
    path = write(tmp_path, spec)
    spoil(path, name, at, number)
    with pytest.raises(ModelCorrupt, match=rf"weights in '{name}' that are no numbers; pull the model again"):
        load(path, spec, precision=precision)


@NAN_OR_INFINITE
@pytest.mark.parametrize("precision", [Precision.INT4, Precision.INT8])
def test_they_are_found_where_weights_are_rounded_on_loading_too(
    tmp_path: Path, number: float, precision: Precision
) -> None:
    weights = np.ones((PLAIN.hidden_size, PLAIN.intermediate_size), np.float32)
    weights[5, 40] = number
    path = write(tmp_path, PLAIN, "F32", {"blk.2.ffn_down.weight": weights})
    with pytest.raises(ModelCorrupt, match=r"'blk\.2\.ffn_down\.weight'"):
        load(path, PLAIN, Span(2, 3), precision)
    load(path, PLAIN, Span(1, 2), precision)


def test_what_a_damaged_tensor_belongs_to_is_not_kept_on_disk(tmp_path: Path) -> None:
    path = write(tmp_path, PLAIN)
    spoil(path, "blk.1.attn_v.weight", 0, np.nan)
    for _ in range(2):
        with pytest.raises(ModelCorrupt):
            load(path, PLAIN)
    assert [pack.name for pack in sorted(tmp_path.rglob("*.pack"))] == ["layer-000.pack"]


class Sessions:
    """Sessions on one stage of an engine."""

    def __init__(self, path: Path, spec: ModelSpec, span: Span, kind: Kind | None = None) -> None:
        self.engine = NativeEngine(kernels(kind), 1)
        self.stage = StageKey(spec.digest, span, Precision.INT4)
        self.engine.load(self.stage, path, spec)

    def open(self, name: str) -> None:
        """Give a session room for 400 positions."""
        self.engine.open(self.key(name), 400, Sampling())

    def key(self, name: str) -> CacheKey:
        """Name a session's cache."""
        return CacheKey(SessionId(name), self.stage)

    def run(self, **rows: Floats) -> list[StepResult]:
        """Run hidden states of bf16 numbers from the beginning, session by session."""
        data = {name: narrow(some) for name, some in rows.items()}
        return self.engine.run(
            [Step(self.key(name), 0, Hidden(some.tobytes()), sample=True) for name, some in data.items()]
        )


@pytest.fixture
def sessions(path_of: Paths) -> Sessions:
    """Open sessions a, b and c on all layers but the first."""
    opened = Sessions(path_of("plain"), PLAIN, Span(1, PLAIN.num_layers))
    for name in "abc":
        opened.open(name)
    return opened


@NAN_OR_INFINITE
@pytest.mark.parametrize("row", [0, 3, 299])
def test_a_bad_row_ends_its_session_naming_the_layer_and_harms_no_other(
    sessions: Sessions, number: float, row: int
) -> None:
    short, long, middle = (some_rows(PLAIN, count, seed=count) for count in (1, 300, 20))
    expected = [sessions.run(a=short), sessions.run(b=long), sessions.run(c=middle)]
    spoilt = long.copy()
    spoilt[row, 33] = number
    first, wrong, last = sessions.run(a=short, b=spoilt, c=middle)
    assert [first] == expected[0]
    assert isinstance(wrong, NotFinite)
    assert str(wrong).startswith("layer 1 of tiny made numbers that are none, in positions from 0 on")
    assert [last] == expected[2]
    assert sessions.run(b=long) == expected[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "spec"), [("attn_k_norm", NORMED), ("attn_norm", PLAIN)])
def test_keys_and_values_beyond_float16_are_noticed_in_their_layer(
    tmp_path: Path, kind: Kind, name: str, spec: ModelSpec
) -> None:
    size = spec.head_dim if name == "attn_k_norm" else spec.hidden_size
    changed = {f"blk.1.{name}.weight": np.full(size, 6e4, np.float32)}
    sessions = Sessions(write(tmp_path, spec, changed=changed), spec, spec.whole, kind)
    sessions.open("a")
    (result,) = sessions.engine.run([Step(sessions.key("a"), 0, TokenIds((1, 2, 3, 4, 5)), sample=True)])
    assert isinstance(result, NotFinite)
    assert str(result).startswith("layer 1 of tiny")
