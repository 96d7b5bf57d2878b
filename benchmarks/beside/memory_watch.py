"""How much memory processes hold at most, seen from outside.

Owns the looking. What they share with others counts in each: a mapped file where it was read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks.beside.processes import Running

_MB = 1_000_000
_LOOK_S = 0.5


class MemoryWatch:
    """Looks at memory twice a second and remembers the most: llama.cpp's servers free it in between."""

    def __init__(self, processes: Sequence[Running]) -> None:
        self._processes = processes
        self.most_mb = {process.name: 0 for process in processes}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            for process in self._processes:
                now_mb = process.resident_bytes // _MB
                self.most_mb[process.name] = max(self.most_mb[process.name], now_mb)
            await asyncio.sleep(_LOOK_S)
