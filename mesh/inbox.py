"""A bounded queue that can be closed: the joint between whoever produces and whoever awaits.

Owns waiting and waking, nothing else. Deterministic: waiters are served in the order of the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from mesh.errors import ChannelClosed

T = TypeVar("T")


class Inbox(Generic[T]):
    """First in, first out; `put` waits while it holds `limit` items."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[T] = deque()
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._reason: str | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_closed(self) -> bool:
        """Whether nothing more can be put."""
        return self._reason is not None

    async def put(self, item: T) -> None:
        """Append, waiting for room; raise ChannelClosed once closed."""
        while not self.is_closed and len(self._items) >= self._limit:
            self._writable.clear()
            await self._writable.wait()
        self.put_nowait(item)

    def put_nowait(self, item: T) -> None:
        """Append at once, beyond the limit if need be; raise ChannelClosed once closed."""
        if self._reason is not None:
            raise ChannelClosed(self._reason)
        self._items.append(item)
        self._readable.set()

    async def get(self) -> T:
        """Take the oldest item; raise ChannelClosed once closed and empty."""
        while not self._items:
            if self._reason is not None:
                raise ChannelClosed(self._reason)
            self._readable.clear()
            await self._readable.wait()
        self._writable.set()
        return self._items.popleft()

    def close(self, reason: str) -> None:
        """Take no more; what is inside can still be got. The first reason stays."""
        self._reason = self._reason or reason
        self._readable.set()
        self._writable.set()

    def clear(self) -> None:
        """Drop what is inside."""
        self._items.clear()
        self._writable.set()
