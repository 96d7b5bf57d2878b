"""The Compute port over any engine of this process.

Owns two threads: one runs frames, one after the other; one loads weights, so that loading holds up no
frame. The engine is made on the first of them, because torch takes seconds to import in which the node can
already be found.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, cast

from mesh.adapters.disk_library import DiskLibrary
from mesh.engines.engine import Engine
from mesh.ports import Prefix, Step, StepResult
from mesh.types import CacheKey, Sampling, StageKey

T = TypeVar("T")


class EngineCompute:
    """The Compute port of this device."""

    def __init__(self, library: DiskLibrary, make_engine: Callable[[], Engine]) -> None:
        self._library = library
        self._runner = ThreadPoolExecutor(1, "compute")
        self._loader = ThreadPoolExecutor(1, "load")
        self._engine: Future[Engine] = self._runner.submit(make_engine)

    async def load(self, key: StageKey) -> int:
        """Load a span; see the port."""
        path, spec = await self._library.path_of(key.digest), await self._library.spec_of(key.digest)
        return await self._on(self._loader, lambda engine: engine.load(key, path, spec))

    async def unload(self, key: StageKey) -> None:
        """Free a span; see the port."""
        await self._on(self._runner, lambda engine: engine.unload(key))

    async def open(
        self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None
    ) -> int:
        """Allot a cache; see the port."""
        return await self._on(self._runner, lambda engine: engine.open(cache, context, sampling, prefix))

    async def run(self, steps: Sequence[Step]) -> list[StepResult]:
        """Run frames; see the port."""
        return await self._on(self._runner, lambda engine: engine.run(steps))

    async def close(self, cache: CacheKey) -> None:
        """Free a cache; see the port."""
        await self._on(self._runner, lambda engine: engine.close(cache))

    def shut_down(self) -> None:
        """End the threads when their work is done; nothing may be called after."""
        self._runner.shutdown(wait=False, cancel_futures=True)
        self._loader.shutdown(wait=False, cancel_futures=True)

    async def _on(self, threads: ThreadPoolExecutor, work: Callable[[Engine], T]) -> T:
        """Do some work on a thread.

        Once a token and stage the thread wakes the loop, so it does that in one step: the future of
        run_in_executor takes two more turns of the loop.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if done.cancelled():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(cast("T", result))

        def task() -> None:
            try:
                outcome: tuple[T | None, BaseException | None] = (work(self._engine.result()), None)
            except BaseException as error:  # whatever it is, it belongs to whoever waits
                outcome = (None, error)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, *outcome)

        threads.submit(task)
        return await done
