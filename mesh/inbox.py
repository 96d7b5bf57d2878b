"""A bounded queue that can be closed: the joint between whoever produces and whoever awaits.

Owns waiting and waking, nothing else. Deterministic: waiters are served in the order of the loop.

Two for each channel exist at once, nearly all of them empty, so what counts is the empty one: three empty
lists take a sixth of two asyncio.Events and a deque, and few items ever wait, so taking the first is cheap.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from mesh.errors import ChannelClosed

T = TypeVar("T")

_Waiters = list[asyncio.Future[None]]


class Inbox(Generic[T]):
    """First in, first out; `put` waits while it holds `limit` items."""

    __slots__ = ("_getters", "_items", "_limit", "_putters", "_reason")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: list[T] = []
        self._getters: _Waiters = []
        self._putters: _Waiters = []
        self._reason: str | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_closed(self) -> bool:
        """Whether nothing more can be put."""
        return self._reason is not None

    async def put(self, item: T) -> None:
        """Append, waiting for room; raise ChannelClosed once closed."""
        while len(self._items) >= self._limit and self._reason is None:
            waiter = _join(self._putters)
            try:
                await waiter
            except BaseException:
                _leave(self._putters, waiter)
                self._offer_room()  # it may have been woken for some: another takes it
                raise
        self.put_nowait(item)

    def put_nowait(self, item: T) -> None:
        """Append at once, beyond the limit if need be; raise ChannelClosed once closed."""
        if self._reason is not None:
            raise ChannelClosed(self._reason)
        self._items.append(item)
        if self._getters:
            _wake_first(self._getters)

    async def get(self) -> T:
        """Take the oldest item; raise ChannelClosed once closed and empty. Cancelled, it takes nothing."""
        while not self._items:
            if self._reason is not None:
                raise ChannelClosed(self._reason)
            waiter = _join(self._getters)
            try:
                await waiter
            except BaseException:
                _leave(self._getters, waiter)
                if self._items:  # it may have been woken for one: another takes it
                    _wake_first(self._getters)
                raise
        item = self._items.pop(0)
        if self._putters:
            self._offer_room()
        return item

    def get_nowait(self) -> T | None:
        """Take the oldest item, or None where there is none."""
        if not self._items:
            return None
        item = self._items.pop(0)
        self._offer_room()
        return item

    def close(self, reason: str) -> None:
        """Take no more; what is inside can still be got. The first reason stays."""
        self._reason = self._reason or reason
        _wake_all(self._getters)
        _wake_all(self._putters)

    def clear(self) -> None:
        """Drop what is inside."""
        self._items.clear()
        _wake_all(self._putters)

    def _offer_room(self) -> None:
        if len(self._items) < self._limit:
            _wake_first(self._putters)


def _join(waiters: _Waiters) -> asyncio.Future[None]:
    """Queue up, with a future of one's own: cancelling a task cancels the future that it awaits."""
    waiter = asyncio.get_running_loop().create_future()
    waiters.append(waiter)
    return waiter


def _leave(waiters: _Waiters, waiter: asyncio.Future[None]) -> None:
    if waiter in waiters:
        waiters.remove(waiter)


def _wake_first(waiters: _Waiters) -> None:
    while waiters:
        waiter = waiters.pop(0)
        if not waiter.done():
            return waiter.set_result(None)
    return None


def _wake_all(waiters: _Waiters) -> None:
    while waiters:
        _wake_first(waiters)
