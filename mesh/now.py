"""The time by which everything with a loop lives: real in a home, virtual in the simulator."""

from __future__ import annotations

import asyncio


def now_s() -> float:
    """Return seconds of the running event loop's clock, whose zero means nothing."""
    return asyncio.get_running_loop().time()
