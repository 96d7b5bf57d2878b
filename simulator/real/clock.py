"""Real time: the only place of the simulator that reads the machine's clock or really waits.

Owns precision. asyncio's timers are a millisecond coarse where epoll waits for them, and a processor that
idles takes up to 0.3 ms to wake up: too much for links of 1 ms. So agents run on a loop around select(),
whose timers count microseconds, and the last moment before a time is waited out awake.
"""

from __future__ import annotations

import asyncio
import ctypes
import selectors
import sys
import time

AWAKE_S = 0.0004
"""How long before a time one is awake: longer than it takes to wake up."""

_PR_SET_TIMERSLACK = 29
_SHARPEST_NS = 1


def now_s() -> float:
    """Seconds of the clock that never goes back; the same clock as an asyncio loop's."""
    return time.monotonic()  # noqa: TID251  this is where real time comes from


async def wait_until(due_s: float) -> None:
    """Return at a time, to a hundredth of a millisecond where the loop is a precise one; at once if past.

    Keeps the loop from other work for at most `AWAKE_S`.
    """
    if due_s - AWAKE_S > now_s():
        loop = asyncio.get_running_loop()
        awake: asyncio.Future[None] = loop.create_future()
        timer = loop.call_at(due_s - AWAKE_S, _wake, awake)
        try:
            await awake
        finally:
            timer.cancel()
    while now_s() < due_s:
        pass


def precise_loop() -> asyncio.AbstractEventLoop:
    """Make a loop whose timers are not rounded to milliseconds; call on the thread that is to run it."""
    sharpen_timers()
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def sharpen_timers() -> None:
    """Have the kernel wake the calling thread on time, where it may be 50 microseconds late to save power.

    Linux only (prctl PR_SET_TIMERSLACK); elsewhere it does nothing.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, _SHARPEST_NS, 0, 0, 0)


def _wake(awake: asyncio.Future[None]) -> None:
    if not awake.done():
        awake.set_result(None)
