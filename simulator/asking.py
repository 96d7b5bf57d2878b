"""Requests as clients make them, and what became of each.

Owns the client's side of a workload, for virtual and for real households: when to ask, when to ask again, and
the record. It asks through the client library that apps use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from mesh.client import ChatOptions, Client
from mesh.errors import CapacityError, MeshError
from mesh.messages import Piece, Routed
from mesh.types import Recovery, SessionId, Summary
from simulator.result import RequestRecord
from simulator.script import RequestScript
from simulator.trace import Kind, Trace

_PAUSE_S = 1.0  # before asking again

OpenClient = Callable[[str], Awaitable[Client]]
"""From a device's name to a client of its gateway; raises PeerUnreachable where no agent runs."""


class Judge(Protocol):
    """Who looks at what comes."""

    def routed(self, asked: Asked, session_id: SessionId) -> None:
        """The client was told which session answers the last attempt from now on."""

    def token(self, asked: Asked, token: int) -> None:
        """A token of the last attempt has come; it is in `asked` already."""

    def ended(self, asked: Asked, summary: Summary | None) -> None:
        """An attempt has ended: with a summary, or with an error (None)."""


class Indifferent:
    """A judge who says nothing."""

    def routed(self, asked: Asked, session_id: SessionId) -> None:
        """Take it as it is."""

    def token(self, asked: Asked, token: int) -> None:
        """Take it as it is."""

    def ended(self, asked: Asked, summary: Summary | None) -> None:
        """Take it as it is."""


@dataclass(slots=True)
class Asked:
    """One request, under way or over."""

    script: RequestScript
    asked_s: float = 0.0
    """Start of the first attempt."""
    tried_s: float = 0.0
    """Start of the last one."""
    num_attempts: int = 0
    tokens: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    ended_s: float | None = None
    """When the last attempt ended; None while it is under way."""
    error: str | None = None
    num_prompt_tokens: int = 0
    num_stages: int = 0
    recoveries: tuple[Recovery, ...] = ()
    """Of the last attempt, so far."""

    @property
    def is_under_way(self) -> bool:
        """Whether an attempt has begun and not ended."""
        return self.num_attempts > 0 and self.ended_s is None

    @property
    def is_answered(self) -> bool:
        """Whether the whole answer came."""
        return self.ended_s is not None and self.error is None

    @property
    def heard_s(self) -> float:
        """When the last attempt was last heard of."""
        return self.times_s[-1] if self.times_s else self.tried_s

    def begin(self, now_s: float) -> None:
        """Start an attempt."""
        self.asked_s = self.asked_s if self.num_attempts else now_s
        self.tried_s, self.num_attempts = now_s, self.num_attempts + 1
        self.tokens, self.times_s = [], []
        self.ended_s = self.error = None
        self.recoveries = ()

    def record(self) -> RequestRecord:
        """Return what became of it so far."""
        return RequestRecord(
            number=self.script.number,
            device=self.script.device,
            asked_s=self.asked_s,
            tried_s=self.tried_s,
            token_times_s=tuple(self.times_s),
            ended_s=self.ended_s,
            error=self.error,
            num_attempts=self.num_attempts,
            num_prompt_tokens=self.num_prompt_tokens,
            num_stages=self.num_stages,
            num_recoveries=len(self.recoveries),
            stall_s=max((recovery.stall_s for recovery in self.recoveries), default=None),
        )


@dataclass(frozen=True, slots=True)
class Asker:
    """Somebody in the household who asks."""

    open_client: OpenClient
    now_s: Callable[[], float]
    """Seconds of the run."""
    trace: Trace
    until_s: float
    """No request is tried again after that."""
    judge: Judge = field(default_factory=Indifferent)

    async def ask(self, asked: Asked) -> None:
        """Ask when it is time, and again where that was wanted and may help; never raises a MeshError."""
        await asyncio.sleep(max(0.0, asked.script.at_s - self.now_s()))
        while True:
            error = await self._try(asked)
            if error is None or not (asked.script.asks_again and _may_pass(error)):
                return
            if self.now_s() + _PAUSE_S > self.until_s:
                return
            await asyncio.sleep(_PAUSE_S)

    async def _try(self, asked: Asked) -> MeshError | None:
        asked.begin(self.now_s())
        self._note(Kind.ASKED, asked, model=asked.script.model, attempt=asked.num_attempts)
        summary, failure = None, None
        try:
            summary = await self._listen(asked)
            asked.num_prompt_tokens = summary.num_prompt_tokens
            asked.num_stages = len(summary.stages)
            self._note(Kind.ANSWERED, asked, reason=summary.reason.value, tokens=len(summary.tokens))
        except MeshError as error:
            failure, asked.error = error, error.code
            self._note(Kind.FAILED, asked, code=error.code, text=str(error))
        asked.ended_s = self.now_s()
        self.judge.ended(asked, summary)
        return failure

    async def _listen(self, asked: Asked) -> Summary:
        client = await self.open_client(asked.script.device)
        answer = client.chat(asked.script.prompt, **_options(asked.script))
        async with aclosing(answer.events()) as events:
            async for event in events:
                match event:
                    case Routed() as routed:
                        self._routed(asked, routed)
                    case Piece(_, _, tokens):
                        self._came(asked, tokens)
                asked.recoveries = answer.recoveries
        asked.recoveries = answer.summary.recoveries
        return answer.summary

    def _came(self, asked: Asked, tokens: Iterable[int]) -> None:
        for token in tokens:
            self._note(Kind.TOKEN, asked, index=len(asked.tokens), token=token)
            asked.tokens.append(token)
            asked.times_s.append(self.now_s())
            self.judge.token(asked, token)

    def _routed(self, asked: Asked, routed: Routed) -> None:
        devices = ", ".join(stage.node.name for stage in routed.plan.stages)
        lost = ", ".join(routed.recovery.lost) if routed.recovery else ""
        stall_s = routed.recovery.stall_s if routed.recovery else 0.0
        self._note(
            Kind.ROUTED,
            asked,
            session=routed.session_id,
            epoch=routed.epoch,
            devices=devices,
            lost=lost,
            stall_s=stall_s,
        )
        self.judge.routed(asked, routed.session_id)

    def _note(self, kind: Kind, asked: Asked, **details: str | int | float) -> None:
        script = asked.script
        self.trace.add(self.now_s(), kind, script.device, request=script.number, **details)


def _may_pass(error: MeshError) -> bool:
    """Whether to ask again: devices that are missing now may come back."""
    return error.retry or isinstance(error, CapacityError)


def _options(request: RequestScript) -> ChatOptions:
    options = ChatOptions(
        model=request.model,
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        seed=request.seed,
    )
    if request.deadline_s is not None:
        options["deadline_s"] = request.deadline_s
    return options
