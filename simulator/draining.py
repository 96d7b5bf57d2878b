"""Somebody who runs `mesh drain` on a device, and takes it back later.

Owns those commands while they run; they go through the client library, as the command itself does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from mesh.errors import MeshError
from simulator.asking import OpenClient
from simulator.trace import Kind, Trace

_PAUSE_S = 1.0  # before a device is told again that it stays
_MOST_TRIES = 60


class Drains:
    """The drain commands of one run."""

    def __init__(
        self, open_client: OpenClient, tasks: asyncio.TaskGroup, trace: Trace, now_s: Callable[[], float]
    ) -> None:
        self._open_client = open_client
        self._tasks = tasks
        self._trace = trace
        self._now_s = now_s
        self._running: dict[str, asyncio.Task[None]] = {}

    def begin(self, name: str) -> None:
        """Have a device drained; what comes of it is in the trace."""
        self._run(name, self._drain(name))

    def end(self, name: str) -> None:
        """Tell a device that it stays: again and again until it hears it, or does not run."""
        self._run(name, self._keep(name))

    def _run(self, name: str, command: Coroutine[None, None, None]) -> None:
        if (before := self._running.pop(name, None)) is not None:
            before.cancel()
        self._running[name] = self._tasks.create_task(command)

    async def _drain(self, name: str) -> None:
        text = "it holds nothing any more"
        try:
            client = await self._open_client(name)
            await client.drain(client.gateway.node_id)
        except MeshError as error:
            text = f"it did not come to that: {error}"
        self._trace.add(self._now_s(), Kind.DRAINED, name, text=text)

    async def _keep(self, name: str) -> None:
        for _ in range(_MOST_TRIES):
            try:
                client = await self._open_client(name)
                await client.drain(client.gateway.node_id, is_over=True)
                return
            except MeshError:  # it does not run, and forgot with its end; or it cannot hear now
                await asyncio.sleep(_PAUSE_S)
