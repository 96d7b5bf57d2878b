from mesh.wire import client_pb2 as _client_pb2
from mesh.wire import link_pb2 as _link_pb2
from mesh.wire import session_pb2 as _session_pb2
from mesh.wire import stage_pb2 as _stage_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Envelope(_message.Message):
    __slots__ = ("hello", "refusal", "heartbeat", "heartbeat_reply", "goodbye", "echo", "echo_reply", "load_stage", "stage_loaded", "request_failed", "open_session", "frame", "token", "session_failed", "close_session", "resume", "progress_request", "progress", "chat_request", "piece", "chat_finished", "cancel_request", "devices_request", "devices_reply", "plan_request", "plan_reply", "routed", "drain_request", "drain_reply", "decided")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_REPLY_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    ECHO_FIELD_NUMBER: _ClassVar[int]
    ECHO_REPLY_FIELD_NUMBER: _ClassVar[int]
    LOAD_STAGE_FIELD_NUMBER: _ClassVar[int]
    STAGE_LOADED_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FAILED_FIELD_NUMBER: _ClassVar[int]
    OPEN_SESSION_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SESSION_FAILED_FIELD_NUMBER: _ClassVar[int]
    CLOSE_SESSION_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_REQUEST_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    CHAT_REQUEST_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    CHAT_FINISHED_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUEST_FIELD_NUMBER: _ClassVar[int]
    DEVICES_REQUEST_FIELD_NUMBER: _ClassVar[int]
    DEVICES_REPLY_FIELD_NUMBER: _ClassVar[int]
    PLAN_REQUEST_FIELD_NUMBER: _ClassVar[int]
    PLAN_REPLY_FIELD_NUMBER: _ClassVar[int]
    ROUTED_FIELD_NUMBER: _ClassVar[int]
    DRAIN_REQUEST_FIELD_NUMBER: _ClassVar[int]
    DRAIN_REPLY_FIELD_NUMBER: _ClassVar[int]
    DECIDED_FIELD_NUMBER: _ClassVar[int]
    hello: _link_pb2.Hello
    refusal: _link_pb2.Refusal
    heartbeat: _link_pb2.Heartbeat
    heartbeat_reply: _link_pb2.HeartbeatReply
    goodbye: _link_pb2.Goodbye
    echo: _link_pb2.Echo
    echo_reply: _link_pb2.EchoReply
    load_stage: _stage_pb2.LoadStage
    stage_loaded: _stage_pb2.StageLoaded
    request_failed: _stage_pb2.RequestFailed
    open_session: _session_pb2.OpenSession
    frame: _session_pb2.Frame
    token: _session_pb2.Token
    session_failed: _session_pb2.SessionFailed
    close_session: _session_pb2.CloseSession
    resume: _session_pb2.Resume
    progress_request: _session_pb2.ProgressRequest
    progress: _session_pb2.Progress
    chat_request: _client_pb2.ChatRequest
    piece: _client_pb2.Piece
    chat_finished: _client_pb2.ChatFinished
    cancel_request: _client_pb2.CancelRequest
    devices_request: _client_pb2.DevicesRequest
    devices_reply: _client_pb2.DevicesReply
    plan_request: _client_pb2.PlanRequest
    plan_reply: _client_pb2.PlanReply
    routed: _client_pb2.Routed
    drain_request: _client_pb2.DrainRequest
    drain_reply: _client_pb2.DrainReply
    decided: _client_pb2.Decided
    def __init__(self, hello: _Optional[_Union[_link_pb2.Hello, _Mapping]] = ..., refusal: _Optional[_Union[_link_pb2.Refusal, _Mapping]] = ..., heartbeat: _Optional[_Union[_link_pb2.Heartbeat, _Mapping]] = ..., heartbeat_reply: _Optional[_Union[_link_pb2.HeartbeatReply, _Mapping]] = ..., goodbye: _Optional[_Union[_link_pb2.Goodbye, _Mapping]] = ..., echo: _Optional[_Union[_link_pb2.Echo, _Mapping]] = ..., echo_reply: _Optional[_Union[_link_pb2.EchoReply, _Mapping]] = ..., load_stage: _Optional[_Union[_stage_pb2.LoadStage, _Mapping]] = ..., stage_loaded: _Optional[_Union[_stage_pb2.StageLoaded, _Mapping]] = ..., request_failed: _Optional[_Union[_stage_pb2.RequestFailed, _Mapping]] = ..., open_session: _Optional[_Union[_session_pb2.OpenSession, _Mapping]] = ..., frame: _Optional[_Union[_session_pb2.Frame, _Mapping]] = ..., token: _Optional[_Union[_session_pb2.Token, _Mapping]] = ..., session_failed: _Optional[_Union[_session_pb2.SessionFailed, _Mapping]] = ..., close_session: _Optional[_Union[_session_pb2.CloseSession, _Mapping]] = ..., resume: _Optional[_Union[_session_pb2.Resume, _Mapping]] = ..., progress_request: _Optional[_Union[_session_pb2.ProgressRequest, _Mapping]] = ..., progress: _Optional[_Union[_session_pb2.Progress, _Mapping]] = ..., chat_request: _Optional[_Union[_client_pb2.ChatRequest, _Mapping]] = ..., piece: _Optional[_Union[_client_pb2.Piece, _Mapping]] = ..., chat_finished: _Optional[_Union[_client_pb2.ChatFinished, _Mapping]] = ..., cancel_request: _Optional[_Union[_client_pb2.CancelRequest, _Mapping]] = ..., devices_request: _Optional[_Union[_client_pb2.DevicesRequest, _Mapping]] = ..., devices_reply: _Optional[_Union[_client_pb2.DevicesReply, _Mapping]] = ..., plan_request: _Optional[_Union[_client_pb2.PlanRequest, _Mapping]] = ..., plan_reply: _Optional[_Union[_client_pb2.PlanReply, _Mapping]] = ..., routed: _Optional[_Union[_client_pb2.Routed, _Mapping]] = ..., drain_request: _Optional[_Union[_client_pb2.DrainRequest, _Mapping]] = ..., drain_reply: _Optional[_Union[_client_pb2.DrainReply, _Mapping]] = ..., decided: _Optional[_Union[_client_pb2.Decided, _Mapping]] = ...) -> None: ...
