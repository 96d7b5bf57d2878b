from mesh.wire import node_pb2 as _node_pb2
from mesh.wire import session_pb2 as _session_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChatMessage(_message.Message):
    __slots__ = ("role", "content")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    role: str
    content: str
    def __init__(self, role: _Optional[str] = ..., content: _Optional[str] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("session_id", "epoch", "plan", "tokens", "thinking")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    THINKING_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    epoch: int
    plan: Plan
    tokens: _containers.RepeatedScalarFieldContainer[int]
    thinking: str
    def __init__(self, session_id: _Optional[str] = ..., epoch: _Optional[int] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ..., tokens: _Optional[_Iterable[int]] = ..., thinking: _Optional[str] = ...) -> None: ...

class ChatRequest(_message.Message):
    __slots__ = ("request_id", "model", "messages", "max_tokens", "sampling", "deadline_s", "started", "privacy", "skill", "drafting", "left_open")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_S_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    SKILL_FIELD_NUMBER: _ClassVar[int]
    DRAFTING_FIELD_NUMBER: _ClassVar[int]
    LEFT_OPEN_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    model: str
    messages: _containers.RepeatedCompositeFieldContainer[ChatMessage]
    max_tokens: int
    sampling: _session_pb2.Sampling
    deadline_s: float
    started: Started
    privacy: str
    skill: str
    drafting: str
    left_open: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, request_id: _Optional[int] = ..., model: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[ChatMessage, _Mapping]]] = ..., max_tokens: _Optional[int] = ..., sampling: _Optional[_Union[_session_pb2.Sampling, _Mapping]] = ..., deadline_s: _Optional[float] = ..., started: _Optional[_Union[Started, _Mapping]] = ..., privacy: _Optional[str] = ..., skill: _Optional[str] = ..., drafting: _Optional[str] = ..., left_open: _Optional[_Iterable[str]] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("load_s", "prefill_s", "token_s", "num_tokens", "energy_j", "battery_j")
    LOAD_S_FIELD_NUMBER: _ClassVar[int]
    PREFILL_S_FIELD_NUMBER: _ClassVar[int]
    TOKEN_S_FIELD_NUMBER: _ClassVar[int]
    NUM_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ENERGY_J_FIELD_NUMBER: _ClassVar[int]
    BATTERY_J_FIELD_NUMBER: _ClassVar[int]
    load_s: float
    prefill_s: float
    token_s: float
    num_tokens: int
    energy_j: float
    battery_j: float
    def __init__(self, load_s: _Optional[float] = ..., prefill_s: _Optional[float] = ..., token_s: _Optional[float] = ..., num_tokens: _Optional[int] = ..., energy_j: _Optional[float] = ..., battery_j: _Optional[float] = ...) -> None: ...

class OptionShare(_message.Message):
    __slots__ = ("name", "span")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPAN_FIELD_NUMBER: _ClassVar[int]
    name: str
    span: _node_pb2.Span
    def __init__(self, name: _Optional[str] = ..., span: _Optional[_Union[_node_pb2.Span, _Mapping]] = ...) -> None: ...

class Option(_message.Message):
    __slots__ = ("kind", "model", "shares", "upstream", "prediction", "excluded", "waits_for")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_FIELD_NUMBER: _ClassVar[int]
    WAITS_FOR_FIELD_NUMBER: _ClassVar[int]
    kind: str
    model: str
    shares: _containers.RepeatedCompositeFieldContainer[OptionShare]
    upstream: str
    prediction: Prediction
    excluded: str
    waits_for: str
    def __init__(self, kind: _Optional[str] = ..., model: _Optional[str] = ..., shares: _Optional[_Iterable[_Union[OptionShare, _Mapping]]] = ..., upstream: _Optional[str] = ..., prediction: _Optional[_Union[Prediction, _Mapping]] = ..., excluded: _Optional[str] = ..., waits_for: _Optional[str] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("model", "privacy", "num_prompt", "options", "reason", "notes")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    NUM_PROMPT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    model: str
    privacy: str
    num_prompt: int
    options: _containers.RepeatedCompositeFieldContainer[Option]
    reason: str
    notes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., privacy: _Optional[str] = ..., num_prompt: _Optional[int] = ..., options: _Optional[_Iterable[_Union[Option, _Mapping]]] = ..., reason: _Optional[str] = ..., notes: _Optional[_Iterable[str]] = ...) -> None: ...

class Decided(_message.Message):
    __slots__ = ("request_id", "decision")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    decision: Decision
    def __init__(self, request_id: _Optional[int] = ..., decision: _Optional[_Union[Decision, _Mapping]] = ...) -> None: ...

