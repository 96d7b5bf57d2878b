"""The torch engine where it lives: rows and tokens in the form that runs on every device, and a full card."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from mesh.engines.torch_engine import TorchEngine
from mesh.errors import InsufficientMemory, NotFinite
from mesh.model.placement import Form, Placement
from mesh.model.stage import Stage
from mesh.ports import Prefix, Sampled, Step, StepResult
from mesh.types import CacheKey, Hidden, Payload, Precision, Sampling, SessionId, Span, StageKey, TokenIds
from tests.model.tiny import SPEC, write
from tests.torch_threads import one_torch_thread

PROMPT = tuple(token * 37 % SPEC.vocab_size for token in range(1, 41))
DTYPES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("torch") / "model.gguf")


def engine_on(path: Path, dtype: torch.dtype, *spans: Span) -> tuple[TorchEngine, list[StageKey]]:
    engine = TorchEngine(Placement(torch.device("cpu"), Form.ANYWHERE, dtype))
    keys = [StageKey(SPEC.digest, span, Precision.INT4) for span in spans]
    for key in keys:
        engine.load(key, path, SPEC)
    return engine, keys


def feed(engine: TorchEngine, cache: CacheKey, start: int, payload: Payload) -> StepResult:
    (result,) = engine.run([Step(cache, start, payload, sample=True)])
    return result


@DTYPES
def test_stages_answer_as_one(path: Path, dtype: torch.dtype) -> None:
    engine, (whole, *parts) = engine_on(path, dtype, SPEC.whole, Span(0, 1), Span(1, 2), Span(2, 3))
    caches = [CacheKey(SessionId("a"), key) for key in (whole, *parts)]
    for cache in caches:
        assert engine.open(cache, 100, Sampling()) == 0
    for start, end in pairwise((0, 30, 31, 32, 40)):
        expected = feed(engine, caches[0], start, TokenIds(PROMPT[start:end]))
        passed: StepResult = None
        for cache in caches[1:]:
            payload = passed if isinstance(passed, Hidden) else TokenIds(PROMPT[start:end])
            passed = feed(engine, cache, start, payload)
            if cache is not caches[-1]:
                assert isinstance(passed, Hidden)
                assert len(passed.data) == (end - start) * SPEC.row_bytes(Precision.INT4)
        assert isinstance(expected, Sampled)
        assert passed == expected


@DTYPES
def test_sessions_of_a_batch_answer_as_alone_beside_one_that_fails(path: Path, dtype: torch.dtype) -> None:
    engine, (key,) = engine_on(path, dtype, SPEC.whole)
    sizes = {"a": 1, "b": 17, "c": 40}
    for name in (*sizes, *(f"alone-{name}" for name in sizes)):
        engine.open(CacheKey(SessionId(name), key), 100, Sampling())
    alone = [
        feed(engine, CacheKey(SessionId(f"alone-{name}"), key), 0, TokenIds(PROMPT[:size]))
        for name, size in sizes.items()
    ]
    stranger = Step(CacheKey(SessionId("stranger"), key), 0, TokenIds(PROMPT), sample=True)
    steps = [
        Step(CacheKey(SessionId(name), key), 0, TokenIds(PROMPT[:size]), sample=True)
        for name, size in sizes.items()
    ]
    first, wrong, *others = engine.run([steps[0], stranger, *steps[1:]])
    assert [first, *others] == alone
    assert "stranger" in str(wrong)


def test_a_beginning_is_copied(path: Path) -> None:
    engine, (key,) = engine_on(path, torch.float16, SPEC.whole)
    source, copy = (CacheKey(SessionId(name), key) for name in ("source", "copy"))
    engine.open(source, 100, Sampling())
    expected = [
        feed(engine, source, 0, TokenIds(PROMPT[:30])),
        feed(engine, source, 30, TokenIds(PROMPT[30:])),
    ]
    assert engine.open(copy, 50, Sampling(), Prefix(source, 30)) == 30
    assert feed(engine, copy, 30, TokenIds(PROMPT[30:])) == expected[1]


def test_rows_beyond_float16_are_noticed(path: Path) -> None:
    engine, (key,) = engine_on(path, torch.float16, Span(1, 3))
    cache = CacheKey(SessionId("a"), key)
    engine.open(cache, 10, Sampling())
    rows = torch.full((2, SPEC.hidden_size), 1e5, dtype=torch.bfloat16)
    result = feed(engine, cache, 0, Hidden(rows.view(torch.uint8).numpy().tobytes()))
    assert isinstance(result, NotFinite)
    assert str(result).startswith("layer 1 of tiny made numbers that are none, in positions from 0 on")
    assert str(result).endswith("float16 ends: use --engine auto")


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory.\nTried"), RuntimeError("MPS backend out of memory (..)")],
)
def test_a_full_card_is_told_in_one_line(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    def fail(*_: object) -> None:
        raise error

    engine, (key,) = engine_on(path, torch.bfloat16, SPEC.whole)
    cache = CacheKey(SessionId("a"), key)
    engine.open(cache, 10, Sampling())
    step = Step(cache, 0, TokenIds((1,)), sample=True)
    expected = engine.run([step])
    for name in ("load", "new_cache", "compute"):
        monkeypatch.setattr(Stage, name, fail)
    with pytest.raises(
        InsufficientMemory, match=r"^the memory of cpu is full: no room for layers \[0, 1\) of tiny; "
    ):
        engine.load(StageKey(SPEC.digest, Span(0, 1), Precision.INT4), path, SPEC)
    with pytest.raises(InsufficientMemory, match="no room for a session of 10 positions; lend less"):
        engine.open(cache, 10, Sampling())
    with pytest.raises(InsufficientMemory, match="no room for a batch of 1 frames"):
        engine.run([step])
    monkeypatch.undo()
    assert engine.run([step]) == expected


def test_other_errors_of_torch_stay_what_they_are(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    engine, (key,) = engine_on(path, torch.bfloat16, SPEC.whole)
    monkeypatch.setattr(Stage, "new_cache", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        engine.open(CacheKey(SessionId("a"), key), 10, Sampling())
