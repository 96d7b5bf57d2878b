"""Which engine computes what: the owner's choice, what was built, and what a stage asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mesh.engines import choosing
from mesh.engines.choosing import BestEngine, EngineName, engine_maker
from mesh.engines.engine import Engine
from mesh.engines.native.engine import NativeEngine, runs
from mesh.engines.native.kernels import available
from mesh.errors import BadSetting, StageNotLoaded, UnsupportedModel
from mesh.ports import Prefix, Sampled, Step, StepResult
from mesh.spec import ModelSpec
from mesh.types import CacheKey, Precision, Sampling, SessionId, StageKey, TokenIds
from tests.model.tiny import SPEC, write

needs_kernels = pytest.mark.skipif(not available(), reason="the kernels were not built")


class Noting:
    """An engine that notes what it is asked for, in the place of torch."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def load(self, key: StageKey, path: Path, spec: ModelSpec) -> int:
        self.asked.append(f"load {key.precision}")
        return 1

    def unload(self, key: StageKey) -> None:
        self.asked.append(f"unload {key.precision}")

    def open(self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None) -> int:
        self.asked.append(f"open {cache.stage.precision}")
        return 0

    def run(self, steps: Sequence[Step]) -> list[StepResult]:
        self.asked.append(f"run {len(steps)}")
        return [None] * len(steps)

    def close(self, cache: CacheKey) -> None:
        self.asked.append(f"close {cache.stage.precision}")


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> list[Noting]:
    """Put notes in the place of torch; return those that were made."""
    made: list[Noting] = []

    def make(num_threads: int) -> Engine:
        assert num_threads == 3
        made.append(Noting())
        return made[-1]

    monkeypatch.setattr(choosing, "make_torch", make)
    monkeypatch.setattr(choosing, "make_best_torch", make)  # where this machine has a graphics card
    monkeypatch.setattr(choosing, "usable", tuple)  # no graphics card, whatever is in this machine
    return made


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the kernels away."""
    monkeypatch.setattr(choosing, "available", lambda: False)


def key_of(precision: Precision) -> StageKey:
    return StageKey(SPEC.digest, SPEC.whole, precision)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("choosing") / "model.gguf")


@needs_kernels
def test_native_is_our_kernels_alone(path: Path) -> None:
    engine = engine_maker(EngineName.NATIVE, 1)()
    assert isinstance(engine, NativeEngine)
    for precision in (Precision.BF16, Precision.F32):
        with pytest.raises(UnsupportedModel, match=rf"tiny in {precision} .* use --engine torch"):
            engine.load(key_of(precision), path, SPEC)


def test_native_without_kernels_says_what_to_do(missing: None) -> None:
    with pytest.raises(BadSetting, match="the native kernels were not built; install a C compiler"):
        engine_maker(EngineName.NATIVE, 1)


def test_torch_is_torch_whether_or_not_there_are_kernels(torch: list[Noting]) -> None:
    assert engine_maker(EngineName.TORCH, 3)() is torch[0]


def test_auto_is_torch_where_the_kernels_are_missing(missing: None, torch: list[Noting]) -> None:
    assert engine_maker(EngineName.AUTO, 3)() is torch[0]


@needs_kernels
def test_auto_makes_no_torch_until_a_stage_needs_it(path: Path, torch: list[Noting]) -> None:
    engine = engine_maker(EngineName.AUTO, 3)()
    assert isinstance(engine, BestEngine)
    cache = CacheKey(SessionId("a"), key_of(Precision.INT4))
    engine.load(cache.stage, path, SPEC)
    engine.open(cache, 10, Sampling())
    (result,) = engine.run([Step(cache, 0, TokenIds((1, 2)), sample=True)])
    assert isinstance(result, Sampled)
    engine.close(cache)
    engine.unload(cache.stage)
    with pytest.raises(StageNotLoaded):
        engine.open(cache, 10, Sampling())
    assert engine.run([]) == []
    assert not torch


@needs_kernels
@pytest.mark.parametrize("precision", [Precision.BF16, Precision.F32])
def test_what_our_kernels_do_not_run_goes_to_torch_from_loading_to_unloading(
    path: Path, torch: list[Noting], precision: Precision
) -> None:
    engine = engine_maker(EngineName.AUTO, 3)()
    cache = CacheKey(SessionId("a"), key_of(precision))
    engine.load(cache.stage, path, SPEC)
    engine.open(cache, 10, Sampling())
    engine.run([Step(cache, 0, TokenIds((1,)), sample=True)])
    engine.close(cache)
    engine.unload(cache.stage)
    calls = ["load {}", "open {}", "run 1", "close {}", "unload {}"]
    assert [noting.asked for noting in torch] == [[call.format(precision) for call in calls]]


@needs_kernels
def test_both_serve_side_by_side(path: Path, torch: list[Noting]) -> None:
    engine = engine_maker(EngineName.AUTO, 3)()
    for precision in (Precision.F32, Precision.INT4, Precision.INT8, Precision.BF16):
        engine.load(key_of(precision), path, SPEC)
    assert [noting.asked for noting in torch] == [["load f32", "load bf16"]]


@pytest.mark.parametrize(
    ("precision", "head_dim", "expected"),
    [
        (Precision.INT4, 64, True),
        (Precision.INT8, 80, True),
        (Precision.INT4, 24, False),
        (Precision.INT8, 8, False),
        (Precision.F32, 64, False),
        (Precision.BF16, 64, False),
    ],
)
def test_our_kernels_run_4_and_8_bits_and_heads_of_whole_sixteens(
    precision: Precision, head_dim: int, expected: bool
) -> None:
    assert runs(key_of(precision), replace(SPEC, head_dim=head_dim)) is expected


@pytest.mark.slow
def test_torch_computes_on_as_many_threads_as_were_asked_for(path: Path) -> None:
    import torch as library

    before = library.get_num_threads()
    make: Callable[[], Engine] = engine_maker(EngineName.TORCH, 1)
    engine = make()
    assert library.get_num_threads() == 1
    assert engine.load(key_of(Precision.F32), path, SPEC) == SPEC.weights_bytes(SPEC.whole, Precision.F32)
    library.set_num_threads(before)
