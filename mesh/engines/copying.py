"""How fast this device's memory is, for all threads together.

Owns the copying. The clock is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

BLOCK_BYTES = 64 * 2**20
"""That each thread copies: far beyond the caches of a processor."""


def copy_rate(num_threads: int, clock: Callable[[], float], seconds: float) -> float:
    """Copy for so many seconds, at least once; return the bytes a second of the fastest round.

    Bytes count twice: they are read and written. The fastest, because what else runs can only slow it.
    """
    sources = [np.ones(BLOCK_BYTES, np.uint8) for _ in range(num_threads)]
    targets = [np.ones(BLOCK_BYTES, np.uint8) for _ in range(num_threads)]
    rates: list[float] = []
    with ThreadPoolExecutor(num_threads) as threads:
        began_s = clock()
        while not rates or clock() - began_s < seconds:
            before_s = clock()
            list(threads.map(np.copyto, targets, sources))  # numpy gives up the interpreter's lock
            rates.append(2 * BLOCK_BYTES * num_threads / max(clock() - before_s, 1e-9))
    return max(rates)
