"""The first route of an answer: which nodes hold which layers, given what it demands and who is there.

Owns where that route comes from: the stages of an answer that begins alike, the route of another gateway's
answer, or a plan made anew; and which warm copies it gets. Must not know requests or clients, nor what
becomes of a route: that is `mesh.roles.routes`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from mesh.config import Planning
from mesh.errors import CapacityLost, InsufficientMemory
from mesh.logic.capacity import Demand
from mesh.logic.partition import plan
from mesh.logic.prefixes import Reuse, route_like
from mesh.logic.recovery import mend
from mesh.logic.session import planned_context
from mesh.logic.standby import standbys
from mesh.roles.survey import Survey
from mesh.spec import ModelSpec
from mesh.types import Plan, Precision

Recall = Callable[[tuple[int, ...], Callable[[Plan], Plan | None]], Reuse | None]
"""Finds the session that a prompt begins like; see `mesh.roles.answers.Answers.reuse`."""


@dataclass(frozen=True, slots=True)
class FirstRoute:
    """By which route an answer begins, and what its stages may have of it already."""

    plan: Plan
    reuse: Reuse | None = None
    """The session that it begins like; the plan is then that one's."""
    taken_over: Plan | None = None
    """The route that it has had at another gateway."""


class Planner:
    """Finds the first route of each answer of one gateway."""

    def __init__(self, survey: Survey, recall: Recall, planning: Planning, precision: Precision) -> None:
        self._survey = survey
        self._recall = recall
        self._planning = planning
        self._precision = precision

    def demand(self, spec: ModelSpec, needed: int, begun: Plan | None = None) -> Demand:
        """Return what an answer demands that needs so many positions.

        Like requests have the same context; one that goes on elsewhere has that of the route `begun`.
        """
        context = planned_context(needed, self._planning.context_step, spec.context_length)
        return Demand(spec, self._precision, begun.context if begun else context)

    def begin(self, demand: Demand, prompt: tuple[int, ...]) -> FirstRoute:
        """Return the route of a new answer; raise InsufficientMemory where it has no room."""
        candidates = self._survey.for_plans(demand.spec.ref)
        reuse = self._recall(prompt, lambda known: route_like(known, demand, candidates))
        if reuse is None:
            return FirstRoute(self.plan(demand))
        return FirstRoute(self._with_standbys(reuse.plan, demand), reuse=reuse)

    def take_over(self, demand: Demand, begun: Plan) -> FirstRoute:
        """Return the route of another gateway's answer, without the nodes that are gone."""
        candidates = self._survey.for_recovery(begun.model, lambda _: 0)
        try:
            # Their gateway is gone: who is in doubt at this moment most likely is that one.
            mended = mend(demand, begun, candidates, self._survey.suspects())
        except CapacityLost:
            mended = begun  # whoever drives it waits for a device to come back
        return FirstRoute(mended, taken_over=begun)

    def plan(self, demand: Demand) -> Plan:
        """Place the model anew on the devices that are alive and have its file; raises as `begin`."""
        try:
            placed = plan(demand, self._survey.for_plans(demand.spec.ref))
        except InsufficientMemory:
            placed = self._placed_with_all(demand)
        return self._with_standbys(placed, demand)

    def _placed_with_all(self, demand: Demand) -> Plan:
        """Place it on those too that should rest, or else are late, but not on those that come and go."""
        model = demand.spec.ref
        with contextlib.suppress(InsufficientMemory):
            return plan(demand, self._survey.for_plans(model, is_strict=False))
        try:
            return plan(demand, self._survey.for_plans(model, is_strict=False, with_late=True))
        except InsufficientMemory as error:
            raise InsufficientMemory("; ".join([str(error), *self._survey.unsteady()])) from None

    def _with_standbys(self, placed: Plan, demand: Demand) -> Plan:
        candidates = self._survey.for_plans(placed.model, is_strict=False)
        return replace(placed, standbys=standbys(demand, placed, candidates, self._planning.standby))
