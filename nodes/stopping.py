"""How an agent is told to stop: signals, and the end of standard input.

Owns what each of them means. Must not know how a node hands over or leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stoppable(Protocol):
    """What runs until it is told to stop: a node."""

    def stop(self) -> None:
        """Called once: hand over, then end. Called again: end at once."""


class Stopping:
    """Tells a node to stop."""

    def __init__(self, node: Stoppable, handing_over: Callable[[], None]) -> None:
        self._node = node
        self._handing_over = handing_over
        self._was_asked = False

    def ask(self) -> None:
        """Hand over first and say so; asked again, end at once."""
        if not self._was_asked:
            self._handing_over()
        self._was_asked = True
        self._node.stop()

    def end(self) -> None:
        """End at once: whoever wanted the node is gone."""
        self._was_asked = True
        self._node.stop()
        self._node.stop()


@asynccontextmanager
async def stopping(
    node: Stoppable, handing_over: Callable[[], None], *, until_eof: bool
) -> AsyncIterator[None]:
    """Have SIGINT, SIGTERM and, where asked for, the end of standard input stop the node."""
    loop = asyncio.get_running_loop()
    asked = Stopping(node, handing_over)
    for number in _SIGNALS:
        loop.add_signal_handler(number, asked.ask)
    transport = await _watch_stdin(asked.end) if until_eof else None
    try:
        yield
    finally:
        if transport is not None:
            transport.close()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _watch_stdin(ended: Callable[[], None]) -> asyncio.ReadTransport | None:
    class UntilEof(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            ended()

    with contextlib.suppress(ValueError, OSError):  # a file or a closed stdin has no end to wait for
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(UntilEof, sys.stdin)
        return transport
    return None
