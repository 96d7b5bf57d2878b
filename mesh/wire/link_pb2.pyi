from mesh.wire import node_pb2 as _node_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Hello(_message.Message):
    __slots__ = ("version", "mesh", "node")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MESH_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    version: _node_pb2.Version
    mesh: str
    node: _node_pb2.NodeRecord
    def __init__(self, version: _Optional[_Union[_node_pb2.Version, _Mapping]] = ..., mesh: _Optional[str] = ..., node: _Optional[_Union[_node_pb2.NodeRecord, _Mapping]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("status", "neighbours", "next_ms")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    NEXT_MS_FIELD_NUMBER: _ClassVar[int]
    status: _node_pb2.NodeStatus
    neighbours: _containers.RepeatedCompositeFieldContainer[_node_pb2.NodeRecord]
    next_ms: int
    def __init__(self, status: _Optional[_Union[_node_pb2.NodeStatus, _Mapping]] = ..., neighbours: _Optional[_Iterable[_Union[_node_pb2.NodeRecord, _Mapping]]] = ..., next_ms: _Optional[int] = ...) -> None: ...

class HeartbeatReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Echo(_message.Message):
    __slots__ = ("number", "padding")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    number: int
    padding: bytes
    def __init__(self, number: _Optional[int] = ..., padding: _Optional[bytes] = ...) -> None: ...

class EchoReply(_message.Message):
    __slots__ = ("number",)
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    number: int
    def __init__(self, number: _Optional[int] = ...) -> None: ...
