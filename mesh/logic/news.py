"""What a node has to tell of itself, to each listener only what is new to it.

Owns what counts as new. Pure. Must not know links: whoever speaks keeps, for each listener, what `now` was
when it last spoke, and NOTHING for one that it never spoke to.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh.messages import Heartbeat
from mesh.types import NodeRecord, NodeStatus

_NOTHING_NEW = Heartbeat()


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """All that there was to tell at one time; equal only to itself, for it is a key and has much in it."""

    status: NodeStatus | None
    neighbours: tuple[NodeRecord, ...]


NOTHING = Told(None, ())
"""What a new listener has been told."""


class News:
    """The latest, and what to say to those who know something older."""

    def __init__(self) -> None:
        self.now = NOTHING
        self._sayings: dict[tuple[Told, float | None], Heartbeat] = {}

    def update(self, status: NodeStatus, neighbours: tuple[NodeRecord, ...]) -> None:
        """Take what there is to tell now."""
        if status != self.now.status or neighbours != self.now.neighbours:
            self.now = Told(status, neighbours)
            self._sayings = {}

    def since(self, told: Told, next_s: float | None = None) -> Heartbeat:
        """Return what is new; listeners who know the same, and are promised the same, get the same object.

        The promise is that the next heartbeat comes within `next_s` seconds; None: after the usual interval.
        A neighbour that is gone is not mentioned, and is news again when it is back.
        """
        if told is self.now and next_s is None:
            return _NOTHING_NEW
        if (told, next_s) not in self._sayings:
            self._sayings[told, next_s] = self._compare(told, next_s)
        return self._sayings[told, next_s]

    def _compare(self, told: Told, next_s: float | None) -> Heartbeat:
        known = frozenset(told.neighbours)
        status = None if self.now.status == told.status else self.now.status
        neighbours = tuple(record for record in self.now.neighbours if record not in known)
        return Heartbeat(status, neighbours, next_s)
