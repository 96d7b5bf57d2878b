"""What can be claimed of a run: invariants that hold always, promises that come true eventually.

Owns their names and what they mean; how they are judged is the business of `simulator.invariants` and
`simulator.promises`. Pure.
"""

from __future__ import annotations

from enum import StrEnum


class Invariant(StrEnum):
    """What must hold at every moment."""

    EXACT_TOKENS = "exact_tokens"
    ONE_END = "one_end"
    MEMORY_WITHIN_BUDGET = "memory_within_budget"
    NO_ROLE_FAILED = "no_role_failed"
    FREED_IN_TIME = "freed_in_time"
    NO_FALSE_DEATH = "no_false_death"


USUAL = tuple(invariant for invariant in Invariant if invariant is not Invariant.NO_FALSE_DEATH)
"""What is judged where a scenario does not say. Under faults of every kind a device that runs may well be
taken for dead, so only scenarios of calmer homes claim that none ever is."""


class PromiseName(StrEnum):
    """What must come true within a time after the healing."""

    ANSWERED = "answered"
    CONVERGED = "converged"
    NOTHING_ALLOTTED = "nothing_allotted"


MEANINGS: dict[str, str] = {
    Invariant.EXACT_TOKENS: (
        "every token of every answer is the one that the undivided model gives there, and no end is early"
    ),
    Invariant.ONE_END: "every request ends by itself, by a whole answer or one error, and none falls silent",
    Invariant.MEMORY_WITHIN_BUDGET: "no device holds more weights and caches than its owner lends",
    Invariant.NO_ROLE_FAILED: "no exception leaves a role that is not an error of the mesh",
    Invariant.FREED_IN_TIME: (
        "no running device holds a cache for more than 2 s, and what stages wait for another gateway, after "
        "the request has ended, unless a fault is felt"
    ),
    Invariant.NO_FALSE_DEATH: (
        "no device takes another for lost that runs and can be reached, however bad the link between them"
    ),
    PromiseName.ANSWERED: "every request that asks again is answered",
    PromiseName.CONVERGED: "every device that runs sees just the running devices of its mesh alive",
    PromiseName.NOTHING_ALLOTTED: "no session and no cache is left anywhere once no request is under way",
}
"""What each name stands for, in words."""
