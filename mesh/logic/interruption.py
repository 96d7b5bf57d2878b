"""What interrupts an answer, and what is to be done about it; and what each interruption has cost.

Owns the blame that nodes get for one session, and the account of a recovery. Pure. Must not know how a
replacement is chosen; that is `mesh.logic.recovery`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mesh.errors import (
    Busy,
    InsufficientMemory,
    MeshError,
    ModelError,
    ModelNotPulled,
    NodeLeaving,
    PositionGap,
    StageLost,
    StageNotLoaded,
    UnknownSession,
)
from mesh.messages import Resume
from mesh.types import NodeId, Plan, PlannedStage, Recovery, Span

_FORGOT = (UnknownSession, StageNotLoaded, PositionGap)
_REFUSED = (Busy, InsufficientMemory, NodeLeaving, ModelNotPulled, ModelError)


@dataclass(frozen=True, slots=True)
class Interruption:
    """The answer cannot go on by its route."""

    error: MeshError
    """What the client is told where nothing helps."""
    nodes: tuple[NodeId, ...] = ()
    """Whose stages are to blame."""
    gone: tuple[NodeId, ...] = ()
    """Whose stages need a replacement; of the others the route is only opened anew."""
    plan: Plan | None = None
    """The next route, where it is known and loaded already."""
    is_slow: bool = False
    """Whether who is to blame is there, and only far too slow: better than nobody."""

    @property
    def is_refusal(self) -> bool:
        """Whether a node is there, but does not take what it was asked to."""
        return isinstance(self.error, _REFUSED)

    @property
    def is_loss(self) -> bool:
        """Whether a device went away, rather than refused."""
        return isinstance(self.error, StageLost)


class Blame:
    """How often each node has failed one session."""

    def __init__(self) -> None:
        self._ever: Counter[NodeId] = Counter()
        self._lately: Counter[NodeId] = Counter()

    def doubts(self, node_id: NodeId) -> int:
        """How often a node has failed this session so far."""
        return self._ever[node_id]

    def token_came(self) -> None:
        """The session goes on: what has failed once since then may be tried once more."""
        self._lately.clear()

    def judge(self, error: MeshError, node_id: NodeId | None, *, seems_alive: bool) -> Interruption | None:
        """Take a failure at a node, or the loss of one; None where nothing can be done about it.

        A node whose stream broke though it seems to be alive, or which has forgotten the session, gets one
        chance to go on with what it has; the second time, another takes its place.
        """
        has_forgotten = isinstance(error, _FORGOT)
        if node_id is None or not isinstance(error, (StageLost, *_FORGOT, *_REFUSED)):
            return None
        self._ever[node_id] += 1
        self._lately[node_id] += 1
        may_go_on = has_forgotten or (isinstance(error, StageLost) and seems_alive)
        is_kept = may_go_on and self._lately[node_id] == 1
        return Interruption(error, (node_id,), () if is_kept else (node_id,))


@dataclass(slots=True)
class RecoveryAccount:
    """One interruption, from the last token before it to the first one after it."""

    last_token_s: float
    noticed_s: float
    lost: dict[NodeId, str] = field(default_factory=dict)
    """Names of the nodes to blame."""
    _before: Plan | None = None
    """The route by which the last token came."""
    _now: Plan | None = None
    _replayed_positions: int = 0
    _recomputed: dict[Span, None] = field(default_factory=dict)

    def rerouted(self, before: Plan, after: Plan) -> None:
        """The route is opened anew, maybe not for the first time since the last token."""
        self._before = self._before or before
        self._now = after

    def resumed(self, resume: Resume, position: int, made: int) -> None:
        """A stage has said where its cache ends.

        `position` is that of the token that is waited for; `made` is where the cache of each stage that
        lived must have ended once, as tokens have shown.
        """
        if self._now is None or resume.index >= len(self._now.stages):
            return
        stage = self._now.stages[resume.index]
        if self._is_new(stage):
            self._replayed_positions = max(self._replayed_positions, position - resume.position)
        elif resume.position < max(resume.had, made):
            self._recomputed[stage.span] = None

    def recovery(self, now: float) -> Recovery:
        """Close the account with the first token after the interruption."""
        stages = self._now.stages if self._now else ()
        names = (stage.node.name for stage in stages if self._is_new(stage))
        return Recovery(
            lost=tuple(self.lost.values()),
            replacement=tuple(dict.fromkeys(names)) or tuple(self.lost.values()),
            detect_s=self.noticed_s - self.last_token_s,
            stall_s=now - self.last_token_s,
            replayed_positions=self._replayed_positions,
            recomputed_layers=sum(span.num_layers for span in self._recomputed),
        )

    def _is_new(self, stage: PlannedStage) -> bool:
        """Whether a stage has taken the place of another since the last token."""
        before = self._before.stages if self._before else ()
        return all((s.node, s.span) != (stage.node, stage.span) for s in before)
