"""Tasks that go on beside a piece of work, and end with it.

Owns them, and nothing of what they do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class Helpers:
    """The helpers of one piece of work."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._started: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Begin something; it may be cancelled alone."""
        task = self._tasks.create_task(work)
        self._started.append(task)
        return task

    def cancel(self) -> None:
        """The work is done: end what still goes on beside it."""
        for task in self._started:
            task.cancel()
