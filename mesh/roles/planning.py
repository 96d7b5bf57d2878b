"""The first route of an answer: which nodes hold which layers, given what it demands and who is there.

Owns where that route comes from: the ways that there are for a request, as `mesh.logic.routing` orders them,
or the route of another gateway's answer; which warm copies it gets; and what is learnt from how long answers
took. Must not know requests or clients, nor what becomes of a route: that is `mesh.roles.routes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from mesh.config import Planning
from mesh.decision import Decision, Privacy
from mesh.errors import CapacityLost, InsufficientMemory
from mesh.logic.capacity import Candidate, Demand
from mesh.logic.cost import Work, costs
from mesh.logic.pace import RunningMean
from mesh.logic.prefixes import Reuse, route_like
from mesh.logic.recovery import mend
from mesh.logic.routing import Asked, Known, Way, decision, obstacles, ways
from mesh.logic.session import planned_context
from mesh.logic.speeds import doubts
from mesh.logic.standby import standbys
from mesh.now import now_s
from mesh.roles.order import Outcome
from mesh.roles.survey import Survey
from mesh.spec import ModelSpec
from mesh.types import Digest, NodeId, Plan, Precision, Standby

Recall = Callable[[tuple[int, ...], Callable[[Plan], Plan | None]], Reuse | None]
"""Finds the session that a prompt begins like; see `mesh.roles.answers.Answers.reuse`."""

_USUAL_TOKENS = 128  # of an answer, before any was made

_TELLING_TOKENS = 8  # from so many on, an answer says how long a token takes


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request says of how it is to be answered."""

    max_tokens: int
    privacy: Privacy = Privacy.MESH


@dataclass(frozen=True, slots=True)
class FirstRoute:
    """By which route an answer begins, and what its stages may have of it already."""

    demand: Demand
    plan: Plan
    reuse: Reuse | None = None
    """The session that it begins like; the plan is then that one's."""
    taken_over: Plan | None = None
    """The route that it has had at another gateway."""
    only: NodeId | None = None
    """The one node that may have anything of it; None: all may."""
    decision: Decision | None = None
    """Why it is this one; None for one that was taken over."""
    due_s: float | None = None
    """When its first token would come if the stages had nothing but their work to do, by the loop's clock.

    None where that is not known, or something is still to be loaded.
    """
    crowds: Mapping[NodeId, int] | None = None
    """Sessions that its nodes had then; None where nothing is to be learnt from it."""


