from mesh.wire import node_pb2 as _node_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LoadStage(_message.Message):
    __slots__ = ("request_id", "key")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    key: _node_pb2.StageKey
    def __init__(self, request_id: _Optional[int] = ..., key: _Optional[_Union[_node_pb2.StageKey, _Mapping]] = ...) -> None: ...

class StageLoaded(_message.Message):
    __slots__ = ("request_id", "weights_bytes", "row_s")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_BYTES_FIELD_NUMBER: _ClassVar[int]
    ROW_S_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    weights_bytes: int
    row_s: float
    def __init__(self, request_id: _Optional[int] = ..., weights_bytes: _Optional[int] = ..., row_s: _Optional[float] = ...) -> None: ...

class RequestFailed(_message.Message):
    __slots__ = ("request_id", "code", "message", "retry_after_s")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    code: str
    message: str
    retry_after_s: float
    def __init__(self, request_id: _Optional[int] = ..., code: _Optional[str] = ..., message: _Optional[str] = ..., retry_after_s: _Optional[float] = ...) -> None: ...
