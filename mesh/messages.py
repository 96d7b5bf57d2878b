"""What nodes and clients say to each other, as values.

Owns the meaning of every message; `mesh.wire` turns them into bytes and back. Must not know channels.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh.errors import MeshError, from_code
from mesh.types import (
    Address,
    ChatMessage,
    Device,
    Hop,
    NodeId,
    NodeRecord,
    NodeStatus,
    Payload,
    Plan,
    ProtocolVersion,
    Sampling,
    SessionId,
    StageKey,
    Summary,
)

PROTOCOL = ProtocolVersion(1, 0)
"""The wire's version. The major number rises when an older node could misunderstand a newer one."""


@dataclass(frozen=True, slots=True)
class Hello:
    """First message in each direction of a channel."""

    version: ProtocolVersion
    mesh: str
    node: NodeRecord | None
    """None: a client, not a node."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Instead of a Hello; the channel closes after it."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The sender lives; with it what is new since its last one on this link.

    Nodes send it unasked and it is not answered. From a client it is a question: does the gateway live?
    """

    status: NodeStatus | None = None
    """None: as it was. The first heartbeat on a link has one."""
    neighbours: tuple[NodeRecord, ...] = ()
    """Nodes that the sender now believes alive and has not told of on this link yet, so that one address
    leads to the whole mesh."""


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """The answer to a client's heartbeat."""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The sender leaves on purpose."""


@dataclass(frozen=True, slots=True)
class LoadStage:
    """Have a worker hold a span; answered by StageLoaded or RequestFailed."""

    request_id: int
    key: StageKey


@dataclass(frozen=True, slots=True)
class StageLoaded:
    """The span is in memory."""

    request_id: int
    weights_bytes: int


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """The request with this id came to nothing."""

    request_id: int
    code: str
    message: str

    @property
    def error(self) -> MeshError:
        """The failure as an error to raise."""
        return from_code(self.code, self.message)


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Allot a session at each stage of its route; passed on from stage to stage."""

    session_id: SessionId
    epoch: int
    route: tuple[Hop, ...]
    index: int
    """Place of the receiver in the route."""
    gateway: Address
    """Where tokens and failures go."""
    context: int
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Frame:
    """Positions [start, start + rows) of a session, for one stage to compute."""

    session_id: SessionId
    epoch: int
    start: int
    payload: Payload
    sample: bool


@dataclass(frozen=True, slots=True)
class Token:
    """The token at a position, drawn by the last stage; sent straight to the gateway."""

    session_id: SessionId
    epoch: int
    position: int
    token: int


@dataclass(frozen=True, slots=True)
class SessionFailed:
    """A session cannot go on at some stage; sent straight to the gateway."""

    session_id: SessionId
    epoch: int
    node_id: NodeId
    code: str
    message: str

    @property
    def error(self) -> MeshError:
        """The failure as an error to raise."""
        return from_code(self.code, self.message)


@dataclass(frozen=True, slots=True)
class CloseSession:
    """Free what a session holds at each stage; passed on from stage to stage."""

    session_id: SessionId
    epoch: int


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A client asks for an answer: Piece, Piece, ..., then ChatFinished or RequestFailed."""

    request_id: int
    model: str | None
    messages: tuple[ChatMessage, ...]
    max_tokens: int
    sampling: Sampling
    deadline_s: float | None


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of an answer as it comes; the tokens that made it, maybe none or several."""

    request_id: int
    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChatFinished:
    """An answer is complete."""

    request_id: int
    summary: Summary


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """The client wants no more of an answer."""

    request_id: int


@dataclass(frozen=True, slots=True)
class DevicesRequest:
    """Who is in the mesh, as the gateway sees it?"""

    request_id: int


@dataclass(frozen=True, slots=True)
class DevicesReply:
    """The devices, by name."""

    request_id: int
    devices: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """How would the mesh place this model now?"""

    request_id: int
    model: str | None
    context: int | None


@dataclass(frozen=True, slots=True)
class PlanReply:
    """The plan that a chat of that context would use."""

    request_id: int
    plan: Plan


ClientRequest = ChatRequest | CancelRequest | DevicesRequest | PlanRequest
ClientReply = Piece | ChatFinished | DevicesReply | PlanReply | RequestFailed

Message = (
    Hello
    | Refusal
    | Heartbeat
    | HeartbeatReply
    | Goodbye
    | LoadStage
    | StageLoaded
    | OpenSession
    | Frame
    | Token
    | SessionFailed
    | CloseSession
    | ClientRequest
    | ClientReply
)
