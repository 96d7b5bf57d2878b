"""How long the silence of each node is borne.

Owns what every node promised (when its next heartbeat comes), how late its heartbeats were lately, and when
we ourselves stood still. Pure. Must not know the states of nodes, nor what is done about silence.

Two things must not be taken for the death of a node:
- a slow link: the lateness that a node has shown is added to its deadlines, never beyond the usual ones, and
  is forgotten slowly. So it is not declared dead and back again and again.
- a standstill of our own: whoever was paused finds everybody late when it goes on. That is nobody's lateness,
  and everybody gets some time to speak again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mesh.config import Timing
from mesh.types import NodeId

_HALF_LIFE_S = 30.0
"""In which half of a lateness is forgotten: a link that was bad a minute ago may be bad again."""


@dataclass(slots=True)
class _Pulse:
    """One node's heartbeats."""

    heard_s: float
    """When it last showed that it lives; when it was sighted, until then."""
    suspect_after_s: float
    lost_after_s: float
    lateness_s: float = 0.0
    due_s: float = math.inf
    """When the next is promised; never, as long as none has come."""


class Pulses:
    """The heartbeats of all other nodes, by `now` in seconds of any monotonic clock."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._pulses: dict[NodeId, _Pulse] = {}
        self._woke_s = -math.inf
        """When we last went on after a standstill."""
        self._spare_until_s = -math.inf
        """Until then nobody is lost."""

    def sighted(self, node_id: NodeId, now: float) -> None:
        """A node is there that has promised nothing yet; what lateness it showed before is kept."""
        known, timing = self._pulses.get(node_id), self._timing
        lateness_s = _faded_s(known, now) if known else 0.0
        self._pulses[node_id] = _Pulse(now, timing.suspect_after_s, timing.lost_after_s, lateness_s)

    def heard(self, node_id: NodeId, now: float, next_s: float | None) -> None:
        """A node showed that it lives, and will again within `next_s`; None: after the usual interval."""
        pulse = self._pulses[node_id]
        pulse.lateness_s = self._lateness_s(pulse, now)
        pulse.heard_s = now
        if next_s is None:
            pulse.due_s = now + self._timing.heartbeat_interval_s
            pulse.suspect_after_s, pulse.lost_after_s = (
                self._timing.suspect_after_s,
                self._timing.lost_after_s,
            )
        else:
            pulse.due_s = now + next_s
            pulse.suspect_after_s, pulse.lost_after_s = self._quick_limits_s(next_s, pulse.lateness_s)

    def seen(self, node_id: NodeId, now: float) -> None:
        """Something came from a node, and its next heartbeat is due when it was."""
        self._pulses[node_id].heard_s = now

    def forget(self, node_id: NodeId) -> None:
        """A node is not to be watched any more."""
        del self._pulses[node_id]

    def looked(self, due_s: float, now: float) -> None:
        """We look at the clock, and meant to do so at `due_s` at the latest.

        Much later is a standstill of our own. Nobody is lost then for as long as it was, up to what silence
        usually takes from suspicion to loss: what was sent meanwhile waits to be read, or to be said anew.
        """
        timing, stood_s = self._timing, now - due_s
        if stood_s > timing.quick_heartbeat_s / 2:
            self._woke_s = now
            spare_s = min(stood_s, timing.lost_after_s - timing.suspect_after_s)
            self._spare_until_s = max(self._spare_until_s, now + spare_s)

    def suspect_s(self, node_id: NodeId) -> float:
        """When silence makes a node suspect."""
        pulse = self._pulses[node_id]
        return pulse.heard_s + pulse.suspect_after_s

    def lost_s(self, node_id: NodeId, since_s: float) -> float:
        """When silence makes a node lost that has been suspect, or unheard, since some time."""
        pulse = self._pulses[node_id]
        doubted_s = since_s + pulse.lost_after_s - pulse.suspect_after_s
        return max(pulse.heard_s + pulse.lost_after_s, doubted_s, self._spare_until_s)

    def _lateness_s(self, pulse: _Pulse, now: float) -> float:
        """Return the lateness to reckon with after a heartbeat that comes now."""
        known_s = _faded_s(pulse, now)
        if now - pulse.heard_s > self._timing.lost_after_s:
            return known_s  # it was away, not late: no patience of ours would have helped
        return max(known_s, now - max(pulse.due_s, self._woke_s))

    def _quick_limits_s(self, next_s: float, lateness_s: float) -> tuple[float, float]:
        """Return the silence that makes suspect, and lost, a node that promised to speak soon.

        In proportion to what it promised, though no shorter than our own: they outlast retransmissions.
        """
        timing = self._timing
        scale = max(1.0, next_s / timing.quick_heartbeat_s)
        lost_s = min(scale * timing.quick_lost_s + lateness_s, timing.lost_after_s)
        doubt_s = scale * (timing.quick_lost_s - timing.quick_suspect_s)
        doubt_s = min(doubt_s, timing.lost_after_s - timing.suspect_after_s)
        return min(lost_s - doubt_s, timing.suspect_after_s), lost_s


def _faded_s(pulse: _Pulse, now: float) -> float:
    return float(pulse.lateness_s * 0.5 ** ((now - pulse.heard_s) / _HALF_LIFE_S))
