"""What an engine is: the Compute port, synchronous, for one thread at a time.

Owns the protocol. `mesh.engines.compute` puts any engine behind the port.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from mesh.ports import Prefix, Step, StepResult
from mesh.spec import ModelSpec
from mesh.types import CacheKey, Sampling, StageKey


class Engine(Protocol):
    """Stages in this process's memory, and the sessions' caches on them.

    Each method raises as the Compute port's of the same name does. `load` may be called on another thread
    than the others, and while they run; all others are called one after the other.
    """

    def load(self, key: StageKey, path: Path, spec: ModelSpec) -> int:
        """Bring a span's weights from a model's file or folder into memory; return their bytes."""

    def unload(self, key: StageKey) -> None:
        """Free a span's weights."""

    def open(self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None) -> int:
        """Allot a session's cache; return where it ends."""

    def run(self, steps: Sequence[Step]) -> list[StepResult]:
        """Run frames of one stage as a batch."""

    def close(self, cache: CacheKey) -> None:
        """Free a session's cache."""
