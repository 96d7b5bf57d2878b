from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Version(_message.Message):
    __slots__ = ("major", "minor")
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    MINOR_FIELD_NUMBER: _ClassVar[int]
    major: int
    minor: int
    def __init__(self, major: _Optional[int] = ..., minor: _Optional[int] = ...) -> None: ...

class Address(_message.Message):
    __slots__ = ("host", "port")
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    host: str
    port: int
    def __init__(self, host: _Optional[str] = ..., port: _Optional[int] = ...) -> None: ...

class NodeRecord(_message.Message):
    __slots__ = ("node_id", "name", "device_class", "address", "mesh", "version", "incarnation")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEVICE_CLASS_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MESH_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    name: str
    device_class: str
    address: Address
    mesh: str
    version: Version
    incarnation: int
    def __init__(self, node_id: _Optional[str] = ..., name: _Optional[str] = ..., device_class: _Optional[str] = ..., address: _Optional[_Union[Address, _Mapping]] = ..., mesh: _Optional[str] = ..., version: _Optional[_Union[Version, _Mapping]] = ..., incarnation: _Optional[int] = ...) -> None: ...

class ModelRef(_message.Message):
    __slots__ = ("name", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: str
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class Span(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class StageKey(_message.Message):
    __slots__ = ("digest", "span", "precision")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SPAN_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    digest: str
    span: Span
    precision: str
    def __init__(self, digest: _Optional[str] = ..., span: _Optional[_Union[Span, _Mapping]] = ..., precision: _Optional[str] = ...) -> None: ...

class LoadedStage(_message.Message):
    __slots__ = ("key", "weights_bytes", "step_s", "is_in_use")
    KEY_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_BYTES_FIELD_NUMBER: _ClassVar[int]
    STEP_S_FIELD_NUMBER: _ClassVar[int]
    IS_IN_USE_FIELD_NUMBER: _ClassVar[int]
    key: StageKey
    weights_bytes: int
    step_s: float
    is_in_use: bool
    def __init__(self, key: _Optional[_Union[StageKey, _Mapping]] = ..., weights_bytes: _Optional[int] = ..., step_s: _Optional[float] = ..., is_in_use: _Optional[bool] = ...) -> None: ...

class StepSpeed(_message.Message):
    __slots__ = ("num_sessions", "layer_s", "head_s")
    NUM_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    LAYER_S_FIELD_NUMBER: _ClassVar[int]
    HEAD_S_FIELD_NUMBER: _ClassVar[int]
    num_sessions: int
    layer_s: float
    head_s: float
    def __init__(self, num_sessions: _Optional[int] = ..., layer_s: _Optional[float] = ..., head_s: _Optional[float] = ...) -> None: ...

class SpeedRecord(_message.Message):
    __slots__ = ("version", "engine", "kind", "num_threads", "model", "precision", "num_layers", "layer_bytes", "steps", "prefill_layer_row_s", "memory_rate_bytes_per_s")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NUM_THREADS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    NUM_LAYERS_FIELD_NUMBER: _ClassVar[int]
    LAYER_BYTES_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    PREFILL_LAYER_ROW_S_FIELD_NUMBER: _ClassVar[int]
    MEMORY_RATE_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    version: int
    engine: str
    kind: str
    num_threads: int
    model: str
    precision: str
    num_layers: int
    layer_bytes: int
    steps: _containers.RepeatedCompositeFieldContainer[StepSpeed]
    prefill_layer_row_s: float
    memory_rate_bytes_per_s: float
    def __init__(self, version: _Optional[int] = ..., engine: _Optional[str] = ..., kind: _Optional[str] = ..., num_threads: _Optional[int] = ..., model: _Optional[str] = ..., precision: _Optional[str] = ..., num_layers: _Optional[int] = ..., layer_bytes: _Optional[int] = ..., steps: _Optional[_Iterable[_Union[StepSpeed, _Mapping]]] = ..., prefill_layer_row_s: _Optional[float] = ..., memory_rate_bytes_per_s: _Optional[float] = ...) -> None: ...

class LinkRecord(_message.Message):
    __slots__ = ("node_id", "round_trip_s", "rate_bytes_per_s")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    ROUND_TRIP_S_FIELD_NUMBER: _ClassVar[int]
    RATE_BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    round_trip_s: float
    rate_bytes_per_s: float
    def __init__(self, node_id: _Optional[str] = ..., round_trip_s: _Optional[float] = ..., rate_bytes_per_s: _Optional[float] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("battery", "is_charging", "is_hot", "is_departing", "is_metered", "resting_until")
    BATTERY_FIELD_NUMBER: _ClassVar[int]
    IS_CHARGING_FIELD_NUMBER: _ClassVar[int]
    IS_HOT_FIELD_NUMBER: _ClassVar[int]
    IS_DEPARTING_FIELD_NUMBER: _ClassVar[int]
    IS_METERED_FIELD_NUMBER: _ClassVar[int]
    RESTING_UNTIL_FIELD_NUMBER: _ClassVar[int]
    battery: float
    is_charging: bool
    is_hot: bool
    is_departing: bool
    is_metered: bool
    resting_until: str
    def __init__(self, battery: _Optional[float] = ..., is_charging: _Optional[bool] = ..., is_hot: _Optional[bool] = ..., is_departing: _Optional[bool] = ..., is_metered: _Optional[bool] = ..., resting_until: _Optional[str] = ...) -> None: ...

class NodeStatus(_message.Message):
    __slots__ = ("memory_bytes", "used_bytes", "models", "stages", "num_sessions", "spare_bytes", "leaving", "parked_bytes", "speed", "links", "condition", "is_closed")
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    NUM_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    SPARE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    PARKED_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    IS_CLOSED_FIELD_NUMBER: _ClassVar[int]
    memory_bytes: int
    used_bytes: int
    models: _containers.RepeatedCompositeFieldContainer[ModelRef]
    stages: _containers.RepeatedCompositeFieldContainer[LoadedStage]
    num_sessions: int
    spare_bytes: int
    leaving: str
    parked_bytes: int
    speed: SpeedRecord
    links: _containers.RepeatedCompositeFieldContainer[LinkRecord]
    condition: Condition
    is_closed: bool
    def __init__(self, memory_bytes: _Optional[int] = ..., used_bytes: _Optional[int] = ..., models: _Optional[_Iterable[_Union[ModelRef, _Mapping]]] = ..., stages: _Optional[_Iterable[_Union[LoadedStage, _Mapping]]] = ..., num_sessions: _Optional[int] = ..., spare_bytes: _Optional[int] = ..., leaving: _Optional[str] = ..., parked_bytes: _Optional[int] = ..., speed: _Optional[_Union[SpeedRecord, _Mapping]] = ..., links: _Optional[_Iterable[_Union[LinkRecord, _Mapping]]] = ..., condition: _Optional[_Union[Condition, _Mapping]] = ..., is_closed: _Optional[bool] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("record", "state", "source", "status", "kept_out")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    KEPT_OUT_FIELD_NUMBER: _ClassVar[int]
    record: NodeRecord
    state: str
    source: str
    status: NodeStatus
    kept_out: str
    def __init__(self, record: _Optional[_Union[NodeRecord, _Mapping]] = ..., state: _Optional[str] = ..., source: _Optional[str] = ..., status: _Optional[_Union[NodeStatus, _Mapping]] = ..., kept_out: _Optional[str] = ...) -> None: ...
