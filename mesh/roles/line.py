"""One link to a node, as far as we speak on it: what was said over it, one message after the other.

Owns the order of what is said and that nothing follows a goodbye. Must not know when to speak, nor who reads.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from mesh.errors import MeshError
from mesh.link import Link
from mesh.logic.news import NOTHING, News, Told
from mesh.messages import Echo, EchoReply, Goodbye, Heartbeat
from mesh.wire.codec import encode

_MOST_ECHOES = 4  # handed over at once: one is the rule, and who asks and does not read gets no more


class Speech:
    """What one node has to say, encoded: most heartbeats of one promise are equal."""

    def __init__(self) -> None:
        self.news = News()
        """What to tell with the next heartbeats."""
        self._encoded: dict[float | None, tuple[Heartbeat, bytes]] = {}
        """The last heartbeat of each promise."""

    def since(self, told: Told, next_s: float | None) -> bytes:
        """Return a heartbeat with what is new, which promises the next one within so many seconds."""
        heartbeat = self.news.since(told, next_s)
        last, data = self._encoded.get(next_s, (None, b""))
        if last is not heartbeat:
            data = encode(heartbeat)
            self._encoded[next_s] = (heartbeat, data)
        return data


@dataclass(slots=True)
class Line:
    """One link and what was said over it."""

    link: Link
    told: Told = NOTHING
    promised_s: float | None = None
    """Within how many seconds of the last heartbeat another one is expected; None: as usual."""
    is_busy: bool = False
    """Whether a message is being handed over: a channel takes one after the other."""
    idle: asyncio.Event | None = None
    """Set when it no longer is, where somebody waits for that."""
    num_echoes: int = 0
    """Questions and answers that are being handed over."""
    is_over: bool = False
    """Whether a goodbye was said."""

    async def say(self, speech: Speech, promise: Promise) -> None:
        """Tell what is new; passed over while the line is busy with the last heartbeat.

        What is new, or promised otherwise, by the time the line has taken it is told at once after it: a
        promise that is not taken back would make us lost. Raises as Channel.send does.
        """
        if self.is_busy:
            return
        self.is_busy, is_due = True, True
        try:
            while is_due:
                data = speech.since(self.told, promise.next_s)
                self.told, self.promised_s = speech.news.now, promise.next_s
                await self.link.send_encoded(data)
                is_due = self.told is not speech.news.now or self.promised_s != promise.next_s
        finally:
            self.is_busy = False
            if self.idle:
                self.idle.set()

    async def echo(self, message: Echo | EchoReply) -> None:
        """Ask or answer at once, beside heartbeats; passed over where several of these wait to be taken.

        Raises as Channel.send does.
        """
        if self.is_over or self.num_echoes >= _MOST_ECHOES:
            return
        self.num_echoes += 1
        try:
            await self.link.send(message)
        finally:
            self.num_echoes -= 1

    async def say_goodbye(self) -> None:
        """Say that we leave, after what is being said, and close."""
        self.is_over = True
        if self.is_busy:
            self.idle = asyncio.Event()
            await self.idle.wait()
        self.is_busy = True  # nothing is said after it
        with contextlib.suppress(MeshError):
            await self.link.send(Goodbye())
            await self.link.close()


@dataclass(slots=True)
class Promise:
    """When a node may expect our next heartbeat, over whichever line."""

    next_s: float | None = None
    """In so many seconds; None: after the usual interval."""
