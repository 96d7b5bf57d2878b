"""An event loop in virtual time: nothing waits, however long the roles sleep, and every run is the same.

Owns time and the order of all that happens. When nothing is ready the clock jumps to the next timer; when
there is no timer either, nothing can ever happen again, and that is an error which says what every task waits
for. It touches no sockets and no threads.

What makes the order total, whatever the version of Python and wherever objects lie in memory:
- what is ready runs first come first served, and time moves only when nothing is ready;
- timers of one instant fire in the order in which they were set;
- tasks hash by the number of their creation, so that a set of them (a TaskGroup keeps one, and cancels in
  its order) has the same order in every run.
"""

from __future__ import annotations

import asyncio
import heapq
import sys
import weakref
from asyncio import events
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextvars import Context, copy_context
from types import CoroutineType
from typing import TypeVar, TypeVarTuple

from simulator.handles import STANDSTILL, Handle, NumberedTask, Standstill, Startable

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_MOST_STEPS_AT_ONCE = 20_000_000
"""Steps without time moving after which a run is said to spin; the largest real burst has under a million."""

_CLEAN_AFTER = 1_000  # cancelled timers that may lie in the heap before it is swept


class Deadlock(RuntimeError):
    """Every task waits for something that no task and no timer will bring; the text lists them all."""


class Livelock(RuntimeError):
    """Tasks wake each other without end and time never moves."""


