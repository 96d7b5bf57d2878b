"""Which ways a node measures, when, and what it tells of them.

Owns the times of the questions, and the list of ways that the node announces. Pure: `now` in seconds of any
monotonic clock. Must not know lines; how a way is measured is `mesh.logic.echo`'s.

Of each pair the node with the lower id asks, and what it announces tells the other one too. When a pair asks
is spread by their ids, so that a house which comes back after a power cut does not ask all at once:

- two small questions within a second, two more within an interval (20 s), then two each interval;
- questions for the rate, which are large, in turns: a node takes one every 15 s at most, for the pair whose
  turn was longest ago, and each pair has one every two minutes at most.

In a minute that is six small questions of 4 or 5 bytes and answers of as many, and half a turn for the rate:
34 KiB on a way that bears it, 2 KiB on one that does not. So a pair costs 17 KiB a minute (2.3 kbit/s), and a
node that asks many others 19 kbit/s at most.

The list is looked at anew every 15 s, for it goes to everybody, and waits for a heartbeat that goes anyway.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field

from mesh.config import MAX_LINKS
from mesh.logic.echo import Gauge
from mesh.messages import Echo
from mesh.types import LinkRecord, NodeId

_FIRST_S = 1.0  # from a line to its first question, at most
_RATE_EVERY_S = 120.0  # of one pair
_RATE_APART_S = 15.0  # of one node
_TELL_FIRST_S = 2.0  # from the first line: those of a home that starts have answered by then
_TELL_EVERY_S = 15.0  # and 40 s until all four round trips are new: what got slower is told within a minute


@dataclass(slots=True)
class _Pair:
    """Another node that we ask."""

    phase: float
    """From 0 to 1, where among other pairs it comes."""
    due_s: float
    """When the next question is to be asked."""
    num_asked: int = 0
    rated_s: float = -math.inf
    """When it last had a turn for the rate."""
    gauge: Gauge = field(default_factory=Gauge)


class Echoes:
    """The ways from one node to all others that it asks."""

    def __init__(self, own: NodeId, interval_s: float) -> None:
        self._own = own
        self._interval_s = interval_s
        self._pairs: dict[NodeId, _Pair] = {}
        self._rate_s = math.inf
        """When the next turn for a rate may be, whosever it is."""
        self._tell_s = math.inf
        """When the list is to be looked at again."""
        self._links: tuple[LinkRecord, ...] = ()

    @property
    def next_s(self) -> float:
        """When the next question is due; infinite where there is nobody to ask. Answers move it nearer."""
        next_s = min((pair.due_s for pair in self._pairs.values()), default=math.inf)
        pair = self._next_to_rate()
        return next_s if pair is None else min(next_s, self._turn_s(pair))

    def reached(self, node_id: NodeId, now: float) -> None:
        """There is a line to a node; ask it until it is gone, if that is for us to do."""
        if node_id <= self._own or node_id in self._pairs:
            return
        if self._tell_s == math.inf:
            self._tell_s = now + _TELL_FIRST_S
            self._rate_s = now + _FIRST_S + _RATE_APART_S * _fraction(self._own)
        phase = _fraction(f"{self._own} {node_id}")
        self._pairs[node_id] = _Pair(phase, now + _FIRST_S * phase)

    def gone(self, node_id: NodeId) -> None:
        """Ask a node no more, and forget what is known of the way to it."""
        self._pairs.pop(node_id, None)
        self._links = tuple(link for link in self._links if link.node_id != node_id)

    def due(self, now: float) -> tuple[NodeId, ...]:
        """Return who is to be asked now, and count them as asked."""
        pair = self._next_to_rate()
        if pair is not None and now >= self._turn_s(pair):
            self._rate_s = now + _RATE_APART_S
            pair.rated_s = pair.due_s = now
            pair.gauge.want_rate()
        due = tuple(node_id for node_id, pair in self._pairs.items() if pair.due_s <= now)
        for node_id in due:
            pair = self._pairs[node_id]
            pair.due_s = now + self._interval_s * (pair.phase if pair.num_asked == 0 else 1.0)
            pair.num_asked += 1
        return due

    def _next_to_rate(self) -> _Pair | None:
        """Return the pair whose turn for the rate was longest ago; None where nobody ever answered."""
        answering = [pair for pair in self._pairs.values() if pair.gauge.has_answer]
        return min(answering, key=lambda pair: pair.rated_s, default=None)

    def _turn_s(self, pair: _Pair) -> float:
        """When a pair may have its next turn."""
        return max(self._rate_s, pair.rated_s + _RATE_EVERY_S)

    def ask(self, node_id: NodeId, padding_bytes: int, now: float) -> Echo | None:
        """Return the question to send to a node at this moment; None where it is gone."""
        pair = self._pairs.get(node_id)
        return pair.gauge.ask(padding_bytes, now) if pair else None

    def answered(self, node_id: NodeId, number: int, now: float) -> int | None:
        """Take an answer; return the padding of the question to ask at once, None where that is none."""
        pair = self._pairs.get(node_id)
        return pair.gauge.answered(number, now) if pair else None

    def links(self, now: float) -> tuple[LinkRecord, ...]:
        """Return what to announce: the nearest, rounded; the same for some time, whatever is measured."""
        if now >= self._tell_s:
            self._tell_s = now + _TELL_EVERY_S
            records = (pair.gauge.record(node_id) for node_id, pair in self._pairs.items())
            known = [record for record in records if record is not None]
            known.sort(key=lambda record: (record.round_trip_s, record.node_id))
            self._links = tuple(known[:MAX_LINKS])
        return self._links


def _fraction(text: str) -> float:
    """Spread texts evenly from 0 to 1."""
    return zlib.crc32(text.encode()) / 2**32
