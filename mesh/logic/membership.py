"""Who is in the mesh, as one node believes.

Owns each node's state and the rules by which news and silence change it. Pure: events and `now` (seconds
of any monotonic clock) come in, changes go out. Must not know how news travels; how long silence is borne is
`mesh.logic.pulse`'s.

    (unknown) ── sighted ──▶ joined ── heard ──▶ alive ── silence, or its channel broke ──▶ suspect
    suspect ── heard ──▶ alive          suspect, joined ── longer silence ──▶ lost
    any ── goodbye ──▶ left             left, or lost and not announced ── long after ──▶ (forgotten)
    lost ── heard, or sighted at first hand ──▶ alive, or joined
    announcement withdrawn: joined ──▶ lost, alive ──▶ suspect
    any ── sighted in a later incarnation ──▶ joined; nothing else brings back one that left

Two rules keep old news from doing harm: news of an earlier incarnation is ignored, and hearsay (a peer
tells of a node) never revives a node that we know to be gone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from mesh.config import Timing
from mesh.errors import StageLost
from mesh.logic.pulse import Pulses
from mesh.types import Device, NodeId, NodeRecord, NodeState, NodeStatus, Source

_GONE = (NodeState.LOST, NodeState.LEFT)


@dataclass(frozen=True, slots=True)
class Member:
    """What is believed of one node."""

    record: NodeRecord
    state: NodeState
    source: Source
    since_s: float
    """When it came into this state."""
    status: NodeStatus | None = None
    is_announced: bool = False
    """Whether discovery shows it now."""

    @property
    def device(self) -> Device:
        """The member as a line of the list of devices."""
        return Device(self.record, self.state, self.source, self.status)


@dataclass(frozen=True, slots=True)
class Change:
    """A node's state changed; None stands for unknown and for forgotten."""

    record: NodeRecord
    before: NodeState | None
    after: NodeState | None

    @property
    def loss(self) -> StageLost | None:
        """What sessions that need the node fail with, where nothing can be expected of it any more.

        Of a node that started again nothing that it had is left, though its peers may not have missed it.
        """
        if self.after in (*_GONE, None):
            return StageLost(f"{self.record.name} is {self.after or 'gone'}; ask again")
        if self.after is NodeState.JOINED and self.before not in (*_GONE, None):
            return StageLost(f"{self.record.name} has started again; ask again")
        return None


