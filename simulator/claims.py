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
    PromiseName.ANSWERED: "every request that asks again is answered",
    PromiseName.CONVERGED: "every device that runs sees just the running devices of its mesh alive",
    PromiseName.NOTHING_ALLOTTED: "no session and no cache is left anywhere once no request is under way",
}
"""What each name stands for, in words."""
