"""What a virtual loop runs: handles and tasks, and the standstill that holds them back.

Owns what makes them the same in every run, and to which device work belongs: a `Standstill` in the context of
a handle holds back all of one device's work, as a stopped process is held back by its system, and lets it go
in order. Must not know time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

Startable = Generator[Any, None, T] | Coroutine[Any, Any, T]  # as asyncio has it


class CountsCancelled(Protocol):
    """The loop, as handles see it."""

    def count_cancelled(self) -> None:
        """Take note that a handle was cancelled."""


class Standstill:
    """Holds back the work of whatever runs in contexts where `STANDSTILL` is this."""

    __slots__ = ("_held", "_waiting", "is_still")

    def __init__(self) -> None:
        self.is_still = False
        self._held: list[Handle] = []
        self._waiting: list[asyncio.Future[None]] = []

    def hold(self, handle: Handle) -> None:
        """Keep a handle that would run now."""
        self._held.append(handle)

    def release(self) -> list[Handle]:
        """Give back what was held, in order, and tell whoever awaits the end."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
        held, self._held = self._held, []
        return held

    async def over(self) -> None:
        """Wait until it is over; returns at once where it is not on."""
        while self.is_still:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future


STANDSTILL: ContextVar[Standstill | None] = ContextVar("STANDSTILL", default=None)


class Handle(asyncio.TimerHandle):
    """Something to run, now or at a time."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "loop", "when_s")

    def __init__(
        self,
        loop: CountsCancelled,
        when_s: float,
        callback: Callable[..., object],
        args: tuple[object, ...],
        context: Context | None,
    ) -> None:
        # The base class is there for its type only: its own fields would cost as much again.
        self.loop = loop
        self.when_s = when_s
        self.callback = callback
        self.args = args
        self.context = context
        self.is_cancelled = False

    def cancel(self) -> None:
        """Do not run it."""
        if not self.is_cancelled:
            self.is_cancelled = True
            self.args = ()
            self.loop.count_cancelled()

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self.is_cancelled

    def when(self) -> float:
        """When it is due, in virtual seconds."""
        return self.when_s

    def __repr__(self) -> str:
        return f"<Handle {self.callback!r} at {self.when_s:g} s>"


class NumberedTask(asyncio.Task[T]):
    """A task that hashes by the number of its creation rather than by its place in memory."""

    __slots__ = ("number",)

    def __init__(
        self,
        coro: Startable[T],
        *,
        number: int,
        loop: asyncio.AbstractEventLoop,
        name: str | None,
        context: Context | None,
    ) -> None:
        self.number = number  # first: the base class puts itself into a set
        super().__init__(coro, loop=loop, name=name or f"task {number}", context=context)

    def __hash__(self) -> int:
        return self.number
