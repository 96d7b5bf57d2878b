"""What the probe runs, and how figures come of it, on an engine whose work takes a known time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from mesh.engines import copying
from mesh.engines.probe import MOST_LAYERS_BYTES, PREFILL_ROWS, Probed, Subject, Watch, probe
from mesh.engines.random_model import SHAPE
from mesh.errors import NotFinite
from mesh.ports import Prefix, Sampled, Step, StepResult
from mesh.spec import ModelSpec
from mesh.types import CacheKey, Hidden, Precision, Sampling, Span, StageKey, TokenIds

LARGE = replace(SHAPE, hidden_size=4096, num_heads=32, num_kv_heads=8, head_dim=128, intermediate_size=11_008)


@dataclass(slots=True)
class Engine:
    """One row through one layer takes 1 ms, each further row 0.1 ms; the head takes 20 ms a session."""

    now_s: float = 0.0
    stages: list[StageKey] = field(default_factory=list)
    caches: list[CacheKey] = field(default_factory=list)
    ran: list[Sequence[Step]] = field(default_factory=list)
    wrong: NotFinite | None = None

    def load(self, key: StageKey, path: Path, spec: ModelSpec) -> int:
        self.stages.append(key)
        self.now_s += 100
        return 1

    def unload(self, key: StageKey) -> None:
        self.stages.remove(key)

    def open(self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None) -> int:
        self.caches.append(cache)
        return prefix.positions if prefix else 0

    def close(self, cache: CacheKey) -> None:
        if cache in self.caches:
            self.caches.remove(cache)

    def run(self, steps: Sequence[Step]) -> list[StepResult]:
        self.ran.append(steps)
        num_rows = sum(_num_rows(step) for step in steps)
        heads_s = sum(0.020 for step in steps if step.sample)
        self.now_s += self.stages[0].span.num_layers * (0.001 + 0.0001 * (num_rows - 1)) + heads_s
        return [self.wrong or (Sampled(0, 0) if step.sample else None) for step in steps]


def _num_rows(step: Step) -> int:
    match step.payload:
        case TokenIds(ids):
            return len(ids)
        case Hidden(data):
            return len(data) // (2 * LARGE.hidden_size)


@pytest.fixture(autouse=True)
def small_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "BLOCK_BYTES", 1 << 16)


def watch(engine: Engine) -> Watch:
    def clock() -> float:
        engine.now_s += 1e-5
        return engine.now_s

    return Watch(clock, seconds=0.001)


@pytest.mark.parametrize(("spec", "num_layers"), [(SHAPE, 30), (LARGE, 2)])
def test_figures_are_those_of_a_layer_a_row_and_the_head(spec: ModelSpec, num_layers: int) -> None:
    engine = Engine()
    speed = probe(Probed(engine, "fake", "any", 3), Subject(Path("/none"), spec), watch(engine))
    assert [step.num_sessions for step in speed.steps] == [1, 2, 4, 8]
    assert [step.layer_s for step in speed.steps] == pytest.approx([0.001, 0.0011, 0.0013, 0.0017], rel=0.01)
    assert [step.head_s for step in speed.steps] == pytest.approx([0.02, 0.04, 0.08, 0.16], rel=0.01)
    assert speed.prefill_layer_row_s == pytest.approx((0.001 + 0.0255) / PREFILL_ROWS, rel=0.01)
    assert (speed.engine, speed.kind, speed.num_threads, speed.num_layers) == ("fake", "any", 3, 30)
    assert {len(steps) for steps in engine.ran} == {1, 2, 4, 8}
    assert speed.layer_bytes * num_layers <= MOST_LAYERS_BYTES
    assert Subject(Path("/none"), spec).key.span == Span(30 - num_layers, 30)


def test_nothing_is_left_loaded_or_open_afterwards_even_where_it_fails() -> None:
    engine = Engine(wrong=NotFinite("layer 3 made numbers that are none"))
    with pytest.raises(NotFinite, match="layer 3"):
        probe(Probed(engine, "fake", "any", 1), Subject(Path("/none"), SHAPE), watch(engine))
    assert (engine.stages, engine.caches) == ([], [])


def test_a_span_has_one_layer_at_least() -> None:
    huge = replace(SHAPE, hidden_size=1 << 15, intermediate_size=1 << 17)
    assert huge.layer_bytes(Precision.INT4) > MOST_LAYERS_BYTES
    assert Subject(Path("/none"), huge).key.span == Span(29, 30)


def test_bytes_that_are_copied_count_as_read_and_written() -> None:
    ticks = iter(range(100))
    assert copying.copy_rate(2, lambda: next(ticks), 0.5) == 2 * 2 * (1 << 16)
