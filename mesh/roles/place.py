"""One session at one stage, and what the sessions of a node have in common.

Owns these values, and nothing that is done with them; that is `mesh.roles.places`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from mesh.config import Timing
from mesh.errors import MeshError, StageLost
from mesh.link import Link
from mesh.logic.memory import MemoryLedger
from mesh.logic.relay import Relay
from mesh.messages import OpenSession
from mesh.ports import Compute, Library
from mesh.roles.computing import Computing
from mesh.roles.peers import Peers
from mesh.types import CacheKey, Hidden, Hop, NodeId, Payload, SessionId, TokenIds


class Attention(Protocol):
    """Who looks closely after the nodes with which a session is shared."""

    def attend(self, key: Hashable, nodes: Iterable[NodeId]) -> None:
        """Notice within a second when one of these falls silent, and be noticed by them."""

    def neglect(self, key: Hashable) -> None:
        """That is not needed any more."""

    def speak_now(self) -> None:
        """Tell everybody at once what this node holds: others plan by it."""


@dataclass(slots=True, eq=False)
class Place:
    """One session at one stage."""

    opening: OpenSession
    upstream: Link
    row_bytes: int
    """Of one position's hidden state."""
    relay: Relay = field(default_factory=Relay)
    drawn: dict[int, int] = field(default_factory=dict)
    """Tokens that the last stage has told the gateway, by position, in that order."""
    orphaned_s: float | None = None
    """Since when nobody is known who drives it."""
    is_abandoned: bool = False
    """Whether its gateway is gone."""
    heard_s: float = 0.0
    """When something last came for it."""
    opened_s: float = 0.0
    """Since when it exists."""

    @property
    def hop(self) -> Hop:
        """Where it is in the route."""
        return self.opening.route[self.opening.index]

    @property
    def cache(self) -> CacheKey:
        """What its keys and values are named by."""
        return CacheKey(self.opening.session_id, self.hop.key)

    @property
    def next_hop(self) -> Hop | None:
        """Where its rows go; None at the last stage."""
        following = self.opening.index + 1
        return self.opening.route[following] if following < len(self.opening.route) else None

    @property
    def upstream_id(self) -> NodeId | None:
        """The node that its frames come from; None where that said none."""
        return self.upstream.node.node_id if self.upstream.node else None

    @property
    def source(self) -> CacheKey | None:
        """The cache of another session that its own may begin with."""
        return CacheKey(self.opening.source, self.hop.key) if self.opening.source else None

    def num_rows(self, payload: Payload) -> int:
        """How many positions a payload has."""
        match payload:
            case TokenIds(ids):
                return len(ids)
            case Hidden(data):
                return len(data) // self.row_bytes

    def taken_back_to(self, start: int) -> None:
        """A frame starts there: tokens that followed from what it replaces are void."""
        while self.drawn and next(reversed(self.drawn)) > start:
            self.drawn.popitem()

    def is_at(self, session_id: SessionId, epoch: int, index: int) -> bool:
        """Whether it has that place in the route of that epoch."""
        opening = self.opening
        return (opening.session_id, opening.epoch, opening.index) == (session_id, epoch, index)


@dataclass(frozen=True, slots=True)
class Means:
    """What the places of a node work with."""

    node_id: NodeId
    compute: Compute
    computing: Computing
    library: Library
    peers: Peers
    ledger: MemoryLedger
    attention: Attention
    timing: Timing


def lost_hop(hop: Hop, error: MeshError) -> StageLost:
    """What is reported where a hop went away."""
    text = f"the device at {hop.address} with layers {hop.key.span} went away ({error}); ask again"
    return StageLost(text, hop.node_id)
