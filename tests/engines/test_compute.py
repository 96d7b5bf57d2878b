"""The threads between the event loop and an engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from mesh.adapters.disk_library import DiskLibrary
from mesh.engines.compute import EngineCompute
from mesh.errors import BadSetting
from mesh.ports import Prefix, Sampled, Step, StepResult
from mesh.spec import ModelSpec
from mesh.store.shelf import ModelStore
from mesh.types import CacheKey, Digest, Sampling, SessionId, StageKey, TokenIds
from mesh.types import Precision as Held
from tests.model.tiny import SPEC

KEY = StageKey(SPEC.digest, SPEC.whole, Held.INT4)
STEPS = [Step(CacheKey(SessionId("a"), KEY), 0, TokenIds((1,)), sample=True)]


class OneModel(DiskLibrary):
    """A disk with a model."""

    async def path_of(self, digest: Digest) -> Path:
        return Path("model.gguf")

    async def spec_of(self, digest: Digest) -> ModelSpec:
        return SPEC


class Slow:
    """An engine whose loading and running go on until a test lets them end."""

    def __init__(self) -> None:
        self.may_load = threading.Event()
        self.may_run = threading.Event()
        self.is_running = threading.Event()
        self.threads: dict[str, str] = {"make": threading.current_thread().name}
        self.num_runs = 0

    def load(self, key: StageKey, path: Path, spec: ModelSpec) -> int:
        self.threads["load"] = threading.current_thread().name
        assert self.may_load.wait(10)
        return 7

    def unload(self, key: StageKey) -> None:
        raise ValueError("a bug")

    def open(self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None) -> int:
        return prefix.positions if prefix else 0

    def run(self, steps: Sequence[Step]) -> list[StepResult]:
        self.threads["run"] = threading.current_thread().name
        self.is_running.set()
        assert self.may_run.wait(10)
        self.num_runs += 1
        return [Sampled(self.num_runs, 0) for _ in steps]

    def close(self, cache: CacheKey) -> None:
        self.threads["close"] = threading.current_thread().name


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[Callable[[], Slow]], EngineCompute]]:
    """Put engines behind the port; their threads end with the test."""
    computes: list[EngineCompute] = []

    def make_one(engine: Callable[[], Slow]) -> EngineCompute:
        computes.append(EngineCompute(OneModel(ModelStore(tmp_path)), engine))
        return computes[-1]

    yield make_one
    for compute in computes:
        compute.shut_down()


@pytest.fixture
async def slow(make: Callable[[Callable[[], Slow]], EngineCompute]) -> tuple[Slow, EngineCompute]:
    engines: list[Slow] = []

    def made() -> Slow:
        engines.append(Slow())
        return engines[-1]

    compute = make(made)
    await compute.close(STEPS[0].cache)
    return engines[0], compute


async def test_loading_holds_up_no_frame(slow: tuple[Slow, EngineCompute]) -> None:
    engine, compute = slow
    engine.may_run.set()
    async with asyncio.TaskGroup() as tasks:
        loading = tasks.create_task(compute.load(KEY))
        assert await compute.run(STEPS) == [Sampled(1, 0)]
        assert not loading.done()
        engine.may_load.set()
    assert loading.result() == 7


async def test_the_engine_is_made_on_the_thread_that_runs_it(slow: tuple[Slow, EngineCompute]) -> None:
    engine, compute = slow
    engine.may_run.set()
    engine.may_load.set()
    await compute.run(STEPS)
    await compute.load(KEY)
    assert engine.threads["make"] == engine.threads["run"] == engine.threads["close"]
    assert engine.threads["load"] != engine.threads["run"]


async def test_the_loop_goes_on_while_frames_are_computed(slow: tuple[Slow, EngineCompute]) -> None:
    engine, compute = slow
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(compute.run(STEPS))
        await asyncio.to_thread(engine.is_running.wait, 10)
        assert not running.done()
        engine.may_run.set()
    assert running.result() == [Sampled(1, 0)]


async def test_a_caller_that_gives_up_harms_no_later_call(slow: tuple[Slow, EngineCompute]) -> None:
    engine, compute = slow
    wrong: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(compute.run(STEPS))
        await asyncio.to_thread(engine.is_running.wait, 10)
        running.cancel()
        engine.may_run.set()
    assert running.cancelled()
    assert await compute.run(STEPS) == [Sampled(2, 0)]
    assert not wrong


async def test_a_bug_of_the_engine_reaches_who_called(slow: tuple[Slow, EngineCompute]) -> None:
    _, compute = slow
    with pytest.raises(ValueError, match="a bug"):
        await compute.unload(KEY)
    assert await compute.open(STEPS[0].cache, 1, Sampling(), Prefix(STEPS[0].cache, 5)) == 5


async def test_an_engine_that_cannot_be_made_says_so_at_every_call(
    make: Callable[[Callable[[], Slow]], EngineCompute],
) -> None:
    def fails() -> Slow:
        raise BadSetting("no such engine")

    compute = make(fails)
    for call in (compute.load(KEY), compute.run(STEPS), compute.close(STEPS[0].cache)):
        with pytest.raises(BadSetting, match="no such engine"):
            await call
