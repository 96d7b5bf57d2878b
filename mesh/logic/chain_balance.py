"""The chain of nodes that serves many sessions at once: the one whose slowest stage takes the least time.

Owns the search. Pure. While many sessions are under way all stages work at the same time, and as many tokens
come as the slowest stage lets through. How long one token is on its way counts only among chains that are
about as good in that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mesh.logic.chain_search import best_chain
from mesh.logic.chains import Chain, Delays, Seat, best_ends

_SLACK = 1.03  # so much slower a stage may be for a token that is sooner through
_HALVINGS = 40


def balanced_chain(seats: Sequence[Seat], ways: Delays, num_layers: int) -> Chain | None:
    """Return the chain of the least slowest stage, among equals about the quickest; None without room."""
    low, high = 0.0, _longest_s(seats, num_layers)
    if not _is_possible(_limited(seats, high), num_layers):
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _is_possible(_limited(seats, middle), num_layers):
            high = middle
        else:
            low = middle
    return best_chain(_limited(seats, high * _SLACK), ways, num_layers)


def _longest_s(seats: Sequence[Seat], num_layers: int) -> float:
    """No stage takes longer."""
    return max((_fixed_s(seat) + _layer_s(seat) * num_layers for seat in seats), default=0.0)


def _fixed_s(seat: Seat) -> float:
    return seat.first_s + seat.last_s + seat.begin_s


def _layer_s(seat: Seat) -> float:
    return seat.layer_s + seat.begin_layer_s


def _limited(seats: Sequence[Seat], most_s: float) -> list[Seat]:
    """The same nodes, with no more layers in each place than they do in a time."""

    def limit(seat: Seat, beside_s: float) -> int:
        left_s = most_s - seat.begin_s - beside_s
        return int(left_s / _layer_s(seat) + 1e-9) if left_s >= 0 else 0

    return [
        replace(
            seat,
            inner=max(0, min(seat.inner, limit(seat, 0.0))),
            first=min(seat.first, limit(seat, seat.first_s)),
            last=min(seat.last, limit(seat, seat.last_s)),
            alone=min(seat.alone, limit(seat, seat.first_s + seat.last_s)),
        )
        for seat in seats
    ]


def _is_possible(seats: Sequence[Seat], num_layers: int) -> bool:
    """Whether some chain of them holds all layers."""
    if any(seat.alone >= num_layers for seat in seats):
        return True
    ends = best_ends(seats)
    if ends is None:
        return False
    middle = sum(seat.inner for index, seat in enumerate(seats) if index not in ends)
    return seats[ends[0]].first + middle + seats[ends[1]].last >= num_layers
