"""Asks other nodes how long the way to them is, over the lines of their heartbeats, and answers when asked.

Owns the moment of sending, which is what counts. Whom to ask and when is said by `mesh.logic.echoes`. Must
not know who is there: it asks where there is a line.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from mesh.config import Timing
from mesh.errors import MeshError
from mesh.logic.echoes import Echoes
from mesh.messages import Echo, EchoReply
from mesh.now import now_s
from mesh.roles.alarm import Alarm
from mesh.roles.line import Line
from mesh.types import LinkRecord, NodeId

_SOONEST_S = 0.01  # between two looks at the clock: timers come a little early
_LATEST_S = 60.0  # where there is nobody to ask


class Echoing:
    """The questions and answers of one node."""

    def __init__(self, own: NodeId, timing: Timing, line_to: Callable[[NodeId], Line | None]) -> None:
        self._echoes = Echoes(own, timing.echo_interval_s)
        self._line_to = line_to
        self._alarm = Alarm()
        self._tasks: asyncio.TaskGroup | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """From now on ask and answer, in tasks of this group."""
        self._tasks = tasks
        tasks.create_task(self._keep_asking())

    def stop(self) -> None:
        """Say nothing more."""
        self._tasks = None

    def reached(self, node_id: NodeId) -> None:
        """There is a line to a node."""
        self._echoes.reached(node_id, now_s())
        self._alarm.ring_before(self._echoes.next_s)

    def gone(self, node_id: NodeId) -> None:
        """A node is lost, or has left: what was measured counts no more."""
        self._echoes.gone(node_id)

    def take(self, node_id: NodeId, message: Echo | EchoReply, line: Line) -> None:
        """Take what a node sent, without waiting; a question is answered over the line on which it came."""
        if self._tasks is None:
            return
        if isinstance(message, Echo):
            self._tasks.create_task(_send(line, EchoReply(message.number)))
            return
        padding_bytes = self._echoes.answered(node_id, message.number, now_s())
        if padding_bytes is not None:
            self._tasks.create_task(self._ask(node_id, padding_bytes))
        self._alarm.ring_before(self._echoes.next_s)

    def links(self) -> tuple[LinkRecord, ...]:
        """Return what to announce of the ways that we measure."""
        return self._echoes.links(now_s())

    async def _keep_asking(self) -> None:
        while self._tasks is not None:
            now = now_s()
            for node_id in self._echoes.due(now):
                self._tasks.create_task(self._ask(node_id, 0))
            await self._alarm.sleep(max(now + _SOONEST_S, min(now + _LATEST_S, self._echoes.next_s)))

    async def _ask(self, node_id: NodeId, padding_bytes: int) -> None:
        line = self._line_to(node_id)
        question = self._echoes.ask(node_id, padding_bytes, now_s()) if line else None
        if line and question:
            await _send(line, question)


async def _send(line: Line, message: Echo | EchoReply) -> None:
    with contextlib.suppress(MeshError):  # whoever reads the line is told too
        await line.echo(message)
