from mesh.wire import node_pb2 as _node_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Hop(_message.Message):
    __slots__ = ("node_id", "address", "key")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    address: _node_pb2.Address
    key: _node_pb2.StageKey
    def __init__(self, node_id: _Optional[str] = ..., address: _Optional[_Union[_node_pb2.Address, _Mapping]] = ..., key: _Optional[_Union[_node_pb2.StageKey, _Mapping]] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("temperature", "top_k", "top_p", "min_p", "seed")
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    MIN_P_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    seed: int
    def __init__(self, temperature: _Optional[float] = ..., top_k: _Optional[int] = ..., top_p: _Optional[float] = ..., min_p: _Optional[float] = ..., seed: _Optional[int] = ...) -> None: ...

class OpenSession(_message.Message):
    __slots__ = ("session_id", "epoch", "route", "index", "gateway", "context", "sampling", "known", "gateway_id", "source", "shared", "newest")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    epoch: int
    route: _containers.RepeatedCompositeFieldContainer[Hop]
    index: int
    gateway: _node_pb2.Address
    context: int
    sampling: Sampling
    known: int
    gateway_id: str
    source: str
    shared: int
    newest: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, session_id: _Optional[str] = ..., epoch: _Optional[int] = ..., route: _Optional[_Iterable[_Union[Hop, _Mapping]]] = ..., index: _Optional[int] = ..., gateway: _Optional[_Union[_node_pb2.Address, _Mapping]] = ..., context: _Optional[int] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ..., known: _Optional[int] = ..., gateway_id: _Optional[str] = ..., source: _Optional[str] = ..., shared: _Optional[int] = ..., newest: _Optional[_Iterable[int]] = ...) -> None: ...

class TokenIds(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Hidden(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class Ahead(_message.Message):
    __slots__ = ("known_to", "verified_to")
    KNOWN_TO_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_TO_FIELD_NUMBER: _ClassVar[int]
    known_to: int
    verified_to: int
    def __init__(self, known_to: _Optional[int] = ..., verified_to: _Optional[int] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("session_id", "epoch", "start", "sample", "index", "drafts", "row_tokens", "num_wanted", "ahead", "tokens", "hidden")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    DRAFTS_FIELD_NUMBER: _ClassVar[int]
    ROW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    NUM_WANTED_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    epoch: int
    start: int
    sample: bool
    index: int
    drafts: _containers.RepeatedScalarFieldContainer[int]
    row_tokens: _containers.RepeatedScalarFieldContainer[int]
    num_wanted: int
    ahead: Ahead
    tokens: TokenIds
    hidden: Hidden
    def __init__(self, session_id: _Optional[str] = ..., epoch: _Optional[int] = ..., start: _Optional[int] = ..., sample: _Optional[bool] = ..., index: _Optional[int] = ..., drafts: _Optional[_Iterable[int]] = ..., row_tokens: _Optional[_Iterable[int]] = ..., num_wanted: _Optional[int] = ..., ahead: _Optional[_Union[Ahead, _Mapping]] = ..., tokens: _Optional[_Union[TokenIds, _Mapping]] = ..., hidden: _Optional[_Union[Hidden, _Mapping]] = ...) -> None: ...

class Token(_message.Message):
    __slots__ = ("session_id", "epoch", "position", "token", "more", "guessed")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    GUESSED_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    epoch: int
    position: int
    token: int
    more: _containers.RepeatedScalarFieldContainer[int]
    guessed: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, session_id: _Optional[str] = ..., epoch: _Optional[int] = ..., position: _Optional[int] = ..., token: _Optional[int] = ..., more: _Optional[_Iterable[int]] = ..., guessed: _Optional[_Iterable[int]] = ...) -> None: ...

class Resume(_message.Message):
    __slots__ = ("session_id", "epoch", "index", "position", "had")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    HAD_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    epoch: int
    index: int
    position: int
    had: int
    def __init__(self, session_id: _Optional[str] = ..., epoch: _Optional[int] = ..., index: _Optional[int] = ..., position: _Optional[int] = ..., had: _Optional[int] = ...) -> None: ...

class ProgressRequest(_message.Message):
    __slots__ = ("session_id", "epoch", "index")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    epoch: int
    index: int
    def __init__(self, session_id: _Optional[str] = ..., epoch: _Optional[int] = ..., index: _Optional[int] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("session_id", "epoch", "index", "position", "working_s", "usual_s", "num_waiting")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    WORKING_S_FIELD_NUMBER: _ClassVar[int]
    USUAL_S_FIELD_NUMBER: _ClassVar[int]
    NUM_WAITING_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    epoch: int
    index: int
    position: int
    working_s: float
    usual_s: float
    num_waiting: int
    def __init__(self, session_id: _Optional[str] = ..., epoch: _Optional[int] = ..., index: _Optional[int] = ..., position: _Optional[int] = ..., working_s: _Optional[float] = ..., usual_s: _Optional[float] = ..., num_waiting: _Optional[int] = ...) -> None: ...

class SessionFailed(_message.Message):
    __slots__ = ("session_id", "epoch", "node_id", "code", "message", "lost", "retry_after_s")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    epoch: int
    node_id: str
    code: str
    message: str
    lost: str
    retry_after_s: float
    def __init__(self, session_id: _Optional[str] = ..., epoch: _Optional[int] = ..., node_id: _Optional[str] = ..., code: _Optional[str] = ..., message: _Optional[str] = ..., lost: _Optional[str] = ..., retry_after_s: _Optional[float] = ...) -> None: ...

class CloseSession(_message.Message):
    __slots__ = ("session_id", "epoch", "is_parked")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    IS_PARKED_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    epoch: int
    is_parked: bool
    def __init__(self, session_id: _Optional[str] = ..., epoch: _Optional[int] = ..., is_parked: _Optional[bool] = ...) -> None: ...
