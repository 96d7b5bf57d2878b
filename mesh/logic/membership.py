"""Who is in the mesh, as one node believes.

Owns each node's state and the rules by which news and silence change it. Pure: events and `now` (seconds
of any monotonic clock) come in, changes go out. Must not know how news travels.

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

from dataclasses import dataclass, replace

from mesh.config import Timing
from mesh.errors import StageLost
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
    heard_s: float
    """When it last showed that it lives; when it was sighted, until then."""
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
        """What sessions that need the node fail with, where nothing can be expected of it any more."""
        if self.after not in (*_GONE, None):
            return None
        return StageLost(f"{self.record.name} is {self.after or 'gone'}; ask again")


class Membership:
    """The state of every other node. Each event returns the changes that it made, often none."""

    def __init__(self, own: NodeId, timing: Timing) -> None:
        self._own = own
        self._timing = timing
        self._members: dict[NodeId, Member] = {}

    def members(self) -> tuple[Member, ...]:
        """All that are known, by name and id."""
        return tuple(sorted(self._members.values(), key=lambda m: (m.record.name, m.record.node_id)))

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
            kept = replace(known, record=record, source=_closer(known, source), is_announced=is_announced)
            self._members[record.node_id] = kept
            return []
        joined = Member(record, NodeState.JOINED, source, now, now, is_announced=is_announced)
        self._members[record.node_id] = joined
        return [Change(record, known.state if known else None, NodeState.JOINED)]

    @staticmethod
    def _is_news(known: Member, record: NodeRecord, source: Source) -> bool:
        if record.incarnation != known.record.incarnation:
            return record.incarnation > known.record.incarnation
        if known.state is NodeState.LEFT or (known.state is NodeState.LOST and source is Source.CONTACT):
            return False
        return source is not Source.CONTACT or record.address == known.record.address

    def heard(self, node_id: NodeId, status: NodeStatus, now: float) -> list[Change]:
        """A node showed that it lives."""
        known = self._members.get(node_id)
        if known is None or known.state is NodeState.LEFT:
            return []
        self._members[node_id] = replace(known, heard_s=now, status=status)
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
        self._members[node_id] = replace(known, is_announced=False)
        if known.state in _GONE:
            return []
        return self._move(node_id, NodeState.SUSPECT if known.status else NodeState.LOST, now)

    def said_goodbye(self, node_id: NodeId, incarnation: int, now: float) -> list[Change]:
        """A node said that it leaves."""
        known = self._members.get(node_id)
        if known is None or known.record.incarnation > incarnation:
            return []
        self._members[node_id] = replace(known, record=replace(known.record, incarnation=incarnation))
        return self._move(node_id, NodeState.LEFT, now)

    def tick(self, now: float) -> list[Change]:
        """Let silence have its effect."""
        return [change for node_id in list(self._members) for change in self._age(node_id, now)]

    def _age(self, node_id: NodeId, now: float) -> list[Change]:
        known, timing = self._members[node_id], self._timing
        silent_s = now - known.heard_s
        match known.state:
            case NodeState.LOST if known.is_announced:
                pass  # discovery would say nothing new of it when its network comes back, so keep it
            case NodeState.LOST | NodeState.LEFT if now - known.since_s >= timing.forget_after_s:
                del self._members[node_id]
                return [Change(known.record, known.state, None)]
            case NodeState.SUSPECT | NodeState.JOINED if silent_s >= timing.lost_after_s:
                return self._move(node_id, NodeState.LOST, now)
            case NodeState.ALIVE if silent_s >= timing.suspect_after_s:
                # Never straight to lost: where we ourselves stood still, replies wait to be read first.
                return self._move(node_id, NodeState.SUSPECT, now)
        return []

    def _move(self, node_id: NodeId, state: NodeState, now: float) -> list[Change]:
        known = self._members[node_id]
        if known.state is state:
            return []
        self._members[node_id] = replace(known, state=state, since_s=now)
        return [Change(known.record, known.state, state)]


def _closer(known: Member, source: Source) -> Source:
    """Keep the first-hand source: hearsay about a node that mDNS found says nothing new."""
    return known.source if source is Source.CONTACT else source
