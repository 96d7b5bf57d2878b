"""The words of the mesh as values.

Owns the names and shapes of what the mesh talks about: devices, nodes, spans, plans, settings of one
request. Must not know how any of it is sent, decided or computed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from math import floor
from typing import NewType

from mesh.errors import BadSetting

NodeId = NewType("NodeId", str)
"""32 hexadecimal digits, made once for a node and kept between its starts."""

SessionId = NewType("SessionId", str)
"""16 hexadecimal digits, drawn by the gateway."""

Digest = NewType("Digest", str)
"""sha256 of a model's file, 64 hexadecimal digits: two nodes hold the same model when these are equal."""


class DeviceClass(StrEnum):
    """What kind of thing a device is in the home."""

    PHONE = "phone"
    CAR = "car"
    TV = "tv"
    FRIDGE = "fridge"
    SPEAKER = "speaker"
    WATCH = "watch"
    LAPTOP = "laptop"
    DESKTOP = "desktop"
    HUB = "hub"


class Precision(StrEnum):
    """How a stage holds its weights and computes."""

    INT4 = "int4"
    """Weights in 4 bits by groups of 32, the tables in 8: what devices run."""
    INT8 = "int8"
    """All weights in 8 bits by groups of 32."""
    BF16 = "bf16"
    """Weights and activations in bf16."""
    F32 = "f32"
    """Everything in float32: the reference."""


class Standby(StrEnum):
    """For which spans of a deployment another node holds a warm copy, loaded in advance."""

    NONE = "none"
    AUTO = "auto"
    """For those that fit into memory which nobody needs; answers do not wait for it."""
    ALL = "all"
    """For each of them; where one has no room anywhere, the model is not served."""


class Aim(StrEnum):
    """What makes one plan better than another."""

    LATENCY = "latency"
    """The time of a token for one who asks."""
    THROUGHPUT = "throughput"
    """The number of tokens in all, while many ask."""


class Source(StrEnum):
    """How a node was found."""

    MDNS = "mdns"
    PEER = "peer"
    """Its address was given by hand."""
    CONTACT = "contact"
    """It dialled us, or a peer told us of it."""
    SELF = "self"


