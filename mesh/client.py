"""What an app calls.

Owns the client's side of a request: what is asked, what comes back, and that an answer given up is given
up on every device. Each request has a link of its own, so that to abandon it is to close it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypedDict, Unpack

from mesh.config import Timing
from mesh.errors import BadSetting, ChannelClosed, InternalError, PeerUnreachable
from mesh.link import Link
from mesh.messages import (
    ChatFinished,
    ChatRequest,
    ClientRequest,
    DevicesReply,
    DevicesRequest,
    Heartbeat,
    HeartbeatReply,
    Message,
    Piece,
    PlanReply,
    PlanRequest,
    RequestFailed,
)
from mesh.types import ChatMessage, Device, NodeRecord, Plan, Sampling, Summary

_REQUEST_ID = 1  # the only request on its link

DEFAULT_MAX_TOKENS = 256


class ChatOptions(TypedDict, total=False):
    """How an answer is made; everything has a default."""

    model: str
    """Name of a model; by default the gateway's first."""
    max_tokens: int
    """Longest answer; 256."""
    temperature: float
    """0, the default, takes the most likely token each time."""
    top_k: int
    top_p: float
    min_p: float
    seed: int
    """The same seed, model and prompt give the same answer; drawn at random by default."""
    deadline_s: float
    """Seconds after which the answer fails rather than goes on."""


class Answer:
    """One answer as it comes: iterate once over its pieces, then look at its summary.

    Leaving the iteration early, or being cancelled in it, ends the work on every device.
    """

    def __init__(self, request: ChatRequest, opened: Callable[[], Awaitable[Link]]) -> None:
        self._request = request
        self._opened = opened
        self._summary: Summary | None = None

    def __aiter__(self) -> AsyncGenerator[Piece]:
        return self._pieces()

    async def text(self) -> str:
        """Wait for the whole answer and return it."""
        return "".join([piece.text async for piece in self])

    @property
    def seed(self) -> int:
        """The seed that this answer is drawn with."""
        return self._request.sampling.seed

    @property
    def summary(self) -> Summary:
        """What is known when the answer has ended; raise BadSetting before."""
        if self._summary is None:
            raise BadSetting("an answer has a summary when all its pieces have come")
        return self._summary

    async def _pieces(self) -> AsyncGenerator[Piece]:
        async with _asking(self._opened, self._request) as link:
            while True:
                match await _reply(link):
                    case Piece() as piece:
                        yield piece
                    case ChatFinished(_, summary):
                        self._summary = summary
                        return
                    case unexpected:
                        raise _surprise(unexpected)


class Client:
    """A connection to one gateway of a mesh. Made by `mesh.connect`."""

    def __init__(
        self, gateway: NodeRecord, opened: Callable[[], Awaitable[Link]], rng: random.Random
    ) -> None:
        self.gateway = gateway
        self._opened = opened
        self._rng = rng

    def chat(self, prompt: str | Sequence[ChatMessage], **options: Unpack[ChatOptions]) -> Answer:
        """Ask for an answer to one prompt, or to a conversation whose last turn is the user's.

        Nothing is sent until the answer is iterated. Iterating raises what the mesh could not do, as a
        MeshError, after every piece that it could; an answer never just stops. Raises BadSetting for an
        option that makes no sense.
        """
        if unknown := sorted(options.keys() - ChatOptions.__annotations__.keys()):
            raise BadSetting(f"chat has no option '{unknown[0]}'")
        if isinstance(prompt, str):
            prompt = [ChatMessage("user", prompt)]
        if any(not _is_text(message.content) for message in prompt):
            raise BadSetting("the prompt has bytes that are no UTF-8 text; write it anew")
        seed = options.get("seed")
        sampling = Sampling(
            temperature=options.get("temperature", 0.0),
            top_k=options.get("top_k"),
            top_p=options.get("top_p", 1.0),
            min_p=options.get("min_p", 0.0),
            seed=self._rng.getrandbits(32) if seed is None else seed,
        )
        request = ChatRequest(
            request_id=_REQUEST_ID,
            model=options.get("model"),
            messages=tuple(prompt),
            max_tokens=options.get("max_tokens", DEFAULT_MAX_TOKENS),
            sampling=sampling,
            deadline_s=options.get("deadline_s"),
        )
        return Answer(request, self._opened)

    async def devices(self) -> tuple[Device, ...]:
        """The devices of the mesh as the gateway sees them, by name."""
        async with _asking(self._opened, DevicesRequest(_REQUEST_ID)) as link:
            match await _reply(link):
                case DevicesReply(_, devices):
                    return devices
                case unexpected:
                    raise _surprise(unexpected)

    async def plan(self, model: str | None = None, context: int | None = None) -> Plan:
        """How the mesh would place a model now, for sessions of at least `context` positions."""
        async with _asking(self._opened, PlanRequest(_REQUEST_ID, model, context)) as link:
            match await _reply(link):
                case PlanReply(_, plan):
                    return plan
                case unexpected:
                    raise _surprise(unexpected)


@asynccontextmanager
async def _asking(opened: Callable[[], Awaitable[Link]], request: ClientRequest) -> AsyncIterator[Link]:
    link = await opened()
    try:
        await link.send(request)
        yield link
    finally:
        await link.close()


async def _reply(link: Link) -> Message:
    """Return the next reply; raise what the gateway could not do, or that it is not there any more."""
    name = link.node.name if link.node else "the gateway"
    try:
        while isinstance(reply := await _next(link, name), HeartbeatReply):
            pass
    except ChannelClosed as error:
        raise PeerUnreachable(f"{name} went away in the middle of the request; ask again") from error
    if isinstance(reply, RequestFailed):
        raise reply.error
    return reply


async def _next(link: Link, name: str) -> Message:
    """Return the next message; in a long silence ask the gateway whether it lives."""
    timing = Timing()
    try:
        async with asyncio.timeout(timing.suspect_after_s):
            return await link.receive()
    except TimeoutError:
        await link.send(Heartbeat())
    try:
        async with asyncio.timeout(timing.lost_after_s):
            return await link.receive()
    except TimeoutError as error:
        raise PeerUnreachable(f"{name} fell silent in the middle of the request; ask again") from error


def _is_text(content: str) -> bool:
    """Whether it can be written as UTF-8: bytes that could not be read stand in it as half characters."""
    try:
        content.encode()
    except UnicodeEncodeError:
        return False
    return True


def _surprise(message: Message) -> InternalError:
    return InternalError(f"the gateway sent a {type(message).__name__} where none belongs")