class Recovery(_message.Message):
    __slots__ = ("lost", "replacement", "detect_s", "stall_s", "replayed_positions", "recomputed_layers")
    LOST_FIELD_NUMBER: _ClassVar[int]
    REPLACEMENT_FIELD_NUMBER: _ClassVar[int]
    DETECT_S_FIELD_NUMBER: _ClassVar[int]
    STALL_S_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    RECOMPUTED_LAYERS_FIELD_NUMBER: _ClassVar[int]
    lost: _containers.RepeatedScalarFieldContainer[str]
    replacement: _containers.RepeatedScalarFieldContainer[str]
    detect_s: float
    stall_s: float
    replayed_positions: int
    recomputed_layers: int
    def __init__(self, lost: _Optional[_Iterable[str]] = ..., replacement: _Optional[_Iterable[str]] = ..., detect_s: _Optional[float] = ..., stall_s: _Optional[float] = ..., replayed_positions: _Optional[int] = ..., recomputed_layers: _Optional[int] = ...) -> None: ...

class Settled(_message.Message):
    __slots__ = ("sampling", "has_empty_system", "thinking")
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    HAS_EMPTY_SYSTEM_FIELD_NUMBER: _ClassVar[int]
    THINKING_FIELD_NUMBER: _ClassVar[int]
    sampling: _session_pb2.Sampling
    has_empty_system: bool
    thinking: str
    def __init__(self, sampling: _Optional[_Union[_session_pb2.Sampling, _Mapping]] = ..., has_empty_system: _Optional[bool] = ..., thinking: _Optional[str] = ...) -> None: ...

class Routed(_message.Message):
    __slots__ = ("request_id", "session_id", "epoch", "plan", "gateways", "recovery", "settled")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    GATEWAYS_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    session_id: str
    epoch: int
    plan: Plan
    gateways: _containers.RepeatedCompositeFieldContainer[_node_pb2.NodeRecord]
    recovery: Recovery
    settled: Settled
    def __init__(self, request_id: _Optional[int] = ..., session_id: _Optional[str] = ..., epoch: _Optional[int] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ..., gateways: _Optional[_Iterable[_Union[_node_pb2.NodeRecord, _Mapping]]] = ..., recovery: _Optional[_Union[Recovery, _Mapping]] = ..., settled: _Optional[_Union[Settled, _Mapping]] = ...) -> None: ...

class Piece(_message.Message):
    __slots__ = ("request_id", "text", "tokens", "reasoning")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    text: str
    tokens: _containers.RepeatedScalarFieldContainer[int]
    reasoning: str
    def __init__(self, request_id: _Optional[int] = ..., text: _Optional[str] = ..., tokens: _Optional[_Iterable[int]] = ..., reasoning: _Optional[str] = ...) -> None: ...

