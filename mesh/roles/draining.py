"""Leaving without harm: a node that is about to go, or should rest, has others take over what it holds.

Owns why the node is leaving, which may be for several reasons at once, and whether that may be. Who takes
over, and when, is each gateway's decision; this role says so, and waits.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mesh.config import Planning
from mesh.errors import InsufficientMemory, LastHolder
from mesh.logic.capacity import Candidate, Demand
from mesh.logic.partition import plan
from mesh.logic.readiness import DEFAULT_LIMITS, Readiness, ReadinessLimits, rest_reason
from mesh.ports import Conditions, Library
from mesh.roles.gateway import Gateway
from mesh.roles.roster import Roster
from mesh.roles.survey import Survey
from mesh.roles.worker import Worker
from mesh.types import Digest, NodeId, Precision, SessionId

_LOOK_S = 0.05  # between looks at what is left to hand over

OWNER = "its owner drains it"
STOPPING = "it is about to stop"


@dataclass(frozen=True, slots=True)
class Leaver:
    """The parts of a node that leave."""

    node_id: NodeId
    name: str
    worker: Worker
    gateway: Gateway
    roster: Roster
    library: Library
    planning: Planning
    readiness: ReadinessLimits = DEFAULT_LIMITS


class Draining:
    """Whether a node is leaving, and why."""

    def __init__(self, leaver: Leaver) -> None:
        self._leaver = leaver
        self._reasons: dict[str, str] = {}

    def begin(self, source: str, reason: str) -> None:
        """Take nothing new, and say so to everybody at once.

        Unless it is the device's own condition that is the reason, no new answers are begun either.
        """
        self._reasons[source] = reason
        self._changed()
        self._leaver.gateway.answers.node_leaving(self._leaver.node_id)

    def end(self, source: str) -> None:
        """That reason is over; with the last one the node takes part again."""
        if self._reasons.pop(source, None) is not None:
            self._changed()

    @property
    def parked(self) -> tuple[SessionId, ...]:
        """Sessions that are over, of which nothing needs to be handed over."""
        return self._leaver.worker.parked

    async def until_empty(self) -> None:
        """Wait until no session is held here and no answer is made here any more."""
        leaver = self._leaver
        while leaver.worker.num_sessions or self._num_own_answers:  # noqa: ASYNC110  two roles, seldom asked
            await asyncio.sleep(_LOOK_S)

    @property
    def _num_own_answers(self) -> int:
        """Answers of this node's gateway; where that stays open, they need not end."""
        gateway = self._leaver.gateway
        return gateway.num_under_way if gateway.closing else 0

    async def follow(self, conditions: Conditions) -> None:
        """Leave, and come back, as the device's condition and its owner's times have it."""
        readiness = Readiness(self._leaver.readiness)
        async for condition in conditions.watch():
            self._leaver.worker.condition = condition
            reasons = {"rest": rest_reason(condition), "condition": readiness.update(condition)}
            for source, reason in reasons.items():
                if reason is not None:
                    self.begin(source, reason)
            for source, reason in reasons.items():
                if reason is None:  # after those that begin: from one to the next it leaves throughout
                    self.end(source)

    async def check(self) -> None:
        """Raise LastHolder where nobody could take over what is held here, saying what would stop."""
        stages = self._leaver.worker.status().stages
        for digest in dict.fromkeys(stage.key.digest for stage in stages):
            missing = await self._missing(digest)
            if missing is not None:
                spans = ", ".join(str(s.key.span) for s in stages if s.key.digest == digest)
                num_answers = self._leaver.worker.num_sessions
                answers = "1 answer" if num_answers == 1 else f"{num_answers} answers"
                raise LastHolder(
                    f"{self._leaver.name} holds layers {spans}, and nobody could take them over ({missing}); "
                    f"{answers} would end and new ones be refused: --force drains it anyway"
                )

    async def _missing(self, digest: Digest) -> str | None:
        """Say why a model that has a place now would have none without this node; None where it would."""
        leaver = self._leaver
        spec = await leaver.library.spec_of(digest)
        demand = Demand(spec, Precision.INT4, min(leaver.planning.context_step, spec.context_length))
        survey = Survey(leaver.roster, distrusted=leaver.planning.distrusted)
        everybody = survey.for_recovery(spec.ref, with_leaving=True)
        others = [_with_all_its_memory(c) for c in everybody if c.node.node_id != leaver.node_id]
        try:
            plan(demand, others)
        except InsufficientMemory as error:
            return str(error)
        return None

    def _changed(self) -> None:
        leaver = self._leaver
        leaver.worker.leaving = next(iter(self._reasons.values()), None)
        # One that is only tired works on where nobody else can.
        closing = [reason for source, reason in self._reasons.items() if source != "condition"]
        leaver.worker.is_closed = bool(closing)
        leaver.gateway.closing = next(iter(closing), None)
        leaver.roster.speak_now()


def _with_all_its_memory(candidate: Candidate) -> Candidate:
    return Candidate(candidate.node, candidate.memory_bytes)
