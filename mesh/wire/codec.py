"""Messages ⇄ bytes.

Owns the one place where a message's fields meet the wire's. Must not know channels or roles. Two tables
say how each message is written and read; a test proves that they cover every message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Protobuf

from mesh import messages as m
from mesh.config import MAX_PADDING_BYTES
from mesh.errors import BadSetting, MalformedMessage, MeshError
from mesh.types import Ahead, Drafting, Hidden, NodeId, Payload, SessionId, TokenIds
from mesh.wire import client_pb2, link_pb2, session_pb2, stage_pb2
from mesh.wire import decisions as d
from mesh.wire import values as v
from mesh.wire.envelope_pb2 import Envelope

T = TypeVar("T")
P = TypeVar("P", bound=Protobuf)


def encode(message: m.Message) -> bytes:
    """Return a message's bytes; raise BadSetting for a number or text that the wire cannot carry."""
    field, write = _WRITERS[type(message)]
    envelope = Envelope()
    try:
        getattr(envelope, field).CopyFrom(write(message))
    except ValueError as error:  # a number out of range, half of a surrogate pair
        raise BadSetting(f"a {type(message).__name__} cannot be sent: {error}") from error
    return envelope.SerializeToString()


def decode(data: bytes) -> m.Message | None:
    """Return the message in the bytes; None for one that only a newer minor version knows.

    Raises MalformedMessage where the bytes are no envelope or hold impossible values.
    """
    if data == _NOTHING_NEW_BYTES:
        return _NOTHING_NEW
    try:
        envelope = Envelope.FromString(data)
        field = envelope.WhichOneof("message")
        return _READERS[field](getattr(envelope, field)) if field else None
    except (DecodeError, ValueError, MeshError) as error:
        raise MalformedMessage(f"a peer sent {len(data)} bytes that cannot be read: {error}") from error


_WRITERS: dict[type, tuple[str, Callable[..., Protobuf]]] = {}
_READERS: dict[str, Callable[..., m.Message]] = {}


def _rule(field: str, kind: type[T], write: Callable[[T], P], read: Callable[[P], T]) -> None:
    _WRITERS[kind] = (field, write)
    _READERS[field] = cast("Callable[..., m.Message]", read)


def _frame_to_pb(frame: m.Frame) -> session_pb2.Frame:
    pb = session_pb2.Frame(
        session_id=frame.session_id,
        epoch=frame.epoch,
        index=frame.index,
        start=frame.start,
        sample=frame.sample,
        drafts=frame.drafts,
        row_tokens=frame.tokens,
        num_wanted=frame.num_wanted,
    )
    if frame.ahead is not None:
        pb.ahead.known_to, pb.ahead.verified_to = frame.ahead.known_to, frame.ahead.verified_to
    match frame.payload:
        case TokenIds(ids):
            pb.tokens.ids.extend(ids)
        case Hidden(data):
            pb.hidden.data = data
    return pb


def _frame_from_pb(pb: session_pb2.Frame) -> m.Frame:
    payload: Payload
    match pb.WhichOneof("payload"):
        case "tokens":
            payload = TokenIds(tuple(pb.tokens.ids))
        case "hidden":
            payload = Hidden(pb.hidden.data)
        case _:
            raise ValueError("a frame without a payload")
    if pb.HasField("ahead") and not pb.drafts:
        raise ValueError("a frame of guesses without a guess")
    return m.Frame(
        session_id=SessionId(pb.session_id),
        epoch=pb.epoch,
        index=pb.index,
        start=pb.start,
        payload=payload,
        sample=pb.sample,
        drafts=tuple(pb.drafts),
        tokens=tuple(pb.row_tokens),
        num_wanted=pb.num_wanted,
        ahead=Ahead(pb.ahead.known_to, pb.ahead.verified_to) if pb.HasField("ahead") else None,
    )


def _open_to_pb(opening: m.OpenSession) -> session_pb2.OpenSession:
    return session_pb2.OpenSession(
        session_id=opening.session_id,
        epoch=opening.epoch,
        route=[v.hop_to_pb(hop) for hop in opening.route],
        index=opening.index,
        gateway=v.address_to_pb(opening.gateway),
        context=opening.context,
        sampling=v.sampling_to_pb(opening.sampling),
        known=opening.known,
        gateway_id=opening.gateway_id,
        source=opening.source,
        shared=opening.shared,
        newest=opening.newest,
    )