class Planner:
    """Finds the first route of each answer of one gateway."""

    def __init__(
        self, own: NodeId, survey: Survey, recall: Recall, planning: Planning, precision: Precision
    ) -> None:
        self._own = own
        self._survey = survey
        self._recall = recall
        self._planning = planning
        self._precision = precision
        self._current: dict[tuple[Digest, NodeId | None], Plan] = {}
        """The routes by which answers went last, by model and the one node that they might use."""
        self._num_tokens = RunningMean()
        self._begin = RunningMean()
        """What the first token takes beside its stages' work: until they are open."""

    def demand(self, spec: ModelSpec, needed: int, begun: Plan | None = None) -> Demand:
        """Return what an answer demands that needs so many positions.

        Like requests have the same context; one that goes on elsewhere has that of the route `begun`.
        """
        context = planned_context(needed, self._planning.context_step, spec.context_length)
        return Demand(spec, self._precision, begun.context if begun else context)

    def decide(self, demand: Demand, prompt: tuple[int, ...], wish: Wish) -> FirstRoute:
        """Return the route that a new answer has best; raise InsufficientMemory where it has no room."""
        only = self._only(wish.privacy)
        strict = self._survey.for_plans(demand.spec.ref, only=only)
        reuse = self._recall(prompt, lambda known: route_like(known, demand, strict))
        known = [Known(reuse.plan, reuse.shared)] if reuse else []
        current = self._current.get((demand.spec.digest, only))
        if current and (like := route_like(current, demand, strict)):
            known.append(Known(like))
        work = Work(len(prompt), self.expected_tokens(wish))
        asked = Asked(work, self._own, tuple(known), self._planning.aim, self._begin.seconds)
        candidates, found = self._ways(demand, asked, strict, only)
        best = found[0]
        names = {candidate.node.name for candidate in candidates}
        passed_over = self._survey.passed_over(demand.spec.ref, only)
        excluded = [*obstacles(demand, candidates), *(one for one in passed_over if one[0] not in names)]
        shown = [way.option for way in found]
        return FirstRoute(
            demand,
            plan=self._with_standbys(best.plan, demand, only),
            reuse=reuse if best.num_known else None,
            only=only,
            due_s=_due_s(best, asked),
            decision=replace(
                decision(demand, wish.privacy, len(prompt), shown, excluded), notes=doubts(candidates)
            ),
            crowds={candidate.node.node_id: candidate.num_sessions for candidate in candidates},
        )

    def took(self, first: FirstRoute) -> None:
        """An answer goes by this route: it stands for those that come."""
        self._current[first.demand.spec.digest, first.only] = first.plan

    def take_over(self, demand: Demand, begun: Plan, privacy: Privacy = Privacy.MESH) -> FirstRoute:
        """Return the route of another gateway's answer, without the nodes that are gone."""
        only = self._only(privacy)
        candidates = self._survey.for_recovery(begun.model, only=only)
        try:
            # Their gateway is gone: who is in doubt at this moment most likely is that one.
            mended = mend(demand, begun, candidates, self._survey.suspects())
        except CapacityLost:
            mended = self._trusted(begun)  # whoever drives it waits for a device to come back
        return FirstRoute(demand, mended, taken_over=begun, only=only)

    def _only(self, privacy: Privacy) -> NodeId | None:
        return self._own if privacy is Privacy.DEVICE else None

    def _trusted(self, begun: Plan) -> Plan:
        """Return another gateway's route; raise CapacityLost where it needs a device that is distrusted."""
        distrusts = self._survey.distrusts
        if strange := [stage.node.name for stage in begun.stages if distrusts(stage.node)]:
            raise CapacityLost(f"{strange[0]} holds a part of the answer and is not trusted here; ask again")
        return replace(begun, standbys=tuple(copy for copy in begun.standbys if not distrusts(copy.node)))

    def ended(self, first: FirstRoute, outcome: Outcome) -> None:
        """Learn from an answer that went by the route that it began with, undisturbed."""
        self._num_tokens.add(outcome.num_drawn)
        self._learn_begin(first, outcome)
        is_telling = outcome.num_drawn >= _TELLING_TOKENS and outcome.tokens_per_s > 0
        has_guessed = outcome.guesses is not None and outcome.guesses.num_drafted > 0
        if first.crowds is None or outcome.recoveries or has_guessed or not is_telling:
            return
        demand, crowds = first.demand, first.crowds
        now = self._survey.for_recovery(demand.spec.ref)
        then = [replace(c, num_sessions=crowds.get(c.node.node_id, c.num_sessions)) for c in now]
        figures = costs(demand, then, self._own)
        nodes = {candidate.node.node_id for candidate in then}
        if figures is not None and nodes >= {stage.node.node_id for stage in first.plan.stages}:
            stages, token_s = outcome.plan.stages, 1 / outcome.tokens_per_s
            self._survey.corrections.observed(figures.shares_s(stages), token_s, figures.ways_s(stages))

    def _learn_begin(self, first: FirstRoute, outcome: Outcome) -> None:
        if first.due_s is not None and not outcome.recoveries:
            self._begin.add(max(0.0, outcome.first_s - first.due_s))

    def expected_tokens(self, wish: Wish) -> int:
        """How many tokens an answer is taken for: as many as usual, as far as it may have so many."""
        usual = round(self._num_tokens.seconds) or _USUAL_TOKENS
        return max(1, min(usual, wish.max_tokens or usual))

    def _ways(
        self, demand: Demand, asked: Asked, strict: list[Candidate], only: NodeId | None
    ) -> tuple[list[Candidate], tuple[Way, ...]]:
        """The ways among the devices that should be used; where they have no room, among all that can be."""
        failure: InsufficientMemory | None = None
        for candidates in self._tiers(demand, strict, only):
            try:
                return candidates, ways(demand, candidates, asked)
            except InsufficientMemory as error:
                failure = error
        beside = list(self._survey.kept_out())
        if only is not None:
            beside.append("its privacy is 'device', so no other device may help")
        raise InsufficientMemory("; ".join([str(failure), *beside]))

    def _tiers(
        self, demand: Demand, strict: list[Candidate], only: NodeId | None
    ) -> Iterator[list[Candidate]]:
        """Those that a plan should use; those too that should rest; and those that are late at this moment.

        Not those that come and go.
        """
        model = demand.spec.ref
        yield strict
        yield self._survey.for_plans(model, is_strict=False, only=only)
        yield self._survey.for_plans(model, is_strict=False, with_late=True, only=only)

    def _with_standbys(self, placed: Plan, demand: Demand, only: NodeId | None) -> Plan:
        if only is not None or self._planning.standby is Standby.NONE:
            return placed
        candidates = self._survey.for_plans(placed.model, is_strict=False)
        return replace(placed, standbys=standbys(demand, placed, candidates, self._planning.standby))


def _due_s(way: Way, asked: Asked) -> float | None:
    prediction = way.option.prediction
    if prediction is None or prediction.load_s:
        return None
    return now_s() + prediction.first_token_s - asked.begin_s
