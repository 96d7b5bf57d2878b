"""How far devices are off what is expected of them: learnt from answers, within bounds.

Owns one factor for each device. Pure. A factor follows what was seen in a few answers, and no single one, be
it a fluke or a lie, moves it far.

An answer tells only what a whole route took. What it took more or less than expected is put down to its
devices in proportion to the part that each was expected to have in it: where they meet in other routes too,
the blame ends where it belongs.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum, isfinite

from mesh.types import NodeId

_MOST_AT_ONCE = 2.0  # an answer that took ten times as long counts as twice
_MOST = 8.0  # beyond it something else is wrong
_WEIGHTS = (0.8, 0.5, 0.4, 0.3)
"""Of an answer, by how many there were before: after three a sixteenth of the error is left. Later ones count
as part of a mean, for each is off by what else its devices had to do."""


class Corrections:
    """What to multiply the expected seconds of devices with."""

    def __init__(self) -> None:
        self._factors: dict[NodeId, float] = {}
        self._num_answers: dict[NodeId, int] = {}

    def factor(self, node_id: NodeId) -> float:
        """Times as long as it says; 1 while nothing was seen of it."""
        return self._factors.get(node_id, 1.0)

    def observed(self, expected_s: Mapping[NodeId, float], measured_s: float, ways_s: float = 0.0) -> None:
        """A token took so long by a route, which was expected to take so long at each of its nodes.

        `ways_s` was expected between them. What is no time above zero is passed over. The figures expected
        are with the factors of now.
        """
        total_s = fsum(expected_s.values()) + ways_s
        if not (isfinite(measured_s) and measured_s > 0 and isfinite(total_s) and total_s > 0):
            return
        ratio = min(_MOST_AT_ONCE, max(1 / _MOST_AT_ONCE, measured_s / total_s))
        largest = max(expected_s.values())
        for node_id, seconds in expected_s.items():
            num_before = self._num_answers.get(node_id, 0)
            self._num_answers[node_id] = num_before + 1
            weight = _WEIGHTS[min(num_before, len(_WEIGHTS) - 1)] * seconds / largest
            factor = self.factor(node_id) * ratio**weight
            self._factors[node_id] = min(_MOST, max(1 / _MOST, factor))

    def forget(self, node_id: NodeId) -> None:
        """A node has gone, or has started anew: what was seen of it counts no more."""
        self._factors.pop(node_id, None)
        self._num_answers.pop(node_id, None)