def _open_from_pb(pb: session_pb2.OpenSession) -> m.OpenSession:
    if not pb.index < len(pb.route):
        raise ValueError(f"index {pb.index} in a route of {len(pb.route)} hops")
    return m.OpenSession(
        session_id=SessionId(pb.session_id),
        epoch=pb.epoch,
        route=tuple(v.hop_from_pb(hop) for hop in pb.route),
        index=pb.index,
        gateway=v.address_from_pb(pb.gateway),
        context=pb.context,
        sampling=v.sampling_from_pb(pb.sampling),
        known=pb.known,
        gateway_id=NodeId(pb.gateway_id),
        source=SessionId(pb.source) if pb.HasField("source") else None,
        shared=pb.shared,
        newest=tuple(pb.newest),
    )


_DRAFTINGS = {drafting.value: drafting for drafting in Drafting}
"""Others are of a newer version; then it is done as the gateway has it."""


def _chat_to_pb(request: m.ChatRequest) -> client_pb2.ChatRequest:
    return client_pb2.ChatRequest(
        request_id=request.request_id,
        model=request.model,
        messages=[v.chat_to_pb(message) for message in request.messages],
        max_tokens=request.max_tokens,
        sampling=v.sampling_to_pb(request.sampling),
        deadline_s=request.deadline_s,
        started=_started_to_pb(request.started) if request.started else None,
        privacy=request.privacy,
        skill=request.skill,
        drafting=request.drafting,
        left_open=request.left_open,
    )


def _chat_from_pb(pb: client_pb2.ChatRequest) -> m.ChatRequest:
    return m.ChatRequest(
        request_id=pb.request_id,
        model=pb.model if pb.HasField("model") else None,
        messages=tuple(v.chat_from_pb(message) for message in pb.messages),
        max_tokens=pb.max_tokens,
        sampling=v.sampling_from_pb(pb.sampling),
        deadline_s=pb.deadline_s if pb.HasField("deadline_s") else None,
        started=_started_from_pb(pb.started) if pb.HasField("started") else None,
        privacy=d.privacy_from_pb(pb.privacy),
        skill=pb.skill if pb.HasField("skill") else None,
        drafting=_DRAFTINGS.get(pb.drafting),
        left_open=v.left_open_from_pb(pb.left_open),
    )


def _started_to_pb(started: m.Started) -> client_pb2.Started:
    return client_pb2.Started(
        session_id=started.session_id,
        epoch=started.epoch,
        plan=v.plan_to_pb(started.plan),
        tokens=started.tokens,
        thinking=started.thinking,
    )


def _started_from_pb(pb: client_pb2.Started) -> m.Started:
    return m.Started(
        session_id=SessionId(pb.session_id),
        epoch=pb.epoch,
        plan=v.plan_from_pb(pb.plan),
        tokens=tuple(pb.tokens),
        thinking=v.thinking_from_pb(pb.thinking),
    )


def _routed_to_pb(routed: m.Routed) -> client_pb2.Routed:
    return client_pb2.Routed(
        request_id=routed.request_id,
        session_id=routed.session_id,
        epoch=routed.epoch,
        plan=v.plan_to_pb(routed.plan),
        gateways=[v.record_to_pb(record) for record in routed.gateways],
        recovery=v.recovery_to_pb(routed.recovery) if routed.recovery else None,
        settled=v.settled_to_pb(routed.settled) if routed.settled else None,
    )


def _routed_from_pb(pb: client_pb2.Routed) -> m.Routed:
    return m.Routed(
        request_id=pb.request_id,
        session_id=SessionId(pb.session_id),
        epoch=pb.epoch,
        plan=v.plan_from_pb(pb.plan),
        gateways=tuple(v.record_from_pb(record) for record in pb.gateways),
        recovery=v.recovery_from_pb(pb.recovery) if pb.HasField("recovery") else None,
        settled=v.settled_from_pb(pb.settled) if pb.HasField("settled") else None,
    )


def _failed_to_pb(failed: m.SessionFailed) -> session_pb2.SessionFailed:
    return session_pb2.SessionFailed(
        session_id=failed.session_id,
        epoch=failed.epoch,
        node_id=failed.node_id,
        code=failed.code,
        message=failed.message,
        lost=failed.lost,
        retry_after_s=failed.retry_after_s,
    )


def _failed_from_pb(pb: session_pb2.SessionFailed) -> m.SessionFailed:
    return m.SessionFailed(
        session_id=SessionId(pb.session_id),
        epoch=pb.epoch,
        node_id=NodeId(pb.node_id),
        code=pb.code,
        message=pb.message,
        lost=NodeId(pb.lost) if pb.HasField("lost") else None,
        retry_after_s=pb.retry_after_s if pb.HasField("retry_after_s") else None,
    )


def _progress_to_pb(progress: m.Progress) -> session_pb2.Progress:
    return session_pb2.Progress(
        session_id=progress.session_id,
        epoch=progress.epoch,
        index=progress.index,
        position=progress.position,
        working_s=progress.working_s,
        usual_s=progress.usual_s,
        num_waiting=progress.num_waiting,
    )


