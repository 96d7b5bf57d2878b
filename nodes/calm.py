"""Whether other programs leave this device's processors alone, so that it can be measured.

Owns what counts as calm, and the patience with a device that never is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psutil

LOOK_S = 1.0
MOST_LOOKS = 60
"""Then a device that is always busy is measured as it is."""
MOST_BUSY = 0.2
"""Part of all processors' time that may go to something else."""


async def processors_are_calm() -> None:
    """Return when they are, after a second at the earliest and a minute at the latest."""
    await until_calm(_idle_s, psutil.cpu_count() or 1)


async def until_calm(idle_s: Callable[[], float], num_processors: int) -> None:
    """Look at the seconds that processors were idle, of all together, until one look finds them so."""
    for _ in range(MOST_LOOKS):
        before_s = idle_s()
        await asyncio.sleep(LOOK_S)
        if idle_s() - before_s >= (1 - MOST_BUSY) * num_processors * LOOK_S:
            return


def _idle_s() -> float:
    times = psutil.cpu_times()
    waiting_s: float = getattr(times, "iowait", 0.0)  # for a disk; only Linux tells it apart
    return times.idle + waiting_s
