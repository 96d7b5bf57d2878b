"""What nodes and clients say to each other, as values.

Owns the meaning of every message; `mesh.wire` turns them into bytes and back. Must not know channels.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh.decision import Decision, Privacy
from mesh.errors import MeshError, StageLost, from_code, retry_after_s
from mesh.types import (
    Address,
    Ahead,
    ChatMessage,
    Device,
    Drafting,
    Hop,
    NodeId,
    NodeRecord,
    NodeStatus,
    Payload,
    Plan,
    ProtocolVersion,
    Recovery,
    Sampling,
    SamplingField,
    SessionId,
    Settled,
    StageKey,
    Summary,
    Thinking,
)

_UNKNOWN = NodeId("")

PROTOCOL = ProtocolVersion(1, 1)
"""The wire's version. The major number rises when an older node could misunderstand a newer one."""

GUESSES_SINCE = ProtocolVersion(1, 1)
"""A stage of an older version would take the rows of guessed tokens for those of known ones."""


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
    next_s: float | None = None
    """The next one comes within so many seconds, in whole milliseconds; None: after the usual interval."""


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """The answer to a client's heartbeat."""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The sender leaves on purpose."""


@dataclass(frozen=True, slots=True)
class Echo:
    """A node asks another how long the way to it is; answered at once by an EchoReply."""

    number: int
    """Of the question, on this link."""
    padding_bytes: int = 0
    """So much of the message means nothing, and is there to take its time."""


@dataclass(frozen=True, slots=True)
class EchoReply:
    """The answer to an Echo."""

    number: int
    """The question's."""


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
    row_s: float = 0.0
    """What one row of a prompt takes there as a rule; 0 where none was measured."""


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """The request with this id came to nothing."""

    request_id: int
    code: str
    message: str
    retry_after_s: float | None = None
    """When to try again, where somebody was full."""

    @classmethod
    def of(cls, request_id: int, error: MeshError) -> RequestFailed:
        """Put an error into a message."""
        return cls(request_id, error.code, str(error), retry_after_s(error))

    @property
    def error(self) -> MeshError:
        """The failure as an error to raise."""
        return from_code(self.code, self.message, self.retry_after_s)


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
    known: int = 0
    """Positions of the prompt and of the tokens that the gateway has. Stages may be beyond it, where another
    gateway had more of them: then those tokens are told again, one by one."""
    gateway_id: NodeId = _UNKNOWN
    """Who the gateway is: devices may know it at different addresses."""
    source: SessionId | None = None
    """Another session, over or not, whose first positions are those of this one too. A stage that has its
    cache begins with them, and every stage says with Resume where it ends, as in later epochs."""
    shared: int = 0
    """How many positions the two have in common."""
    newest: tuple[int, ...] = ()
    """The last of the known tokens, where some were guessed and the route is opened anew: by them a stage
    sees which of the guesses that it computed were right, though nobody came to tell it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Positions [start, start + rows) of a session, for one stage to compute."""

    session_id: SessionId
    epoch: int
    index: int
    """Place of the receiver in the route: a node may hold several stages of a session."""
    start: int
    payload: Payload
    sample: bool
    drafts: tuple[int, ...] = ()
    """Tokens that are only guessed: the last rows are theirs, and a token is drawn after the row before them
    and after each of theirs that was guessed right."""
    tokens: tuple[int, ...] = ()
    """Those of all rows, where the last stage is to guess by them."""
    num_wanted: int = 0
    """Tokens that the last stage is to guess behind those that it draws, if it can."""
    ahead: Ahead | None = None
    """Where all rows are of guesses: what they follow."""

    @property
    def is_ahead(self) -> bool:
        """Whether it follows a frame that nobody has verified: void unless its first token is drawn there."""
        return self.ahead is not None


@dataclass(frozen=True, slots=True)
class Token:
    """The token at a position, drawn by the last stage; sent straight to the gateway."""

    session_id: SessionId
    epoch: int
    position: int
    token: int
    more: tuple[int, ...] = ()
    """Those at the positions behind it, where tokens were guessed right."""
    guessed: tuple[int, ...] = ()
    """What may follow all of them; nobody has verified it."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """All of them."""
        return (self.token, *self.more)


@dataclass(frozen=True, slots=True)
class Resume:
    """A stage's cache ends at `position`: whoever comes before it sends on from there.

    Said when a session was opened anew, epoch 1 and later, or with a source; or when a stage cannot send what
    the next one lacks and must compute it again. To the hop before, and to the gateway, which keeps the
    account.
    """

    session_id: SessionId
    epoch: int
    index: int
    """Place of the sender in the route."""
    position: int
    had: int
    """Where its cache ended before: larger than `position` where it computes something again."""


@dataclass(frozen=True, slots=True)
class ProgressRequest:
    """A gateway asks a stage how far it is; answered at once, even while it computes."""

    session_id: SessionId
    epoch: int
    index: int
    """Place of the receiver in the route."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a session is at one stage."""

    session_id: SessionId
    epoch: int
    index: int
    position: int
    """Where its cache ends; 0 where the session has not been opened there."""
    working_s: float
    """How long it has been at the batch that it computes, of whatever sessions; 0 while it is at none."""
    usual_s: float
    """How long such a batch takes there as a rule; 0 where none was measured."""
    num_waiting: int = 0
    """Frames of the session that wait there for their turn."""


