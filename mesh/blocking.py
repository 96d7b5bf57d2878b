"""The client for scripts that know no `await`: the same calls, each waiting until it is done.

Owns one event loop on a thread of its own, on which the asynchronous client lives.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar, Unpack

from mesh.api import connect
from mesh.client import Answer, ChatOptions, Client
from mesh.config import DEFAULT_MESH
from mesh.decision import Decision, Explanation
from mesh.messages import Piece, Routed
from mesh.types import ChatMessage, Device, NodeRecord, Plan, Recovery, Summary

T = TypeVar("T")


@contextmanager
def connect_blocking(
    peer: str | Sequence[str] | None = None, *, mesh: str = DEFAULT_MESH, wait_s: float = 2.0
) -> Iterator[BlockingClient]:
    """Connect to a mesh; arguments and errors are those of `mesh.connect`."""
    with _running_loop() as loop:
        connection = connect(peer, mesh=mesh, wait_s=wait_s)
        client = loop.result(connection.__aenter__())
        try:
            yield BlockingClient(client, loop)
        finally:
            loop.result(connection.__aexit__(None, None, None))


class BlockingClient:
    """A connection to one gateway of a mesh."""

    def __init__(self, client: Client, loop: _Loop) -> None:
        self._client = client
        self._loop = loop

    @property
    def gateway(self) -> NodeRecord:
        """The node that is asked."""
        return self._client.gateway

    def chat(self, prompt: str | Sequence[ChatMessage], **options: Unpack[ChatOptions]) -> BlockingAnswer:
        """Ask for an answer; see `Client.chat`."""
        return BlockingAnswer(self._client.chat(prompt, **options), self._loop)

    def devices(self) -> tuple[Device, ...]:
        """The devices of the mesh; see `Client.devices`."""
        return self._loop.result(self._client.devices())

    def plan(self, model: str | None = None, context: int | None = None) -> Plan:
        """How a model would be placed; see `Client.plan`."""
        return self._loop.result(self._client.plan(model, context))

    def explain(
        self, prompt: str | Sequence[ChatMessage], context: int | None = None, **options: Unpack[ChatOptions]
    ) -> Explanation:
        """How a chat would be answered, and why; see `Client.explain`."""
        return self._loop.result(self._client.explain(prompt, context, **options))

    def drain(self, name: str, *, is_forced: bool = False, is_over: bool = False) -> None:
        """Have a device hand over what it holds; see `Client.drain`."""
        self._loop.result(self._client.drain(name, is_forced=is_forced, is_over=is_over))


class BlockingAnswer:
    """One answer as it comes; see `Answer`."""

    def __init__(self, answer: Answer, loop: _Loop) -> None:
        self._answer = answer
        self._loop = loop

    def __iter__(self) -> Iterator[Piece]:
        return self._each(aiter(self._answer))

    def events(self) -> Iterator[Routed | Piece]:
        """Yield pieces, and each route before those that come by it; see `Answer.events`."""
        return self._each(self._answer.events())

    def text(self) -> str:
        """Wait for the whole answer and return it; see `Answer.text`."""
        return self._loop.result(self._answer.text())

    @property
    def reasoning(self) -> str:
        """What the model has thought before its answer so far; see `Answer.reasoning`."""
        return self._answer.reasoning

    @property
    def seed(self) -> int:
        """The seed that this answer is drawn with."""
        return self._answer.seed

    @property
    def route(self) -> Plan | None:
        """The way that it takes now; see `Answer.route`."""
        return self._answer.route

    @property
    def decision(self) -> Decision | None:
        """Why it takes its way; see `Answer.decision`."""
        return self._answer.decision

    @property
    def recoveries(self) -> tuple[Recovery, ...]:
        """How it went on after losses so far; see `Answer.recoveries`."""
        return self._answer.recoveries

    @property
    def summary(self) -> Summary:
        """What is known when the answer has ended."""
        return self._answer.summary

    def _each(self, events: AsyncGenerator[T]) -> Iterator[T]:
        try:
            while (event := self._loop.result(_next(events))) is not None:
                yield event
        finally:
            self._loop.result(events.aclose())


class _Loop:
    """An event loop that other threads hand work to."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def result(self, work: Coroutine[object, object, T]) -> T:
        """Do the work on the loop and wait for it; interrupted, cancel it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


@contextmanager
def _running_loop() -> Iterator[_Loop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="mesh-client", daemon=True)
    thread.start()
    try:
        yield _Loop(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _next(events: AsyncGenerator[T]) -> T | None:
    return await anext(events, None)
