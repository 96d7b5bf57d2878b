"""What an agent of process mode computes with: the real engine or the token function, as slow as its device.

Owns the choice and its threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mesh.adapters.disk_library import DiskLibrary
from mesh.engines.choosing import EngineName, engine_maker
from mesh.engines.compute import EngineCompute
from mesh.errors import MeshError
from mesh.ports import Compute, Library, Prefix, Step, StepResult
from mesh.store.shelf import ModelStore
from mesh.types import CacheKey, ModelRef, Sampling, StageKey
from simulator.devices.processor import Processor
from simulator.library import MemoryLibrary
from simulator.profiles import model_spec
from simulator.real.clock import now_s
from simulator.real.control import AgentSettings, EngineKind, Report
from simulator.real.pace import NoPace, ProfilePace
from simulator.real.throttle import ThrottledCompute
from simulator.token_function import Maths, TokenFunction


class SomeModels(DiskLibrary):
    """The Library port of a device that has only some of the models on this machine."""

    def __init__(self, store: ModelStore, names: Sequence[str]) -> None:
        super().__init__(store)
        self._names = frozenset(names)

    def models(self) -> tuple[ModelRef, ...]:
        """The models that are whole; see the port."""
        return tuple(model for model in super().models() if model.name in self._names)


class InlineCompute:
    """The Compute port over maths that takes no time worth a thread."""

    def __init__(self, maths: Maths) -> None:
        self._maths = maths

    async def load(self, key: StageKey) -> int:
        """Load a span; see the port."""
        return self._maths.load(key)

    async def unload(self, key: StageKey) -> None:
        """Free a span; see the port."""
        self._maths.unload(key)

    async def open(
        self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None
    ) -> int:
        """Allot a cache; see the port."""
        return self._maths.open(cache, context, sampling, prefix)

    async def run(self, steps: Sequence[Step]) -> list[StepResult]:
        """Run frames, one after the other; see the port."""
        return [self._result(step) for step in steps]

    def _result(self, step: Step) -> StepResult:
        try:
            return self._maths.run(step)
        except MeshError as error:
            return error

    async def close(self, cache: CacheKey) -> None:
        """Free a cache; see the port."""
        self._maths.close(cache)


@dataclass(frozen=True, slots=True)
class RunningEngine:
    """What an agent computes with."""

    library: Library
    compute: ThrottledCompute
    processor: Processor
    """What says how slow it is."""

    def report(self) -> Report:
        """Sum up."""
        state = self.processor.state(now_s())
        return Report(self.compute.busy_s, self.compute.late_s, state.energy_j, state.battery_level)


@contextmanager
def running_engine(settings: AgentSettings) -> Iterator[RunningEngine]:
    """Give an agent what it computes with; afterwards its threads end."""
    library: Library
    compute: Compute
    if settings.engine is EngineKind.TORCH:
        files = SomeModels(ModelStore(Path(settings.data_dir)), settings.models)
        library, compute = files, EngineCompute(files, engine_maker(EngineName.AUTO, 1))
    else:
        specs = [model_spec(name) for name in settings.models]
        library, compute = MemoryLibrary(specs), InlineCompute(TokenFunction(specs))
    processor = Processor(settings.profile, now_s(), settings.battery_level)
    pace = ProfilePace(processor, library) if settings.is_throttled else NoPace()
    throttle = ThrottledCompute(compute, pace)
    try:
        yield RunningEngine(library, throttle, processor)
    finally:
        if isinstance(compute, EngineCompute):
            compute.shut_down()
