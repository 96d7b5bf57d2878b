"""The event loop of an agent: libuv's, which spends less on each message than asyncio's own.

Owns the choice. Where there is no uvloop, asyncio's loop does the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(main)


def _new_loop() -> asyncio.AbstractEventLoop:
    if find_spec("uvloop") is None:
        return asyncio.new_event_loop()
    base = import_module("uvloop").Loop

    class PreciseLoop(base):  # type: ignore[misc, valid-type]
        """uvloop's own time has milliseconds, and stands still while a callback runs."""

        def time(self) -> float:
            return time.monotonic()  # noqa: TID251  an adapter's business: it is the clock of the real loop

    loop: asyncio.AbstractEventLoop = PreciseLoop()
    return loop