@dataclass(frozen=True, slots=True)
class SessionFailed:
    """A session cannot go on at some stage; sent straight to the gateway."""

    session_id: SessionId
    epoch: int
    node_id: NodeId
    """Who saw the failure."""
    code: str
    message: str
    lost: NodeId | None = None
    """The node that went away, where that is what was seen."""
    retry_after_s: float | None = None
    """When to try again, where the node was full."""

    @property
    def error(self) -> MeshError:
        """The failure as an error to raise."""
        error = from_code(self.code, self.message, self.retry_after_s)
        if isinstance(error, StageLost):
            error.lost = self.lost
        return error


@dataclass(frozen=True, slots=True)
class CloseSession:
    """Free what a session holds at each stage."""

    session_id: SessionId
    epoch: int
    is_parked: bool = False
    """The caches of that very epoch may stay while nobody needs the room: another session may begin as this
    one did."""


@dataclass(frozen=True, slots=True)
class Started:
    """What a client knows of an answer that another gateway began; all that it takes to go on with it."""

    session_id: SessionId
    epoch: int
    plan: Plan
    tokens: tuple[int, ...]
    """Those of the pieces that came."""
    thinking: Thinking = Thinking.NONE
    """As the first gateway has told the thinking from the answer."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A client asks for an answer: Decided, Routed and Piece, ..., then ChatFinished or RequestFailed."""

    request_id: int
    model: str | None
    """None: the gateway's first, or the best for a skill that is named; `auto`: the best."""
    messages: tuple[ChatMessage, ...]
    max_tokens: int
    sampling: Sampling
    deadline_s: float | None
    started: Started | None = None
    """The answer is to go on where another gateway was lost; pieces are only of what follows."""
    privacy: Privacy = Privacy.MESH
    """How far it may go."""
    skill: str | None = None
    """What the model is to be good at, where none is named; see `mesh.card.Skill`."""
    drafting: Drafting | None = None
    """How tokens are guessed; None: as the gateway has it."""
    left_open: tuple[SamplingField, ...] = ()
    """Of the sampling, what nobody has said: there the advice of the model's makers counts, where they give
    any. Nothing is left open of an answer that goes on."""


@dataclass(frozen=True, slots=True)
class Decided:
    """How the request is answered, and why.

    Told before the first piece, and again where that way fails before it.
    """

    request_id: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class Routed:
    """The way that an answer takes from its next piece on: at its beginning, and after each recovery."""

    request_id: int
    session_id: SessionId
    epoch: int
    plan: Plan
    gateways: tuple[NodeRecord, ...]
    """Other nodes that a client may turn to should this gateway be lost."""
    recovery: Recovery | None = None
    """What led to this way; None at the beginning."""
    settled: Settled | None = None
    """What became of what the request left open; None where it is taken as it stands."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of an answer as it comes; the tokens that made it, maybe none or several."""

    request_id: int
    text: str
    tokens: tuple[int, ...]
    reasoning: str = ""
    """What the model thinks before it answers, and no part of the answer; it comes before the text.

    A field of its own, because a client of an older version shows whatever is in `text`.
    """


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
    """How would this request be answered now?"""

    request_id: int
    model: str | None
    context: int | None
    """Positions to make room for; None: those of the prompt and the answer."""
    messages: tuple[ChatMessage, ...] = ()
    """The prompt; none: nothing is said yet."""
    max_tokens: int = 0
    privacy: Privacy = Privacy.MESH
    skill: str | None = None


@dataclass(frozen=True, slots=True)
class PlanReply:
    """The decision, and the best plan of the mesh; None where it has none."""

    request_id: int
    plan: Plan | None
    decision: Decision


@dataclass(frozen=True, slots=True)
class DrainRequest:
    """Have this node hand over what it holds and take nothing new, or take that back."""

    request_id: int
    is_forced: bool
    """Even where nobody can take over, so that answers end."""
    is_over: bool = False
    """The node stays after all."""


@dataclass(frozen=True, slots=True)
class DrainReply:
    """The node holds no session any more, or takes part again."""

    request_id: int


ClientRequest = ChatRequest | CancelRequest | DevicesRequest | PlanRequest | DrainRequest
ClientReply = Decided | Routed | Piece | ChatFinished | DevicesReply | PlanReply | DrainReply | RequestFailed

Message = (
    Hello
    | Refusal
    | Heartbeat
    | HeartbeatReply
    | Goodbye
    | Echo
    | EchoReply
    | LoadStage
    | StageLoaded
    | OpenSession
    | Frame
    | Token
    | Resume
    | ProgressRequest
    | Progress
    | SessionFailed
    | CloseSession
    | ClientRequest
    | ClientReply
)
