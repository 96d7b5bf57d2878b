"""What a gateway's drivers are given to do, what they work with, and what they are told.

Owns these values and nothing that is done with them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mesh.config import Planning, Timing
from mesh.errors import MeshError, StageLost
from mesh.logic.capacity import Demand
from mesh.logic.prefixes import Reuse
from mesh.logic.session import Session
from mesh.messages import Progress, Resume, SessionFailed, Token
from mesh.roles.deployer import Deployer
from mesh.roles.draft_model import DraftModel
from mesh.roles.peers import Peers
from mesh.roles.place import Attention
from mesh.roles.survey import Survey
from mesh.types import Address, FinishReason, Guesses, NodeId, NodeRecord, Plan, Recovery, Sampling


@dataclass(frozen=True, slots=True)
class Order:
    """One answer to make."""

    session: Session
    demand: Demand
    plan: Plan
    sampling: Sampling
    show: Callable[[int], Awaitable[None]]
    """Takes each token of the answer as it comes."""
    due_s: Callable[[], float]
    """When what was shown is to be flushed, by the loop's clock."""
    flush: Callable[[], Awaitable[None]]
    routed: Callable[[int, Plan, Recovery | None], Awaitable[None]]
    """Told of each route by its epoch and plan: of the first at once, of others with their first token."""
    until_s: float | None = None
    """When the client's patience ends, by the loop's clock."""
    taken_over: Plan | None = None
    """The route that the session has had at another gateway; its stages may still hold it."""
    reuse: Reuse | None = None
    """The session that this one begins like; its plan is then that one's."""
    only: NodeId | None = None
    """The one node that may have anything of it; None: all may."""
    draft: DraftModel | None = None
    """A small model that guesses for it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an answer ended, and when its tokens came (seconds of the loop's clock)."""

    reason: FinishReason
    plan: Plan
    """The route by which the last token came."""
    num_drawn: int
    """Tokens that came, with the one that ended the answer."""
    first_s: float
    last_s: float
    recoveries: tuple[Recovery, ...] = ()
    reused_positions: int = 0
    """Of the prompt, that no stage had to compute."""
    guesses: Guesses | None = None
    """None where nothing was to be guessed."""

    @property
    def tokens_per_s(self) -> float:
        """Rate from the first token to the last; 0 where only one came."""
        elapsed_s = self.last_s - self.first_s
        return (self.num_drawn - 1) / elapsed_s if elapsed_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Means:
    """What drivers work with."""

    own: NodeRecord
    peers: Peers
    survey: Survey
    deployer: Deployer
    attention: Attention
    timing: Timing
    planning: Planning


@dataclass(frozen=True, slots=True)
class NodeGone:
    """Nothing can be expected of a node in this life any more."""

    node_id: NodeId
    incarnation: int
    error: StageLost


@dataclass(frozen=True, slots=True)
class NodeLeaving:
    """A node asks that others take over what it holds."""

    node_id: NodeId


@dataclass(frozen=True, slots=True)
class LinkBroken:
    """The link to an address broke, or could not be opened."""

    address: Address
    error: MeshError
    epoch: int
    """Of the route that there was then: a new one may have a new link already."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Another route is loaded, to take over from the one of an epoch."""

    epoch: int
    plan: Plan
    leaving: NodeId


@dataclass(frozen=True, slots=True)
class TooSlow:
    """A stage of the route takes what it is sent and does not get on with it."""

    index: int


Trouble = SessionFailed | NodeGone | LinkBroken | TooSlow
Heard = Token | Resume | NodeLeaving | Prepared | Trouble
"""What a driver has to take up."""
News = Heard | Progress
"""What a driver is told."""
