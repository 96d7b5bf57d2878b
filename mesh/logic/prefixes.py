"""Which session a new one may begin with: what a gateway remembers of the conversations that it has driven.

Owns the histories of sessions whose caches may still be at their stages, and the choice among them. Pure.
Whether a cache is still there only its stage knows: what is found here is a hope, and costs little where it
fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from mesh.logic.capacity import Candidate, Demand, held_bytes
from mesh.types import NodeId, Plan, PlannedStage, SessionId

LEAST_SHARED = 16
"""Positions that are worth a copy; fewer are computed in the time that it takes to ask for them."""

_MOST_HISTORIES = 256  # some megabytes of tokens; a look at all of them takes a millisecond


@dataclass(frozen=True, slots=True)
class History:
    """The tokens that a session has at its stages, and where those are."""

    session_id: SessionId
    tokens: tuple[int, ...]
    plan: Plan


@dataclass(frozen=True, slots=True)
class Reuse:
    """How a new session may begin."""

    source: SessionId
    shared: int
    """Positions that both have in common, at least LEAST_SHARED, and fewer than the new one's prompt has."""
    plan: Plan
    """The stages of the source, for the new session's context."""


class Histories:
    """The sessions that are over, from the least recently used to the most."""

    def __init__(self) -> None:
        self._histories: dict[SessionId, History] = {}

    def __iter__(self) -> Iterator[History]:
        return iter(tuple(self._histories.values()))

    def remember(self, history: History) -> list[History]:
        """Take a session that has ended; return those that are worth nothing any more and are forgotten.

        These are such whose whole history the new one repeats on the same stages, and the least recently
        used where there are too many.
        """
        gone = [old for old in self._histories.values() if _covers(history, old)]
        for old in gone:
            del self._histories[old.session_id]
        self._histories[history.session_id] = history
        while len(self._histories) > _MOST_HISTORIES:
            gone.append(self._histories.pop(next(iter(self._histories))))
        return gone

    def used(self, session_id: SessionId) -> None:
        """A new session begins with what that one has."""
        if (history := self._histories.pop(session_id, None)) is not None:
            self._histories[session_id] = history


def best_reuse(
    histories: Iterable[History], prompt: Sequence[int], plan_like: Callable[[Plan], Plan | None]
) -> Reuse | None:
    """Return how a session with that prompt may begin: with the longest part in common, the newest first.

    `plan_like` returns a route through the same stages for the new session, None where that cannot be.
    """
    prompt = tuple(prompt)
    shared = [(common_length(h.tokens, prompt[:-1]), at, h) for at, h in enumerate(histories)]
    worthwhile = [found for found in shared if found[0] >= LEAST_SHARED]
    for num_positions, _, history in sorted(worthwhile, key=lambda found: found[:2], reverse=True):
        plan = plan_like(history.plan)
        if plan is not None:
            return Reuse(history.session_id, num_positions, plan)
    return None


def route_like(plan: Plan, demand: Demand, candidates: Sequence[Candidate]) -> Plan | None:
    """Return the same stages on the same nodes for another demand.

    None where it is another model or precision, where a node is no candidate any more, has started anew, or
    has no room.
    """
    if (plan.model.digest, plan.precision) != (demand.spec.digest, demand.precision):
        return None
    known = {candidate.node.node_id: candidate for candidate in candidates}
    stages = tuple(demand.stage(stage.node, stage.span) for stage in plan.stages)
    if not all(_lives(stage, known) for stage in stages):
        return None
    for node_id in dict.fromkeys(stage.node.node_id for stage in stages):
        need_bytes = sum(held_bytes(stage) for stage in stages if stage.node.node_id == node_id)
        if need_bytes > known[node_id].plannable_bytes:
            return None
    return replace(plan, context=demand.context, stages=stages, standbys=())


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many items two sequences have in common at their beginnings.

    By halving, so that nearly all of the work is comparing slices, which Python does fast.
    """
    low, high = 0, min(len(one), len(other))
    if tuple(one[:LEAST_SHARED]) != tuple(other[:LEAST_SHARED]):
        high = min(high, LEAST_SHARED)
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _covers(new: History, old: History) -> bool:
    """Whether all that an old session could give is given by a new one as well."""
    is_same_route = _places(new.plan) == _places(old.plan)
    return is_same_route and new.tokens[: len(old.tokens)] == old.tokens


def _places(plan: Plan) -> tuple[object, ...]:
    return (*((stage.node.node_id, stage.node.incarnation, plan.key(stage)) for stage in plan.stages),)


def _lives(stage: PlannedStage, known: dict[NodeId, Candidate]) -> bool:
    candidate = known.get(stage.node.node_id)
    return candidate is not None and candidate.node.incarnation == stage.node.incarnation