class NodeState(StrEnum):
    """What a roster believes of a node."""

    JOINED = "joined"
    """Sighted, not heard yet."""
    ALIVE = "alive"
    SUSPECT = "suspect"
    LOST = "lost"
    LEFT = "left"
    """Said goodbye."""


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    """The model ended it."""
    LENGTH = "length"
    """It reached max_tokens."""
    FILTERED = "filtered"
    """A server outside the mesh does not let it say more."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a node listens: a host name or IP address, and a TCP port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `HOST:PORT` or `[IPv6]:PORT`; raise BadSetting naming the text."""
        host, colon, port = text.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        unclear = ":" in host and bare == host  # an IPv6 address without brackets: where does it end?
        if not colon or not bare or unclear or not port.isdecimal() or int(port) > 65535:
            raise BadSetting(f"'{text}' is not an address; write HOST:PORT, for instance 192.168.1.20:7070")
        return cls(bare, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A run of consecutive layers, half open: [start, end)."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise BadSetting(f"[{self.start}, {self.end}) is not a span of layers")

    @property
    def num_layers(self) -> int:
        """How many layers the span has, at least 1."""
        return self.end - self.start

    def __str__(self) -> str:
        return f"[{self.start}, {self.end})"


@dataclass(frozen=True, slots=True, order=True)
class ProtocolVersion:
    """Version of the wire; nodes of one major version understand each other."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


MIN_ID_DIGITS = 4
"""Of an id's beginning, to name a node by; shorter ones would catch names that were mistyped."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What a node tells about itself that does not change while it runs."""

    node_id: NodeId
    name: str
    device_class: DeviceClass
    address: Address
    mesh: str
    """Name of the mesh that it belongs to; nodes of other meshes are not spoken to."""
    version: ProtocolVersion
    incarnation: int
    """Grows with each start of the node, so that news of an earlier life is known to be old."""

    def at(self, address: Address) -> NodeRecord:
        """Return the same node at another address."""
        return replace(self, address=address)

    def is_called(self, name: str) -> bool:
        """Whether a person may mean this node by its name, or by the first 4 or more digits of its id."""
        return self.name == name or (len(name) >= MIN_ID_DIGITS and self.node_id.startswith(name.lower()))


@dataclass(frozen=True, slots=True, order=True)
class ModelRef:
    """A model on a device's disk."""

    name: str
    digest: Digest


@dataclass(frozen=True, slots=True, order=True)
class StageKey:
    """What makes two stages the same: model, span and precision."""

    digest: Digest
    span: Span
    precision: Precision


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Names the keys and values of one session at one stage; a node may hold several stages of a session."""

    session_id: SessionId
    stage: StageKey


@dataclass(frozen=True, slots=True)
class LoadedStage:
    """A span with its weights in a node's memory."""

    key: StageKey
    weights_bytes: int
    step_s: float = 0.0
    """What a step of one row of one session takes there as a rule; 0 where none was measured."""
    is_in_use: bool = False
    """Whether sessions need it, or are about to, so that it makes no room for others now."""


_BATTERY_STEPS = 20
_MOST_STEPS = 64  # of a record of speed
_ENDLESS = 1e18  # nothing that is counted or measured here comes near

SPEED_VERSION = 1
"""Of `SpeedRecord`; grows when its figures come to mean something else."""


@dataclass(frozen=True, slots=True)
class StepSpeed:
    """What a step of one token for each of some sessions costs a device."""

    num_sessions: int
    layer_s: float
    """Seconds for one layer."""
    head_s: float
    """Seconds for the output head and the drawing of the tokens."""


@dataclass(frozen=True, slots=True)
class SpeedRecord:
    """How fast a device computes; measured on one model by `mesh.engines.probe`."""

    version: int
    engine: str
    kind: str
    """For which processor the engine's arithmetic was made."""
    num_threads: int
    model: str
    precision: Precision
    num_layers: int
    """Of the whole model, however many were measured."""
    layer_bytes: int
    """Weights of one layer."""
    steps: tuple[StepSpeed, ...]
    """By the number of sessions, growing from 1; at least one."""
    prefill_layer_row_s: float
    """Seconds a layer a row, in frames of 256 rows."""
    memory_rate_bytes_per_s: float
    """What all threads read and write together while they copy."""

    def __post_init__(self) -> None:
        _require(bool(self.steps), "a record of speed has at least one step")

    @property
    def is_sound(self) -> bool:
        """Whether all figures can be what they stand for: numbers above zero, and steps that grow."""
        figures = [self.layer_bytes, self.num_layers, self.prefill_layer_row_s, self.memory_rate_bytes_per_s]
        figures += [
            figure for step in self.steps for figure in (step.num_sessions, step.layer_s, step.head_s)
        ]
        counts = [step.num_sessions for step in self.steps]
        is_rising = all(one < other for one, other in pairwise(counts))
        return is_rising and len(counts) <= _MOST_STEPS and all(0 < figure < _ENDLESS for figure in figures)

    def step_s(self, step: StepSpeed) -> float:
        """Seconds of a step through the whole model on this device alone."""
        return self.num_layers * step.layer_s + step.head_s

    @property
    def decode_tokens_per_s(self) -> float:
        """Of one session with the whole model on this device alone."""
        return 1 / self.step_s(self.steps[0])

    @property
    def prefill_tokens_per_s(self) -> float:
        """Rows a second through all layers."""
        return 1 / (self.num_layers * self.prefill_layer_row_s)

    @property
    def weights_rate_bytes_per_s(self) -> float:
        """Bytes of weights that are read a second while one session decodes."""
        return self.layer_bytes / self.steps[0].layer_s

    @property
    def further_session_s(self) -> float:
        """Seconds that one more session adds to a step, between the fewest measured and the most."""
        first, last = self.steps[0], self.steps[-1]
        if last.num_sessions == first.num_sessions:
            return self.step_s(first)
        return (self.step_s(last) - self.step_s(first)) / (last.num_sessions - first.num_sessions)


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """What a node has measured of the way to another."""

    node_id: NodeId
    """The other one."""
    round_trip_s: float
    """Of a message of a few bytes and its answer, when nothing was in their way."""
    rate_bytes_per_s: float | None
    """At which a message of some size goes there; None until that was measured."""


@dataclass(frozen=True, slots=True)
class Condition:
    """The state of a device that decides whether it should work for others."""

    battery: float | None = None
    """Charge from 0 to 1; None for a device on mains only."""
    is_charging: bool = False
    is_hot: bool = False
    """It has to slow down, or soon will."""
    is_departing: bool = False
    """It is about to leave the house: a car whose engine was started."""
    is_metered: bool = False
    """What goes over its link costs its owner money."""
    resting_until: str | None = None
    """Until when its owner lets it rest, such as 07:00; None while it may be used."""

    @property
    def told(self) -> Condition:
        """As it is told to others, who need not hear of each percent."""
        battery = (
            None if self.battery is None else floor(self.battery * _BATTERY_STEPS + 1e-6) / _BATTERY_STEPS
        )
        return replace(self, battery=battery)


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What a node tells about itself whenever it has changed."""

    memory_bytes: int
    """What the owner lets the mesh use for weights and caches."""
    used_bytes: int
    models: tuple[ModelRef, ...] = ()
    stages: tuple[LoadedStage, ...] = ()
    num_sessions: int = 0
    spare_bytes: int = 0
    """Part of the memory that plans leave free, so that the node can stand in for one that is lost."""
    leaving: str | None = None
    """Why the node hands over what it holds and takes nothing new; None while it stays."""
    parked_bytes: int = 0
    """Of `used_bytes`: caches of sessions that are over, which make room for whoever needs it."""
    speed: SpeedRecord | None = None
    """How fast it computes; None until that was measured."""
    links: tuple[LinkRecord, ...] = ()
    """What it has measured of the ways to others, the nearest first. Of each pair only one measures."""
    condition: Condition | None = None
    """Battery, heat and the like, the battery in steps of a twentieth; None where nothing is known of it."""
    is_closed: bool = False
    """Whether it takes nothing new even where nobody else can."""


@dataclass(frozen=True, slots=True)
class Device:
    """One line of the list of devices, as one node sees it."""

    record: NodeRecord
    state: NodeState
    source: Source
    status: NodeStatus | None
    """None until the node has been heard."""
    kept_out: str | None = None
    """Why the viewer leaves the node out of new plans though it is alive; None where it does not."""


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A span on the node that is to hold it."""

    node: NodeRecord
    span: Span
    weights_bytes: int
    cache_bytes: int
    """Keys and values of one session of the plan's context."""


@dataclass(frozen=True, slots=True)
class Plan:
    """For one model: which nodes hold which spans, in order. One stage alone is a route."""

    model: ModelRef
    precision: Precision
    context: int
    """Positions that one session may have."""
    stages: tuple[PlannedStage, ...]
    standbys: tuple[PlannedStage, ...] = ()
    """Warm copies of some of the spans, on other nodes than the stages'."""

    def key(self, stage: PlannedStage) -> StageKey:
        """Name what the stage's node must have loaded."""
        return StageKey(self.model.digest, stage.span, self.precision)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn from the logits; temperature 0 takes the largest."""

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        _require(0.0 <= self.temperature < float("inf"), "temperature must be 0 or more")
        _require(self.top_k is None or self.top_k >= 1, "top_k must be 1 or more, or absent")
        _require(0.0 < self.top_p <= 1.0, "top_p must be above 0 and at most 1")
        _require(0.0 <= self.min_p <= 1.0, "min_p must be from 0 to 1")
        _require(0 <= self.seed < 2**64, "seed must be from 0 to 2^64 - 1")


class SamplingField(StrEnum):
    """What of the sampling a request may leave to the model's makers, by its name in `Sampling`."""

    TEMPERATURE = "temperature"
    TOP_K = "top_k"
    TOP_P = "top_p"
    MIN_P = "min_p"


@dataclass(frozen=True, slots=True)
class SamplingAdvice:
    """How a model's makers would have its tokens drawn; None: they say nothing of it."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def __post_init__(self) -> None:
        self.filled(Sampling(), tuple(SamplingField))  # raises for what no sampling can be

    def filled(self, sampling: Sampling, left_open: Collection[SamplingField]) -> Sampling:
        """Return the sampling with the advice put for what was left open; the rest is as it was said."""
        advised = {field.value: getattr(self, field) for field in left_open}
        return replace(sampling, **{name: value for name, value in advised.items() if value is not None})


THINK, THINK_END = "<think>", "</think>"
"""Between these a model writes what it thinks before it answers."""


class Thinking(StrEnum):
    """Whether an answer begins with what its model thinks."""

    NONE = "none"
    """All of it is the answer."""
    MAY_BEGIN = "may_begin"
    """It may begin with a block of thinking."""
    BEGUN = "begun"
    """The prompt ends within such a block."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a gateway has made of what a request leaves open; who goes on with the answer does the same."""

    sampling: Sampling
    has_empty_system: bool = False
    """Whether a system message without text was put before the conversation."""
    thinking: Thinking = Thinking.NONE


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation; role is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class TokenIds:
    """Input of stage 0."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ahead:
    """What rows follow that are of guesses only, and were sent ahead of what is verified."""

    known_to: int
    """Where the known rows end that began this: all behind that, up to these, are of guesses too."""
    verified_to: int
    """Rows before this position were verified when these were sent."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """Hidden states between two stages: [positions, hidden_size], row by row, little endian.

    bf16 where the precision is int4, float32 where it is f32.
    """

    data: bytes


Payload = TokenIds | Hidden


@dataclass(frozen=True, slots=True)
class Hop:
    """One stop of a session's way: a stage on a node."""

    node_id: NodeId
    address: Address
    key: StageKey


@dataclass(frozen=True, slots=True)
class StageShare:
    """Who held which part of the model while an answer was made."""

    node_id: NodeId
    name: str
    device_class: DeviceClass
    span: Span
    weights_bytes: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Recovery:
    """How an answer went on after a device was lost, or had handed over what it held."""

    lost: tuple[str, ...]
    """Names of the devices that the route no longer has."""
    replacement: tuple[str, ...]
    """Names of the devices that took their place, in the order of the layers."""
    detect_s: float
    """Seconds from the last token before the loss until it was noticed."""
    stall_s: float
    """Seconds from the last token before the loss to the first one after it."""
    replayed_positions: int
    """Positions that replacements were sent again."""
    recomputed_layers: int
    """Layers that stages which lived had to compute again."""


class Drafting(StrEnum):
    """How tokens are guessed before they are made, so that several are made at once."""

    AUTO = "auto"
    """In all ways that there are for the model."""
    NONE = "none"
    LOOKUP = "lookup"
    """By where the text stood before in the same conversation."""
    MTP = "mtp"
    """By the model's own layer for multi-token prediction."""
    MODEL = "model"
    """By a small model of the same vocabulary on the gateway's device."""

    @classmethod
    def parse(cls, text: str) -> Drafting:
        """Read one; raise BadSetting that names the text and the valid words."""
        try:
            return cls(text)
        except ValueError:
            raise BadSetting(f"'{text}' is no way to guess; say one of: {', '.join(cls)}") from None


@dataclass(frozen=True, slots=True)
class Drafted:
    """What one drafter guessed in one answer."""

    drafter: str
    num_drafted: int
    """Tokens that were sent to be verified."""
    num_right: int


@dataclass(frozen=True, slots=True)
class Guesses:
    """What was guessed in one answer."""

    num_traversals: int
    """Times that tokens of the last stage were waited for; what was sent ahead comes without waiting anew."""
    drafted: tuple[Drafted, ...] = ()
    """By who guessed."""

    @property
    def num_drafted(self) -> int:
        """Tokens that were guessed and sent."""
        return sum(drafted.num_drafted for drafted in self.drafted)

    @property
    def num_right(self) -> int:
        """Of these, that were right: each saved a traversal of the stages."""
        return sum(drafted.num_right for drafted in self.drafted)

    @property
    def accept_length(self) -> float:
        """Tokens that a traversal brought on average; 0 without any."""
        return 1 + self.num_right / self.num_traversals if self.num_traversals else 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known when an answer has ended."""

    model: str
    reason: FinishReason
    tokens: tuple[int, ...]
    """Ids of the answer, without the one that ended it."""
    num_prompt_tokens: int
    seed: int
    ttft_s: float
    """Seconds from the gateway's receipt of the request to the first token."""
    tokens_per_s: float
    """Rate between the first token and the last; 0 where there was only one."""
    stages: tuple[StageShare, ...] = field(default=())
    """Of the route by which the last token came."""
    recoveries: tuple[Recovery, ...] = ()
    reused_positions: int = 0
    """Positions of the prompt that no stage had to compute: another session had begun in the same way."""
    guesses: Guesses | None = None
    """None where nothing was to be guessed."""
    sampling: Sampling | None = None
    """How the tokens were drawn; None where a gateway of an older version answered."""


def _require(held: bool, message: str) -> None:
    if not held:
        raise BadSetting(message)