class Membership:
    """The state of every other node. Each event returns the changes that it made, often none."""

    def __init__(self, own: NodeId, timing: Timing) -> None:
        self._own = own
        self._timing = timing
        self._members: dict[NodeId, Member] = {}
        self._pulses = Pulses(timing)
        """Of every member. Apart from them, because it is what changes with every heartbeat."""
        self._alive: tuple[NodeRecord, ...] | None = None
        self.next_s = math.inf
        """When to tick again at the latest. Moves nearer where a node promises to speak sooner."""

    def members(self) -> tuple[Member, ...]:
        """All that are known, by name and id."""
        return tuple(sorted(self._members.values(), key=lambda m: (m.record.name, m.record.node_id)))

    def alive(self) -> tuple[NodeRecord, ...]:
        """Those believed alive, by name and id; the same tuple until that changes."""
        if self._alive is None:
            self._alive = tuple(m.record for m in self.members() if m.state is NodeState.ALIVE)
        return self._alive

    def get(self, node_id: NodeId) -> Member | None:
        """One node, if it is known."""
        return self._members.get(node_id)

    def sighted(self, record: NodeRecord, source: Source, now: float) -> list[Change]:
        """A node was found: announced, dialled by address, or told of by a peer."""
        known = self._members.get(record.node_id)
        if record.node_id == self._own or (known and not self._is_news(known, record, source)):
            return []
        is_announced = source is Source.MDNS or (known is not None and known.is_announced)
        if known and record.incarnation == known.record.incarnation and known.state not in _GONE:
            self._put(replace(known, record=record, source=_closer(known, source), is_announced=is_announced))
            return []
        self._put(Member(record, NodeState.JOINED, source, now, is_announced=is_announced))
        self._pulses.sighted(record.node_id, now)
        return [Change(record, known.state if known else None, NodeState.JOINED)]

    @staticmethod
    def _is_news(known: Member, record: NodeRecord, source: Source) -> bool:
        if record.incarnation != known.record.incarnation:
            return record.incarnation > known.record.incarnation
        if known.state is NodeState.LEFT or (known.state is NodeState.LOST and source is Source.CONTACT):
            return False
        return source is not Source.CONTACT or record.address == known.record.address

    def heard(
        self, node_id: NodeId, status: NodeStatus | None, now: float, next_s: float | None = None
    ) -> list[Change]:
        """A node showed that it lives; a status of None says that it is as it was.

        It promises to do so again within `next_s` seconds (None: the usual interval), and from now on its
        silence counts by that: until its first quick promise, and after it takes that back, as usual.
        """
        known = self._members.get(node_id)
        if known is None or known.state is NodeState.LEFT:
            return []
        self._pulses.looked(self.next_s, now)
        self._pulses.heard(node_id, now, next_s)
        if next_s is not None:
            self.next_s = min(self.next_s, self._pulses.suspect_s(node_id))
        if status is not None:
            self._put(replace(known, status=status))
        return [] if known.state is NodeState.ALIVE else self._move(node_id, NodeState.ALIVE, now)

    def seen(self, node_id: NodeId, incarnation: int, now: float) -> list[Change]:
        """Something else than a heartbeat came from a node: it lives, and has promised nothing new."""
        known = self._members.get(node_id)
        is_there = known is not None and known.state in (NodeState.ALIVE, NodeState.SUSPECT)
        if known is None or not is_there or known.record.incarnation != incarnation:
            return []
        self._pulses.seen(node_id, now)
        return self._move(node_id, NodeState.ALIVE, now)

    def broken(self, node_id: NodeId, now: float) -> list[Change]:
        """The channel to a node broke, or it could not be dialled."""
        known = self._members.get(node_id)
        return self._move(node_id, NodeState.SUSPECT, now) if known and known.state is NodeState.ALIVE else []

    def withdrawn(self, node_id: NodeId, now: float) -> list[Change]:
        """A node's announcement is gone: it left, or only its announcement ran out.

        One that answers heartbeats is suspected, and cleared by its next; one that never did is lost.
        """
        known = self._members.get(node_id)
        if known is None:
            return []
        self._put(replace(known, is_announced=False))
        if known.state in _GONE:
            return []
        return self._move(node_id, NodeState.SUSPECT if known.status else NodeState.LOST, now)

    def said_goodbye(self, node_id: NodeId, incarnation: int, now: float) -> list[Change]:
        """A node said that it leaves."""
        known = self._members.get(node_id)
        if known is None or known.record.incarnation > incarnation:
            return []
        self._put(replace(known, record=replace(known.record, incarnation=incarnation)))
        return self._move(node_id, NodeState.LEFT, now)

    def tick(self, now: float, again_s: float = math.inf) -> list[Change]:
        """Let silence have its effect. Costs little where it has none: every node does it all the time.

        To be called again at `next_s`, which is `again_s` or earlier; who comes much later has stood still,
        and does not take that for the silence of others.
        """
        self._pulses.looked(self.next_s, now)
        changes: list[Change] = []
        self.next_s = again_s
        for node_id, known in tuple(self._members.items()):
            deadline_s = self._deadline_s(node_id, known)
            if deadline_s <= now:
                changes += self._age(node_id, now)
                deadline_s = self._deadline_s(node_id, self._members.get(node_id))
            if deadline_s < self.next_s:
                self.next_s = deadline_s
        return changes

    def _deadline_s(self, node_id: NodeId, known: Member | None) -> float:
        """When silence moves a node on."""
        if known is None:
            return math.inf
        if known.state is NodeState.ALIVE:
            return self._pulses.suspect_s(node_id)
        if known.state in _GONE:
            # Of an announced one discovery would say nothing new when its network comes back, so keep it.
            keep = known.state is NodeState.LOST and known.is_announced
            return math.inf if keep else known.since_s + self._timing.forget_after_s
        return self._pulses.lost_s(node_id, known.since_s)

    def _age(self, node_id: NodeId, now: float) -> list[Change]:
        known = self._members[node_id]
        if known.state in _GONE:
            del self._members[node_id]
            self._pulses.forget(node_id)
            return [Change(known.record, known.state, None)]
        was_heard = known.state is NodeState.ALIVE  # never straight to lost
        return self._move(node_id, NodeState.SUSPECT if was_heard else NodeState.LOST, now)

    def _move(self, node_id: NodeId, state: NodeState, now: float) -> list[Change]:
        known = self._members[node_id]
        if known.state is state:
            return []
        self._put(replace(known, state=state, since_s=now))
        return [Change(known.record, known.state, state)]

    def _put(self, member: Member) -> None:
        self._members[member.record.node_id] = member
        self._alive = None


def _closer(known: Member, source: Source) -> Source:
    """Keep the first-hand source: hearsay about a node that mDNS found says nothing new."""
    return known.source if source is Source.CONTACT else source
