"""Which way a request is answered: whole on one device, split over several, or by a server outside.

Owns the ways that there are for one request, and their order. Pure. What an answer takes on each is predicted
by `mesh.logic.cost`; how a plan is made is the business of `mesh.logic.partition`.

The way that is best by prediction comes first, of those that have room beside what is in use. One by which
answers went last stays before others that are not better by a margin, and so does one whose stages are loaded
for others: what is predicted is never so exact, and each change costs loading. Of others that are about as
good the one is taken that empties batteries least.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from math import inf

from mesh.decision import Decision, Option, OptionKind, Privacy, Share
from mesh.errors import InsufficientMemory
from mesh.logic.capacity import Candidate, Demand, megabytes
from mesh.logic.cost import Costs, Work, costs
from mesh.logic.deployments import deployment, lacks_memory
from mesh.logic.explaining import reason
from mesh.logic.partition import plan
from mesh.types import Aim, NodeId, Plan

MARGIN = 1.1
"""So many times as long as the best a way may take that spares batteries, or that stays in the mesh."""

STAYS = 1.25
"""And one that stands already: what is predicted swings with the load, and each change costs loading."""

_MOST_OPTIONS = 16  # of each kind that are told: a household has fewer, and a record goes with each answer

_MANY_SESSIONS = 4  # on one device: from there on, how much all get counts more than how soon one does


@dataclass(frozen=True, slots=True)
class Known:
    """A route that stands already."""

    plan: Plan
    num_positions: int = 0
    """Of the prompt, that its stages have."""


class Standing(IntEnum):
    """Whether a way is there already; of those about as good the least is taken."""

    USED = 0
    """By answers of the same gateway."""
    LOADED = 1
    """All of its stages are in memory."""
    NOT = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked, beside the model and its memory."""

    work: Work
    origin: NodeId | None = None
    """The node that was asked; None where that is not known."""
    known: tuple[Known, ...] = ()
    """Routes that stand, the likeliest first."""
    aim: Aim | None = None
    """None: throughput while many ask, else latency."""
    begin_s: float = 0.0
    """Until the stages of a way are open, whichever it is."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way through the mesh, and how it is shown."""

    plan: Plan
    option: Option
    num_known: int = 0
    standing: Standing = Standing.NOT

    @property
    def seconds(self) -> float:
        """What the whole answer is expected to take; infinite where too little is known."""
        prediction = self.option.prediction
        return inf if prediction is None else prediction.last_token_s

    @property
    def waits(self) -> bool:
        """Whether it has no room until other answers end."""
        return self.option.waits_for is not None


def ways(demand: Demand, candidates: Sequence[Candidate], asked: Asked) -> tuple[Way, ...]:
    """Return the ways through the mesh that have room, the best first.

    Where nothing is known of how fast devices are, one whose stages have a part of the prompt is the best,
    then the plan of the fewest devices. Raises InsufficientMemory where there is none; its text says what is
    missing.
    """
    figures = costs(demand, candidates, asked.origin)
    standing = [Way(k.plan, option(k.plan), k.num_positions, Standing.USED) for k in asked.known]
    try:
        best = plan(demand, candidates, asked.origin, asked.aim or usual_aim(candidates))
    except InsufficientMemory:
        if not standing:
            raise
        fresh: list[Plan] = []
    else:
        fresh = [best, *_wholes(demand, candidates)]
    if figures is None:
        found = _unlike([*standing, *(Way(one, option(one)) for one in fresh)])
        return tuple(sorted(found, key=lambda way: (way.num_known == 0, -way.standing)))
    if (loaded := deployment(demand, candidates, figures)) is not None:
        fresh.append(loaded)
    found = _unlike([*standing, *(Way(one, option(one)) for one in fresh)])
    return _ordered([_reckoned(way, candidates, figures, asked) for way in found])