def _progress_from_pb(pb: session_pb2.Progress) -> m.Progress:
    return m.Progress(
        session_id=SessionId(pb.session_id),
        epoch=pb.epoch,
        index=pb.index,
        position=pb.position,
        working_s=pb.working_s,
        usual_s=pb.usual_s,
        num_waiting=pb.num_waiting,
    )


def _heartbeat_to_pb(heartbeat: m.Heartbeat) -> link_pb2.Heartbeat:
    return link_pb2.Heartbeat(
        status=v.status_to_pb(heartbeat.status) if heartbeat.status is not None else None,
        neighbours=[v.record_to_pb(record) for record in heartbeat.neighbours],
        next_ms=None if heartbeat.next_s is None else round(heartbeat.next_s * 1000),
    )


def _heartbeat_from_pb(pb: link_pb2.Heartbeat) -> m.Heartbeat:
    return m.Heartbeat(
        status=v.status_from_pb(pb.status) if pb.HasField("status") else None,
        neighbours=tuple(v.record_from_pb(record) for record in pb.neighbours),
        next_s=pb.next_ms / 1000 if pb.HasField("next_ms") else None,
    )


def _padding_bytes(pb: link_pb2.Echo) -> int:
    num_bytes = len(pb.padding)
    if num_bytes > MAX_PADDING_BYTES:
        raise ValueError(f"a padding of {num_bytes} bytes is above the {MAX_PADDING_BYTES} allowed")
    return num_bytes


