"""The seams between the mesh and the world: what roles may ask for, and nothing else.

Each port has a real implementation in `mesh.adapters` or `mesh.store` and a simulated one in
`simulator`; one contract suite runs on both. The event loop is the clock and needs no port.
Deadlines are the caller's: use `asyncio.timeout` around a call.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mesh.card import ModelCard
from mesh.config import MAX_MESSAGE_BYTES
from mesh.errors import MalformedMessage, MeshError
from mesh.spec import ModelSpec
from mesh.types import (
    Address,
    CacheKey,
    ChatMessage,
    Condition,
    Digest,
    Hidden,
    ModelRef,
    NodeId,
    NodeRecord,
    Payload,
    Sampling,
    SamplingAdvice,
    SpeedRecord,
    StageKey,
)
from mesh.upstream import UpstreamCard, UpstreamPiece, UpstreamQuestion


class Channel(Protocol):
    """An ordered, reliable path of whole messages to one peer."""

    async def send(self, message: bytes) -> None:
        """Hand over one message; waits while the peer is slower than we are.

        Messages arrive whole and in order of the calls. Raises ChannelClosed once the channel is closed
        or broken, MalformedMessage for one above MAX_MESSAGE_BYTES. That a send returned does not mean
        that the message arrived. Cancelled before it returns, the channel must be closed.
        """

    async def receive(self) -> bytes:
        """Return the next message; raise ChannelClosed when the peer has closed or the path broke.

        Messages that the peer sent before it closed are all delivered first. Cancelled, it loses nothing:
        the next call returns what this one would have.
        """

    async def close(self) -> None:
        """Stop both directions and free what the channel holds; never raises, and may be called twice."""


def check_message_size(message: bytes) -> None:
    """Raise MalformedMessage for a message that no peer would take; Channels call it to send."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"a message of {len(message)} bytes is above the {MAX_MESSAGE_BYTES} allowed")


class Listener(Protocol):
    """A place where peers can dial."""

    @property
    def address(self) -> Address:
        """Where it listens, with the real port if 0 was asked for."""

    async def accept(self) -> Channel:
        """Return the next channel that a peer opened; raise ChannelClosed once the listener is closed."""

    async def close(self) -> None:
        """Stop listening and break the channels that it accepted; never raises, may be called twice."""


class Transport(Protocol):
    """Carries messages between nodes."""

    async def listen(self, address: Address) -> Listener:
        """Start listening; raise AddressInUse, or BadSetting for an address that is not this machine's."""

    async def dial(self, address: Address) -> Channel:
        """Open a channel; raise PeerUnreachable, or NotAMesh when something else answers there."""


@dataclass(frozen=True, slots=True)
class Appeared:
    """A node is announced at an address, for the first time or with changes."""

    record: NodeRecord


@dataclass(frozen=True, slots=True)
class Vanished:
    """A node's announcement was withdrawn, or ran out."""

    node_id: NodeId


Sighting = Appeared | Vanished


class Discovery(Protocol):
    """Lets nodes of one local network find each other."""

    async def announce(self, record: NodeRecord) -> None:
        """Make the node known, or replace what was announced of it before."""

    async def withdraw(self) -> None:
        """Say goodbye for what was announced; does nothing when nothing was."""

    def watch(self) -> AsyncGenerator[Sighting]:
        """Yield every node announced now and every change from now on, our own included.

        Records that cannot be read are left out. The same record is not repeated without a change.
        """

    async def close(self) -> None:
        """Withdraw and free the network; ends every watch; never raises, may be called twice."""


@dataclass(frozen=True, slots=True)
class Step:
    """One frame for a stage to compute."""

    cache: CacheKey
    start: int
    """Position of the payload's first row; the cache is cut back to it before."""
    payload: Payload
    sample: bool
    """Whether the last stage draws the token that follows the last row."""
    drafts: tuple[int, ...] = ()
    """Guessed tokens, whose rows are the last ones, fewer than all.

    The last stage draws a token after the row before them and, as long as it is the one that was guessed,
    after each of theirs.
    """
    tokens: tuple[int, ...] = ()
    """Those of the rows, for the last stage to guess by; empty where it need not."""
    num_wanted: int = 0
    """Tokens that the last stage is to guess behind those that it draws, if it can."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """The token at a position, drawn by the last stage."""

    position: int
    token: int
    more: tuple[int, ...] = ()
    """Those at the positions behind it, where drafts were right."""
    guessed: tuple[int, ...] = ()
    """What may follow them; nobody has verified it."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The beginning of another session's cache on the same stage, to begin a new one with."""

    source: CacheKey
    positions: int
    """How many of its first positions are wanted, at least 1."""


StepResult = Hidden | Sampled | None | MeshError
"""What came of one frame: hidden states, or at the last stage the token (None where none was asked for), or
what was wrong with it."""


