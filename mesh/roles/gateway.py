"""Takes clients' requests and replies.

Owns the requests under way, by client. Every node has a gateway: there is no master. Must not know how a chat
is answered: that is `mesh.roles.chatting`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mesh.config import MAX_CONVERSATION_BYTES, Planning, Timing
from mesh.errors import (
    BadRequest,
    BadSetting,
    DeadlineExceeded,
    InternalError,
    MeshError,
    NetworkError,
    NodeLeaving,
)
from mesh.link import Link
from mesh.messages import (
    CancelRequest,
    ChatFinished,
    ChatRequest,
    ClientReply,
    ClientRequest,
    DevicesReply,
    DevicesRequest,
    DrainReply,
    DrainRequest,
    PlanRequest,
    RequestFailed,
)
from mesh.ports import Library, Upstream
from mesh.roles.answers import Answers
from mesh.roles.chatting import Chatting, ChattingParts
from mesh.roles.choosing import Choosing
from mesh.roles.deployer import Deployer
from mesh.roles.guessing import Guessing
from mesh.roles.order import Means
from mesh.roles.outside import Outside
from mesh.roles.peers import Peers
from mesh.roles.planning import Planner
from mesh.roles.roster import Roster
from mesh.roles.survey import Survey
from mesh.types import NodeRecord, Precision, Summary

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What tunes a gateway."""

    timing: Timing
    planning: Planning
    precision: Precision = Precision.INT4
    upstreams: tuple[Upstream, ...] = ()
    """Servers outside the mesh that it may ask."""


class Gateway:
    """The part of a node that takes requests."""

    def __init__(
        self, own: NodeRecord, library: Library, peers: Peers, roster: Roster, settings: GatewaySettings
    ) -> None:
        self._own = own
        self._roster = roster
        self._settings = settings
        survey = Survey(roster, distrusted=settings.planning.distrusted)
        self.answers = Answers(
            Means(
                own=own,
                peers=peers,
                survey=survey,
                deployer=Deployer(peers),
                attention=roster,
                timing=settings.timing,
                planning=settings.planning,
            )
        )
        planner = Planner(own.node_id, survey, self.answers.reuse, settings.planning, settings.precision)
        self._chatting = Chatting(
            ChattingParts(
                own=own,
                library=library,
                roster=roster,
                survey=survey,
                planner=planner,
                answers=self.answers,
                choosing=Choosing(own.name, library, planner, Outside(settings.upstreams)),
                timing=settings.timing,
                guessing=Guessing(library, settings.planning),
            )
        )
        self.closing: str | None = None
        """Why no new answers are begun; None while they are."""
        self._on_drain: Callable[[DrainRequest], Awaitable[None]] | None = None
        self._requests: dict[tuple[Link, int], asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        roster.on_change(survey.node_changed)
        roster.on_change(self.answers.node_changed)
        roster.on_status(self.answers.status_changed)

    @property
    def num_under_way(self) -> int:
        """How many answers are made for clients of this node now, by whomever."""
        return self._chatting.num_under_way

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            await asyncio.get_running_loop().create_future()

    def on_drain(self, drain: Callable[[DrainRequest], Awaitable[None]]) -> None:
        """Set who has the node leave, or stay after all, when a client asks for that."""
        self._on_drain = drain

    def request(self, message: ClientRequest, link: Link) -> None:
        """Start answering a client; replies go back on its link."""
        place = (link, message.request_id)
        if isinstance(message, CancelRequest):
            if task := self._requests.get(place):
                task.cancel()
        elif self._tasks is not None and place not in self._requests:
            task = self._requests[place] = self._tasks.create_task(self._serve(message, link))
            task.add_done_callback(lambda _: self._requests.pop(place, None))

    def link_closed(self, link: Link) -> None:
        """Give up what a client that is gone had asked for."""
        for (client, _), task in tuple(self._requests.items()):
            if client is link:
                task.cancel()

    async def _serve(self, message: ClientRequest, link: Link) -> None:
        """Answer one request; whatever goes wrong becomes one clear reply."""
        reply: ClientReply
        try:
            reply = await self._reply(message, link)
        except MeshError as error:
            reply = RequestFailed.of(message.request_id, error)
        except Exception as error:
            _log.exception("request %s", type(message).__name__)
            text = f"{type(error).__name__}: {error}; the log of {self._own.name} has more"
            reply = RequestFailed(message.request_id, InternalError.code, text)
        try:
            await self._send(reply, link)
        except BadSetting as error:  # a figure that the wire cannot carry
            _log.exception("reply %s", type(reply).__name__)
            text = f"{error}; the log of {self._own.name} has more"
            await self._send(RequestFailed(message.request_id, InternalError.code, text), link)

    async def _send(self, reply: ClientReply, link: Link) -> None:
        with contextlib.suppress(NetworkError, TimeoutError):
            async with asyncio.timeout(self._settings.timing.stall_s):  # a client that takes nothing
                await link.send(reply)

    async def _reply(self, message: ClientRequest, link: Link) -> ClientReply:
        match message:
            case ChatRequest():
                return ChatFinished(message.request_id, await self._in_time(message, link))
            case DevicesRequest():
                return DevicesReply(message.request_id, self._roster.devices())
            case PlanRequest():
                _check_size(message)
                self._refuse_if_closing()
                return await self._chatting.explain(message)
            case DrainRequest():
                if self._on_drain is not None:
                    await self._on_drain(message)
                return DrainReply(message.request_id)
            case CancelRequest():
                raise BadRequest("a cancellation has no reply")

    async def _in_time(self, request: ChatRequest, link: Link) -> Summary:
        _check_size(request)
        self._refuse_if_closing()
        if request.deadline_s is not None and not request.deadline_s >= 0:  # written so that NaN is refused
            raise BadSetting(f"deadline_s is {request.deadline_s}; it must be 0 or more")
        try:
            async with asyncio.timeout(request.deadline_s):
                return await self._chatting.answer(request, link)
        except TimeoutError as error:
            raise DeadlineExceeded(f"the answer was not ready within {request.deadline_s:g} s") from error

    def _refuse_if_closing(self) -> None:
        if self.closing is not None:
            raise NodeLeaving(f"{self._own.name} begins no new answers: {self.closing}; ask another device")


def _check_size(request: ChatRequest | PlanRequest) -> None:
    num_bytes = sum(len(message.content.encode()) for message in request.messages)
    if num_bytes > MAX_CONVERSATION_BYTES:
        raise BadRequest(
            f"the conversation has {num_bytes} bytes; at most {MAX_CONVERSATION_BYTES} are taken"
        )