_rule(
    "hello",
    m.Hello,
    lambda x: link_pb2.Hello(
        version=v.version_to_pb(x.version), mesh=x.mesh, node=v.record_to_pb(x.node) if x.node else None
    ),
    lambda pb: m.Hello(
        v.version_from_pb(pb.version), pb.mesh, v.record_from_pb(pb.node) if pb.HasField("node") else None
    ),
)
_rule(
    "refusal",
    m.Refusal,
    lambda x: link_pb2.Refusal(code=x.code, message=x.message),
    lambda pb: m.Refusal(pb.code, pb.message),
)
_rule("heartbeat", m.Heartbeat, _heartbeat_to_pb, _heartbeat_from_pb)
_rule("heartbeat_reply", m.HeartbeatReply, lambda _: link_pb2.HeartbeatReply(), lambda _: m.HeartbeatReply())
_rule("goodbye", m.Goodbye, lambda _: link_pb2.Goodbye(), lambda _: m.Goodbye())
_rule(
    "echo",
    m.Echo,
    lambda x: link_pb2.Echo(number=x.number, padding=bytes(x.padding_bytes)),
    lambda pb: m.Echo(pb.number, _padding_bytes(pb)),
)
_rule(
    "echo_reply",
    m.EchoReply,
    lambda x: link_pb2.EchoReply(number=x.number),
    lambda pb: m.EchoReply(pb.number),
)
_rule(
    "load_stage",
    m.LoadStage,
    lambda x: stage_pb2.LoadStage(request_id=x.request_id, key=v.key_to_pb(x.key)),
    lambda pb: m.LoadStage(pb.request_id, v.key_from_pb(pb.key)),
)
_rule(
    "stage_loaded",
    m.StageLoaded,
    lambda x: stage_pb2.StageLoaded(request_id=x.request_id, weights_bytes=x.weights_bytes, row_s=x.row_s),
    lambda pb: m.StageLoaded(pb.request_id, pb.weights_bytes, pb.row_s),
)
_rule(
    "request_failed",
    m.RequestFailed,
    lambda x: stage_pb2.RequestFailed(
        request_id=x.request_id, code=x.code, message=x.message, retry_after_s=x.retry_after_s
    ),
    lambda pb: m.RequestFailed(
        pb.request_id, pb.code, pb.message, pb.retry_after_s if pb.HasField("retry_after_s") else None
    ),
)
_rule("open_session", m.OpenSession, _open_to_pb, _open_from_pb)
_rule("frame", m.Frame, _frame_to_pb, _frame_from_pb)
_rule(
    "token",
    m.Token,
    lambda x: session_pb2.Token(
        session_id=x.session_id,
        epoch=x.epoch,
        position=x.position,
        token=x.token,
        more=x.more,
        guessed=x.guessed,
    ),
    lambda pb: m.Token(
        SessionId(pb.session_id), pb.epoch, pb.position, pb.token, tuple(pb.more), tuple(pb.guessed)
    ),
)
_rule("session_failed", m.SessionFailed, _failed_to_pb, _failed_from_pb)
_rule(
    "resume",
    m.Resume,
    lambda x: session_pb2.Resume(
        session_id=x.session_id, epoch=x.epoch, index=x.index, position=x.position, had=x.had
    ),
    lambda pb: m.Resume(SessionId(pb.session_id), pb.epoch, pb.index, pb.position, pb.had),
)
_rule(
    "progress_request",
    m.ProgressRequest,
    lambda x: session_pb2.ProgressRequest(session_id=x.session_id, epoch=x.epoch, index=x.index),
    lambda pb: m.ProgressRequest(SessionId(pb.session_id), pb.epoch, pb.index),
)
_rule("progress", m.Progress, _progress_to_pb, _progress_from_pb)
_rule(
    "close_session",
    m.CloseSession,
    lambda x: session_pb2.CloseSession(session_id=x.session_id, epoch=x.epoch, is_parked=x.is_parked),
    lambda pb: m.CloseSession(SessionId(pb.session_id), pb.epoch, pb.is_parked),
)
_rule("chat_request", m.ChatRequest, _chat_to_pb, _chat_from_pb)
_rule("routed", m.Routed, _routed_to_pb, _routed_from_pb)
_rule(
    "decided",
    m.Decided,
    lambda x: client_pb2.Decided(request_id=x.request_id, decision=d.decision_to_pb(x.decision)),
    lambda pb: m.Decided(pb.request_id, d.decision_from_pb(pb.decision)),
)
_rule(
    "drain_request",
    m.DrainRequest,
    lambda x: client_pb2.DrainRequest(request_id=x.request_id, is_forced=x.is_forced, is_over=x.is_over),
    lambda pb: m.DrainRequest(pb.request_id, pb.is_forced, pb.is_over),
)
_rule(
    "drain_reply",
    m.DrainReply,
    lambda x: client_pb2.DrainReply(request_id=x.request_id),
    lambda pb: m.DrainReply(pb.request_id),
)
_rule(
    "piece",
    m.Piece,
    lambda x: client_pb2.Piece(request_id=x.request_id, text=x.text, tokens=x.tokens, reasoning=x.reasoning),
    lambda pb: m.Piece(pb.request_id, pb.text, tuple(pb.tokens), pb.reasoning),
)
_rule(
    "chat_finished",
    m.ChatFinished,
    lambda x: client_pb2.ChatFinished(request_id=x.request_id, summary=v.summary_to_pb(x.summary)),
    lambda pb: m.ChatFinished(pb.request_id, v.summary_from_pb(pb.summary)),
)
_rule(
    "cancel_request",
    m.CancelRequest,
    lambda x: client_pb2.CancelRequest(request_id=x.request_id),
    lambda pb: m.CancelRequest(pb.request_id),
)
_rule(
    "devices_request",
    m.DevicesRequest,
    lambda x: client_pb2.DevicesRequest(request_id=x.request_id),
    lambda pb: m.DevicesRequest(pb.request_id),
)
_rule(
    "devices_reply",
    m.DevicesReply,
    lambda x: client_pb2.DevicesReply(
        request_id=x.request_id, devices=[v.device_to_pb(device) for device in x.devices]
    ),
    lambda pb: m.DevicesReply(pb.request_id, tuple(v.device_from_pb(device) for device in pb.devices)),
)
_rule(
    "plan_request",
    m.PlanRequest,
    lambda x: client_pb2.PlanRequest(
        request_id=x.request_id,
        model=x.model,
        context=x.context,
        messages=[v.chat_to_pb(message) for message in x.messages],
        max_tokens=x.max_tokens,
        privacy=x.privacy,
        skill=x.skill,
    ),
    lambda pb: m.PlanRequest(
        pb.request_id,
        pb.model if pb.HasField("model") else None,
        pb.context if pb.HasField("context") else None,
        tuple(v.chat_from_pb(message) for message in pb.messages),
        pb.max_tokens,
        d.privacy_from_pb(pb.privacy),
        pb.skill if pb.HasField("skill") else None,
    ),
)
_rule(
    "plan_reply",
    m.PlanReply,
    lambda x: client_pb2.PlanReply(
        request_id=x.request_id,
        plan=None if x.plan is None else v.plan_to_pb(x.plan),
        decision=d.decision_to_pb(x.decision),
    ),
    lambda pb: m.PlanReply(
        pb.request_id,
        v.plan_from_pb(pb.plan) if pb.HasField("plan") else None,
        d.decision_from_pb(pb.decision),
    ),
)

# Nearly all that idle nodes say, so it is read without a parser.
_NOTHING_NEW = m.Heartbeat()
_NOTHING_NEW_BYTES = encode(_NOTHING_NEW)