class Compute(Protocol):
    """Holds stages and runs frames through them. Calls for one cache are made one after the other."""

    async def load(self, key: StageKey) -> int:
        """Bring a span's weights into memory and return their bytes; does nothing if they are there.

        Raises ModelNotPulled, ModelCorrupt or UnsupportedModel.
        """

    async def unload(self, key: StageKey) -> None:
        """Free a span's weights; its caches must be closed before."""

    async def open(
        self, cache: CacheKey, context: int, sampling: Sampling, prefix: Prefix | None = None
    ) -> int:
        """Allot a cache of `context` positions for a session on a loaded stage; return where it ends now.

        With a prefix the first positions of that cache are copied, as many of them as are wanted, are there
        and fit; 0 where the source is not there. The source stays as it is and may be closed at once after.
        Raises StageNotLoaded.
        """

    async def run(self, steps: Sequence[Step]) -> list[StepResult]:
        """Run frames of different caches of one stage as one batch; return their results in their order.

        A frame's result has the same bits whatever else is in the batch. What is wrong with one frame is its
        result and harms no other, nor its own cache: UnknownSession, PositionGap (names both positions),
        ShapeMismatch or ContextExceeded. Raises only what concerns all. Cancelled, or raising, it leaves
        each cache so that the same frame may be run again.
        """

    async def close(self, cache: CacheKey) -> None:
        """Free a session's cache; does nothing if it is not there."""


class Conditions(Protocol):
    """What the device knows of its own state: battery, heat, link, whether it is to leave or to rest."""

    def watch(self) -> AsyncGenerator[Condition]:
        """Yield the state now and then each change that may matter, without end; never raises."""


class Speedometer(Protocol):
    """Measures how fast this device computes, and remembers it."""

    async def kept(self) -> SpeedRecord | None:
        """What was measured before with the same engine and processor; None where nothing was."""

    async def measure(self) -> SpeedRecord:
        """Measure for about two seconds, in which the device is busy, and remember it.

        Raises a MeshError where that cannot be. Cancelled, it stops at once.
        """


class Pieces(Protocol):
    """Turns one answer's tokens into text as they come; never emits half a character."""

    def push(self, token: int) -> str:
        """Take the next token and return the text that is now complete, maybe none."""

    def finish(self) -> str:
        """Return what is left; bytes that are no character become U+FFFD."""


class TextCodec(Protocol):
    """A model's tokenizer and chat template."""

    @property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""

    def encode_chat(self, messages: Sequence[ChatMessage]) -> tuple[int, ...]:
        """Render a conversation by the model's template, ready for the assistant's turn, as tokens.

        Control tokens spelled out inside a message stay plain text.
        """

    def pieces(self) -> Pieces:
        """Start decoding one answer; of a model that thinks, with the tags around its thinking."""

    @property
    def vocabulary(self) -> str:
        """A digest of its tokens: models of one vocabulary have the same."""

    @property
    def thinks(self) -> bool:
        """Whether the model's template or vocabulary has the tags of thinking."""

    def opens_thinking(self, prompt: Sequence[int]) -> bool:
        """Whether a rendered conversation ends with the opening tag, so that the answer begins behind it."""

    @property
    def advice(self) -> SamplingAdvice | None:
        """What the model's files recommend of sampling; None where they do not."""


class Library(Protocol):
    """The models on this device's disk."""

    def models(self) -> Iterable[ModelRef]:
        """The models that are whole and ready to load, by name."""

    async def spec(self, model: str) -> ModelSpec:
        """A model's shape; raise UnknownModel, ModelNotPulled, ModelCorrupt or UnsupportedModel."""

    async def spec_of(self, digest: Digest) -> ModelSpec:
        """The shape of the model with these bytes; raise ModelNotPulled where it is not here."""

    async def card(self, model: str) -> ModelCard | None:
        """What is known of a model by that name, here or not; None where nothing is.

        Raises BadSetting for a card beside the model that cannot be read.
        """

    async def codec(self, model: str) -> TextCodec:
        """A model's tokenizer and template; raises as `spec` does."""

    async def encode_chat(self, model: str, messages: Sequence[ChatMessage]) -> tuple[int, ...]:
        """TextCodec.encode_chat without keeping the loop from its work, however long the text."""


class Upstream(Protocol):
    """A server outside the mesh that answers as OpenAI's does."""

    @property
    def card(self) -> UpstreamCard:
        """What others may know of it."""

    def chat(self, question: UpstreamQuestion) -> AsyncGenerator[UpstreamPiece]:
        """Ask, and yield the answer as it comes; its last piece, and no other, is an UpstreamEnd.

        Nothing is asked before the first piece is. Closed (use `contextlib.aclosing`) or cancelled, it closes
        the connection, so that the server may stop. Without an UpstreamEnd the answer is not complete, and
        one of these was raised: UnknownModel for a model that is not on the card, UpstreamUnreachable (both
        before anything was sent), UpstreamRefused, which says by `concern` whether the next question may be
        taken, UpstreamBusy, UpstreamBroken. No error shows the key.
        """

    async def models(self) -> tuple[str, ...]:
        """The models that it says it has, by its own names, in its order; raises as `chat` does."""

    async def is_reachable(self) -> bool:
        """Whether it answers at all now, be it with a refusal; never raises."""

    async def close(self) -> None:
        """Free what it holds; call it when no answer is under way. It is not reachable afterwards.

        Never raises, and may be called twice.
        """