class VirtualLoop(asyncio.AbstractEventLoop):
    """An asyncio loop in virtual time, which starts at 0 seconds."""

    def __init__(self) -> None:
        self.num_paused = 0
        """Standstills that are still now; while none is, nobody looks for them."""
        self._now_s = 0.0
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._sequence = 0
        self._num_tasks = 0
        self._num_cancelled = 0
        self._is_stopping = False
        self._is_running = False
        self._is_closed = False
        self._generators: list[weakref.ref[AsyncGenerator[object, object]]] = []
        self._handler: Callable[[asyncio.AbstractEventLoop, dict[str, object]], object] | None = None

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now_s

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> Handle:
        """Run something after all that is ready now."""
        handle = Handle(self, self._now_s, callback, args, context or copy_context())
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> Handle:
        """Run something soon; there are no threads here, but signal handlers call this."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> Handle:
        """Run something after a time."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> Handle:
        """Run something at a time; one that is over means now."""
        handle = self.at(when, callback, *args)
        handle.context = context or copy_context()
        return handle

    def at(self, when: float, callback: Callable[[*Ts], object], *args: *Ts) -> Handle:
        """As call_at, for the world rather than for a task: in no context, so no standstill holds it."""
        handle = Handle(self, when, callback, args, None)
        self._sequence += 1
        heapq.heappush(self._timers, (when, self._sequence, handle))
        return handle

    def count_cancelled(self) -> None:
        """Take note that a handle was cancelled; sweep when most of the timers are."""
        self._num_cancelled += 1
        if self._num_cancelled > _CLEAN_AFTER and 2 * self._num_cancelled > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2].is_cancelled]
            heapq.heapify(self._timers)
            self._num_cancelled = 0

    def pause(self, standstill: Standstill) -> None:
        """Hold back from now on all that runs under a standstill."""
        if not standstill.is_still:
            standstill.is_still = True
            self.num_paused += 1

    def wake(self, standstill: Standstill) -> None:
        """Let go what was held, in order; timers that fell due meanwhile are among it."""
        if standstill.is_still:
            standstill.is_still = False
            self.num_paused -= 1
            self._ready.extend(standstill.release())

    def run_forever(self) -> None:
        """Run until `stop`; raise Deadlock or Livelock where that cannot come."""
        self._is_running, self._is_stopping = True, False
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self._generator_began, finalizer=self._generator_dropped)
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            while not self._is_stopping:
                self._run_until_idle()
                if not self._is_stopping:
                    self._meet_deadlock()
        finally:
            events._set_running_loop(before)
            sys.set_asyncgen_hooks(*hooks)
            self._is_running = False

    def _run_until_idle(self) -> None:  # noqa: C901 - see below
        """Run all that is ready and all that falls due, until there is nothing left or `stop`.

        One loop without calls of its own: everything that ever happens passes here, and each call would make
        a run 2 % longer.
        """
        ready, timers, num_steps = self._ready, self._timers, 0
        while not self._is_stopping:
            if not ready:
                if timers is not self._timers:  # it was swept
                    timers = self._timers
                if not timers:
                    break
                when_s, _, handle = heapq.heappop(timers)
                if handle.is_cancelled:
                    self._num_cancelled -= 1
                    continue
                if when_s > self._now_s:
                    self._now_s, num_steps = when_s, 0
            else:
                handle = ready.popleft()
                if handle.is_cancelled:
                    continue
            num_steps += 1
            context = handle.context
            if context is None:
                handle.callback(*handle.args)
            elif not (self.num_paused and _is_held(handle, context)):
                try:
                    context.run(handle.callback, *handle.args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self._complain(handle, error)
            if num_steps > _MOST_STEPS_AT_ONCE:
                text = f"{num_steps} steps at {self._now_s:g} s and no end"
                raise Livelock(f"{text}\n{self.waiting()}")

    def _meet_deadlock(self) -> None:
        raise Deadlock(f"nothing can happen any more at {self._now_s:g} s\n{self.waiting()}")

    def _complain(self, handle: Handle, error: BaseException) -> None:
        text = f"an exception in {handle.callback!r}"
        self.call_exception_handler({"message": text, "exception": error, "handle": handle})

    def waiting(self) -> str:
        """Say, a line for each task that is not done, where it waits."""
        tasks = [task for task in asyncio.all_tasks(self) if isinstance(task, NumberedTask)]
        return "\n".join(f"  {_describe(task)}" for task in sorted(tasks, key=lambda task: task.number))

    def run_until_complete(self, future: Awaitable[T]) -> T:  # type: ignore[override]
        """Run until a future or coroutine is done; return its result or raise its error."""
        if not isinstance(future, asyncio.Future):
            future = self.create_task(_awaited(future))
        future.add_done_callback(self._stop_on)
        try:
            self.run_forever()
        finally:
            future.remove_done_callback(self._stop_on)
        if not future.done():
            raise RuntimeError("the loop was stopped before the future was done")
        return future.result()

    def _stop_on(self, _: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End `run_forever` after the handle that runs now."""
        self._is_stopping = True

    def is_running(self) -> bool:
        """Whether the loop runs."""
        return self._is_running

    def is_closed(self) -> bool:
        """Whether the loop was closed."""
        return self._is_closed

    def close(self) -> None:
        """Drop all that was set; what is running cannot be closed."""
        if self._is_running:
            raise RuntimeError("a running loop cannot be closed")
        self._is_closed = True
        self._ready.clear()
        self._timers.clear()

    def create_future(self) -> asyncio.Future[object]:
        """Make a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Startable[T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """Start a coroutine."""
        self._num_tasks += 1
        return NumberedTask(coro, number=self._num_tasks, loop=self, name=name, context=context)

    async def shutdown_asyncgens(self) -> None:
        """Close the generators that were left, in the order in which they began."""
        left = [generator for ref in self._generators if (generator := ref()) is not None]
        self._generators.clear()
        for generator in left:
            await generator.aclose()

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncio's
        """There is none."""

    def _generator_began(self, generator: AsyncGenerator[object, object]) -> None:
        self._generators.append(weakref.ref(generator))
        if len(self._generators) % _CLEAN_AFTER == 0:
            self._generators = [ref for ref in self._generators if ref() is not None]

    def _generator_dropped(self, generator: AsyncGenerator[object, object]) -> None:
        if not self._is_closed:
            self.call_soon(self.create_task, generator.aclose())

    def get_debug(self) -> bool:
        """Return False: asyncio's debugging looks at the real clock."""
        return False

    def set_debug(self, enabled: bool) -> None:
        """Ignore it; see get_debug."""

    def set_exception_handler(
        self, handler: Callable[[asyncio.AbstractEventLoop, dict[str, object]], object] | None
    ) -> None:
        """Set who is told of exceptions that nobody awaits."""
        self._handler = handler

    def call_exception_handler(self, context: dict[str, object]) -> None:
        """Tell of an exception that nobody awaits; without a handler it ends the run."""
        if self._handler is not None:
            self._handler(self, context)
            return
        error = context.get("exception")
        raise error if isinstance(error, BaseException) else RuntimeError(str(context.get("message")))


def run(main: Coroutine[object, object, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def _is_held(handle: Handle, context: Context) -> bool:
    """Hold a handle back where it runs under a standstill that is on."""
    still = context.get(STANDSTILL)
    if still is None or not still.is_still:
        return False
    still.hold(handle)
    return True


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _describe(task: NumberedTask[object]) -> str:
    """Say what a task is and where it waits, innermost line last."""
    places: list[str] = []
    coroutine: object = task.get_coro()
    while isinstance(coroutine, CoroutineType):
        if (frame := coroutine.cr_frame) is not None:
            code = frame.f_code
            places.append(f"{code.co_qualname} ({_short(code.co_filename)}:{frame.f_lineno})")
        coroutine = coroutine.cr_await
    return f"{task.get_name()}: {' → '.join(places) or 'not started'}"


def _short(path: str) -> str:
    return "/".join(path.split("/")[-3:])
