"""A client's talk with gateways: one request on one link, and an answer that outlives its gateway.

Owns when a gateway is given up and how the next one is asked. Must not know what an app does with an answer;
what the answer came to is `mesh.logic.account`.

What may happen to the gateway of an answer: nobody answers at its address; the link breaks; it falls silent,
then it is asked whether it lives; it says that it is about to leave. In each case the next one is asked. Any
other failure is the mesh's and the same at every gateway, so it is final.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mesh.config import Timing
from mesh.errors import ChannelClosed, MeshError, ModelNotPulled, NodeLeaving, PeerUnreachable
from mesh.gateways import Gateways, Reached, nobody_answers
from mesh.link import Link
from mesh.logic.account import Account
from mesh.messages import ClientRequest, Heartbeat, HeartbeatReply, Message, RequestFailed
from mesh.now import now_s
from mesh.types import NodeId

_CANNOT = (NodeLeaving, ModelNotPulled)  # and it will say so again
_GONE = (PeerUnreachable, ChannelClosed, NodeLeaving)  # this gateway cannot, another may


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a gateway may be silent, in seconds."""

    ask_s: float
    """Then it is asked for a sign of life."""
    lost_s: float
    """And so long after that it is given up."""

    @classmethod
    def usual(cls) -> Patience:
        """Return that of requests which are answered at once, or by one certain node."""
        timing = Timing()
        return cls(timing.suspect_after_s, timing.lost_after_s)

    @classmethod
    def in_an_answer(cls) -> Patience:
        """Return that of an answer, for which others stand ready."""
        timing = Timing()
        return cls(timing.client_ask_s, timing.client_lost_s)

    @property
    def doubled(self) -> Patience:
        """Twice the time."""
        return Patience(2 * self.ask_s, 2 * self.lost_s)


@asynccontextmanager
async def asking(opened: Callable[[], Awaitable[Link]], request: ClientRequest) -> AsyncIterator[Link]:
    """Open a link and send a request; the link closes at the end, and gives the request up with it."""
    link = await opened()
    try:
        await link.send(request)
        yield link
    finally:
        await link.close()


async def reply(link: Link, patience: Patience) -> Message:
    """Return the next reply; raise what the gateway could not do, or PeerUnreachable where it is gone."""
    name = _name(link)
    try:
        while isinstance(message := await _next(link, patience), HeartbeatReply):
            pass
    except ChannelClosed as error:
        raise PeerUnreachable(f"{name} went away in the middle of the request; ask again") from error
    if isinstance(message, RequestFailed):
        raise message.error
    return message


async def _next(link: Link, patience: Patience) -> Message:
    """Return the next message; in a long silence ask the gateway whether it lives."""
    try:
        async with asyncio.timeout(patience.ask_s):
            return await link.receive()
    except TimeoutError:
        pass
    try:
        async with asyncio.timeout(patience.lost_s):
            await link.send(Heartbeat())
            return await link.receive()
    except TimeoutError as error:
        raise PeerUnreachable(f"{_name(link)} fell silent in the middle of the request; ask again") from error


class Conversation:
    """One answer's way through gateways, one after the other."""

    def __init__(self, account: Account, gateways: Gateways) -> None:
        self._account = account
        self._gateways = gateways
        self._patience = Patience.in_an_answer()
        self._open: list[Link] = []
        """The current gateway's last; those before it are given up."""
        self._at: Reached | None = None
        self._is_asked = False
        self._is_alone = False
        """No other gateway answered when this one was silent."""
        self._failed: dict[NodeId, str] = {}
        """Gateways that failed since the last piece."""
        self._gone: dict[NodeId, None] = {}
        """Those of them that are not asked again."""

    async def next(self) -> Message:
        """Return the next message of the answer, of whichever gateway.

        Raises what the mesh could not do; PeerUnreachable where no gateway is left, with the names of those
        that were tried; DeadlineExceeded where the caller's time ended while another was looked for.
        """
        while True:
            at = self._at or await self._begin()
            try:
                if not self._is_asked:
                    await self._ask(at)
                return await reply(at.link, self._patience)
            except _GONE as error:
                await self._turn(at, error)
            except ModelNotPulled as error:
                if not self._account.is_interrupted:
                    raise  # of the gateway that was meant: its owner can mend that
                await self._turn(at, error)

    def heard(self) -> None:
        """Text has come: who failed before it may be tried again should this gateway fail too."""
        self._failed.clear()
        self._gone.clear()

    async def close(self) -> None:
        """Give the answer up wherever it is being made."""
        while self._open:
            await self._open.pop().close()

    async def _begin(self) -> Reached:
        meant = self._gateways.current
        reached = await self._gateways.open()
        if reached.record.node_id != meant.node_id:
            if self._account.stays:
                await reached.link.close()
                raise PeerUnreachable(f"{meant.name} does not answer, and the request may not leave it")
            self._account.lost(meant.name, now_s())
            self._failed[meant.node_id] = meant.name
            self._gone[meant.node_id] = None
        return self._settle_at(reached)

    async def _ask(self, at: Reached) -> None:
        """Have a gateway make the answer, or go on with it."""
        await _send(at.link, self._account.asks(at.record.name, now_s()))
        self._is_asked = True
        while len(self._open) > 1:  # only now, because to close a link to a frozen gateway takes a while
            await self._open.pop(0).close()

    async def _turn(self, at: Reached, error: MeshError) -> None:
        """Give a gateway up for another; raise where there is none, or where it could not go on."""
        noticed_s = now_s()
        self._note_failure(at, error)
        another = await self._in_time(at) if self._account.can_go_on else ()
        if isinstance(another, Reached):
            self._account.lost(at.record.name, noticed_s)
            self._settle_at(another)
            self._patience = self._patience.doubled
        elif _is_silence(error) and not self._is_alone:
            # It may only be slow, and there is nobody else: it gets all the time that there is.
            self._is_alone, self._patience = True, Patience.usual()
        else:
            names = [*self._failed.values(), *another]
            raise nobody_answers(error, [name for name in names if name != at.record.name])

    def _note_failure(self, at: Reached, error: MeshError) -> None:
        """A broken link says little of the gateway at its other end, so that may be dialled once more."""
        node_id = at.record.node_id
        if _is_silence(error) or isinstance(error, _CANNOT) or node_id in self._failed:
            self._gone[node_id] = None
        self._failed[node_id] = at.record.name

    async def _in_time(self, at: Reached) -> Reached | tuple[str, ...]:
        try:
            async with asyncio.timeout(self._account.left_s(now_s())):
                return await self._gateways.another(at, self._gone)
        except TimeoutError as error:
            raise self._account.too_late from error

    def _settle_at(self, reached: Reached) -> Reached:
        self._at, self._is_asked = reached, False
        self._open.append(reached.link)
        return reached


def _is_silence(error: MeshError) -> bool:
    """Whether the link may still be whole: the gateway was only not heard for a time."""
    return isinstance(error.__cause__, TimeoutError)


async def _send(link: Link, request: ClientRequest) -> None:
    within_s = Timing().stall_s
    try:
        async with asyncio.timeout(within_s):
            await link.send(request)
    except TimeoutError:  # not from it: who was cut off in mid-sentence cannot be listened to any more
        raise PeerUnreachable(f"{_name(link)} took no request within {within_s:g} s; ask again") from None


def _name(link: Link) -> str:
    return link.node.name if link.node else "the gateway"
