"""An event loop whose clock jumps: no waiting, however long the roles sleep.

Owns time. When nothing is ready it moves the clock to the next timer; when there is no timer either,
nothing can ever happen again, and that is an error. It touches no sockets and no threads.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Every task waits for something that no task and no timer will bring."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop in virtual time, which starts at 0 seconds."""

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_JumpingSelector(self))
        # A timer is due within this of its time. asyncio's own 1 ns is lost in rounding after half a year,
        # and then no timer would ever be due.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now_s

    def jump(self, seconds: float) -> None:
        """Move the clock."""
        self._now_s += seconds


class _JumpingSelector(selectors.SelectSelector):
    """Where a real loop would wait for sockets, moves the clock instead."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("every task waits, and no timer is set")
        if timeout > 0:
            self._loop.jump(timeout)
        return []


def run(main: Coroutine[object, object, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