class StageShare(_message.Message):
    __slots__ = ("node_id", "name", "device_class", "span", "weights_bytes", "memory_bytes")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEVICE_CLASS_FIELD_NUMBER: _ClassVar[int]
    SPAN_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    name: str
    device_class: str
    span: _node_pb2.Span
    weights_bytes: int
    memory_bytes: int
    def __init__(self, node_id: _Optional[str] = ..., name: _Optional[str] = ..., device_class: _Optional[str] = ..., span: _Optional[_Union[_node_pb2.Span, _Mapping]] = ..., weights_bytes: _Optional[int] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class Drafted(_message.Message):
    __slots__ = ("drafter", "num_drafted", "num_right")
    DRAFTER_FIELD_NUMBER: _ClassVar[int]
    NUM_DRAFTED_FIELD_NUMBER: _ClassVar[int]
    NUM_RIGHT_FIELD_NUMBER: _ClassVar[int]
    drafter: str
    num_drafted: int
    num_right: int
    def __init__(self, drafter: _Optional[str] = ..., num_drafted: _Optional[int] = ..., num_right: _Optional[int] = ...) -> None: ...

class Guesses(_message.Message):
    __slots__ = ("num_traversals", "drafted")
    NUM_TRAVERSALS_FIELD_NUMBER: _ClassVar[int]
    DRAFTED_FIELD_NUMBER: _ClassVar[int]
    num_traversals: int
    drafted: _containers.RepeatedCompositeFieldContainer[Drafted]
    def __init__(self, num_traversals: _Optional[int] = ..., drafted: _Optional[_Iterable[_Union[Drafted, _Mapping]]] = ...) -> None: ...

class Summary(_message.Message):
    __slots__ = ("model", "reason", "tokens", "num_prompt_tokens", "seed", "ttft_s", "tokens_per_s", "stages", "recoveries", "reused_positions", "guesses", "sampling")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    NUM_PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TTFT_S_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_S_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    RECOVERIES_FIELD_NUMBER: _ClassVar[int]
    REUSED_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    GUESSES_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    model: str
    reason: str
    tokens: _containers.RepeatedScalarFieldContainer[int]
    num_prompt_tokens: int
    seed: int
    ttft_s: float
    tokens_per_s: float
    stages: _containers.RepeatedCompositeFieldContainer[StageShare]
    recoveries: _containers.RepeatedCompositeFieldContainer[Recovery]
    reused_positions: int
    guesses: Guesses
    sampling: _session_pb2.Sampling
    def __init__(self, model: _Optional[str] = ..., reason: _Optional[str] = ..., tokens: _Optional[_Iterable[int]] = ..., num_prompt_tokens: _Optional[int] = ..., seed: _Optional[int] = ..., ttft_s: _Optional[float] = ..., tokens_per_s: _Optional[float] = ..., stages: _Optional[_Iterable[_Union[StageShare, _Mapping]]] = ..., recoveries: _Optional[_Iterable[_Union[Recovery, _Mapping]]] = ..., reused_positions: _Optional[int] = ..., guesses: _Optional[_Union[Guesses, _Mapping]] = ..., sampling: _Optional[_Union[_session_pb2.Sampling, _Mapping]] = ...) -> None: ...

class ChatFinished(_message.Message):
    __slots__ = ("request_id", "summary")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    summary: Summary
    def __init__(self, request_id: _Optional[int] = ..., summary: _Optional[_Union[Summary, _Mapping]] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    def __init__(self, request_id: _Optional[int] = ...) -> None: ...

class DevicesRequest(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    def __init__(self, request_id: _Optional[int] = ...) -> None: ...

class DevicesReply(_message.Message):
    __slots__ = ("request_id", "devices")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    devices: _containers.RepeatedCompositeFieldContainer[_node_pb2.Device]
    def __init__(self, request_id: _Optional[int] = ..., devices: _Optional[_Iterable[_Union[_node_pb2.Device, _Mapping]]] = ...) -> None: ...

class PlanRequest(_message.Message):
    __slots__ = ("request_id", "model", "context", "messages", "max_tokens", "privacy", "skill")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    SKILL_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    model: str
    context: int
    messages: _containers.RepeatedCompositeFieldContainer[ChatMessage]
    max_tokens: int
    privacy: str
    skill: str
    def __init__(self, request_id: _Optional[int] = ..., model: _Optional[str] = ..., context: _Optional[int] = ..., messages: _Optional[_Iterable[_Union[ChatMessage, _Mapping]]] = ..., max_tokens: _Optional[int] = ..., privacy: _Optional[str] = ..., skill: _Optional[str] = ...) -> None: ...

class PlannedStage(_message.Message):
    __slots__ = ("node", "span", "weights_bytes", "cache_bytes")
    NODE_FIELD_NUMBER: _ClassVar[int]
    SPAN_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_BYTES_FIELD_NUMBER: _ClassVar[int]
    CACHE_BYTES_FIELD_NUMBER: _ClassVar[int]
    node: _node_pb2.NodeRecord
    span: _node_pb2.Span
    weights_bytes: int
    cache_bytes: int
    def __init__(self, node: _Optional[_Union[_node_pb2.NodeRecord, _Mapping]] = ..., span: _Optional[_Union[_node_pb2.Span, _Mapping]] = ..., weights_bytes: _Optional[int] = ..., cache_bytes: _Optional[int] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("model", "precision", "context", "stages", "standbys")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    STANDBYS_FIELD_NUMBER: _ClassVar[int]
    model: _node_pb2.ModelRef
    precision: str
    context: int
    stages: _containers.RepeatedCompositeFieldContainer[PlannedStage]
    standbys: _containers.RepeatedCompositeFieldContainer[PlannedStage]
    def __init__(self, model: _Optional[_Union[_node_pb2.ModelRef, _Mapping]] = ..., precision: _Optional[str] = ..., context: _Optional[int] = ..., stages: _Optional[_Iterable[_Union[PlannedStage, _Mapping]]] = ..., standbys: _Optional[_Iterable[_Union[PlannedStage, _Mapping]]] = ...) -> None: ...

class PlanReply(_message.Message):
    __slots__ = ("request_id", "plan", "decision")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    plan: Plan
    decision: Decision
    def __init__(self, request_id: _Optional[int] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ..., decision: _Optional[_Union[Decision, _Mapping]] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("request_id", "is_forced", "is_over")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    IS_FORCED_FIELD_NUMBER: _ClassVar[int]
    IS_OVER_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    is_forced: bool
    is_over: bool
    def __init__(self, request_id: _Optional[int] = ..., is_forced: _Optional[bool] = ..., is_over: _Optional[bool] = ...) -> None: ...

class DrainReply(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    def __init__(self, request_id: _Optional[int] = ...) -> None: ...
