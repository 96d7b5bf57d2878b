"""What every stage checks at its edges, and says in the same words, whatever computes it.

Owns these checks. Must not know arrays or tensors.
"""

from __future__ import annotations

from mesh.errors import ContextExceeded, NotFinite, ShapeMismatch
from mesh.spec import ModelSpec

DAMAGED = "the model's file or the input of that layer may be damaged: pull the model again"


def check_context(spec: ModelSpec, context: int) -> None:
    """Raise ContextExceeded where a session is longer than the model knows."""
    if context > spec.context_length:
        raise ContextExceeded(
            f"a context of {context} positions is beyond the {spec.context_length} "
            f"of {spec.name}; ask for less"
        )


def check_ids(spec: ModelSpec, least: int, largest: int) -> None:
    """Raise ShapeMismatch where the least or the largest token id of a frame is none of the model's."""
    if least < 0 or largest >= spec.vocab_size:
        wrong = least if least < 0 else largest
        raise ShapeMismatch(f"token id {wrong} is outside the vocabulary of {spec.vocab_size}")


def not_finite(spec: ModelSpec, layer: int, start: int, advice: str = DAMAGED) -> NotFinite:
    """Return the error of a frame, from position `start` on, whose numbers are none after a layer."""
    return NotFinite(
        f"layer {layer} of {spec.name} made numbers that are none, in positions from {start} on; {advice}"
    )