def usual_aim(candidates: Iterable[Candidate]) -> Aim:
    """Throughput while many ask, else latency."""
    most = max((candidate.num_sessions for candidate in candidates), default=0)
    return Aim.THROUGHPUT if most >= _MANY_SESSIONS else Aim.LATENCY


def option(route: Plan) -> Option:
    """Return a route as it is shown."""
    kind = OptionKind.DEVICE if len(route.stages) == 1 else OptionKind.SPLIT
    shares = tuple(Share(stage.node.name, stage.span) for stage in route.stages)
    return Option(kind, route.model.name, shares)


def obstacles(demand: Demand, candidates: Iterable[Candidate]) -> list[tuple[str, str]]:
    """Name the devices that cannot hold the model alone, and say what they lack."""
    need_bytes = demand.whole_bytes
    need = f"the whole model needs {megabytes(need_bytes)} MB"
    return [
        (candidate.node.name, f"{need}, and it lends {megabytes(candidate.plannable_bytes, down=True)}")
        for candidate in candidates
        if candidate.plannable_bytes < need_bytes
    ]


def decision(
    demand: Demand,
    privacy: Privacy,
    num_prompt: int,
    possible: Sequence[Option],
    excluded: Iterable[tuple[str, str]],
) -> Decision:
    """Put together what was decided: the options that are to be had, and devices that are out of question."""
    whole, model = demand.spec.whole, demand.spec.name
    others = [Option(OptionKind.DEVICE, model, (Share(name, whole),), excluded=why) for name, why in excluded]
    shown = (*possible[:_MOST_OPTIONS], *others[:_MOST_OPTIONS])
    return Decision(model, privacy, num_prompt, shown, reason(shown))


def _wholes(demand: Demand, candidates: Sequence[Candidate]) -> list[Plan]:
    """The model as a whole on each device that holds it, the roomiest first."""
    able = [candidate for candidate in candidates if candidate.plannable_bytes >= demand.whole_bytes]
    able.sort(key=lambda candidate: (-candidate.plannable_bytes, candidate.node.node_id))
    return [
        Plan(
            demand.spec.ref,
            demand.precision,
            demand.context,
            (demand.stage(candidate.node, demand.spec.whole),),
        )
        for candidate in able
    ]


def _reckoned(way: Way, candidates: Sequence[Candidate], figures: Costs, asked: Asked) -> Way:
    """The same way with what it will take, and for whom it has to wait."""
    prediction = figures.predict(way.plan.stages, replace(asked.work, num_known=way.num_known))
    prediction = replace(prediction, prefill_s=prediction.prefill_s + asked.begin_s)
    full = lacks_memory(way.plan, candidates)
    waits_for = None if full is None else full.node.name
    standing = min(way.standing, Standing.NOT if prediction.load_s else Standing.LOADED)
    shown = replace(way.option, prediction=prediction, waits_for=waits_for)
    return replace(way, option=shown, standing=standing)


def _ordered(found: Sequence[Way]) -> tuple[Way, ...]:
    ranked = sorted(found, key=lambda way: (way.waits, way.seconds, len(way.plan.stages)))
    best = ranked[0]
    near = [way for way in ranked if (way.waits, way.seconds) <= (best.waits, STAYS * best.seconds)]
    first = min(near, key=lambda way: way.standing)
    if first.standing is not Standing.USED:
        equals = [way for way in near if way.standing is first.standing]
        first = min((way for way in equals if way.seconds <= MARGIN * first.seconds), key=_battery_j)
    return (first, *(way for way in ranked if way is not first))


def _battery_j(way: Way) -> float:
    return 0.0 if way.option.prediction is None else way.option.prediction.battery_j


def _unlike(found: Iterable[Way]) -> list[Way]:
    """Each route once, the first of equals."""
    by_route = dict[tuple[object, ...], Way]()
    for way in found:
        by_route.setdefault(tuple((s.node.node_id, s.span) for s in way.plan.stages), way)
    return list(by_route.values())
