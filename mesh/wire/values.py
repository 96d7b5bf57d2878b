"""Values that messages are made of ⇄ protobuf.

Each pair of functions is the inverse of the other. A value that cannot be right (an unknown class, an
empty span) raises ValueError or MeshError, which `mesh.wire.codec` turns into MalformedMessage.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from mesh.config import MAX_LINKS
from mesh.types import (
    SPEED_VERSION,
    Address,
    ChatMessage,
    Condition,
    Device,
    DeviceClass,
    Digest,
    Drafted,
    FinishReason,
    Guesses,
    Hop,
    LinkRecord,
    LoadedStage,
    ModelRef,
    NodeId,
    NodeRecord,
    NodeState,
    NodeStatus,
    Plan,
    PlannedStage,
    Precision,
    ProtocolVersion,
    Recovery,
    Sampling,
    SamplingField,
    Settled,
    Source,
    Span,
    SpeedRecord,
    StageKey,
    StageShare,
    StepSpeed,
    Summary,
    Thinking,
)
from mesh.wire import client_pb2, node_pb2, session_pb2


def version_to_pb(value: ProtocolVersion) -> node_pb2.Version:
    return node_pb2.Version(major=value.major, minor=value.minor)


def version_from_pb(pb: node_pb2.Version) -> ProtocolVersion:
    return ProtocolVersion(pb.major, pb.minor)


def address_to_pb(value: Address) -> node_pb2.Address:
    return node_pb2.Address(host=value.host, port=value.port)


def address_from_pb(pb: node_pb2.Address) -> Address:
    if not pb.host or not 0 < pb.port < 65536:
        raise ValueError(f"{pb.host}:{pb.port} is not an address")
    return Address(pb.host, pb.port)


def record_to_pb(value: NodeRecord) -> node_pb2.NodeRecord:
    return node_pb2.NodeRecord(
        node_id=value.node_id,
        name=value.name,
        device_class=value.device_class,
        address=address_to_pb(value.address),
        mesh=value.mesh,
        version=version_to_pb(value.version),
        incarnation=value.incarnation,
    )


def record_from_pb(pb: node_pb2.NodeRecord) -> NodeRecord:
    return NodeRecord(
        node_id=NodeId(pb.node_id),
        name=pb.name,
        device_class=DeviceClass(pb.device_class),
        address=address_from_pb(pb.address),
        mesh=pb.mesh,
        version=version_from_pb(pb.version),
        incarnation=pb.incarnation,
    )


def model_to_pb(value: ModelRef) -> node_pb2.ModelRef:
    return node_pb2.ModelRef(name=value.name, digest=value.digest)


def model_from_pb(pb: node_pb2.ModelRef) -> ModelRef:
    return ModelRef(pb.name, Digest(pb.digest))


def span_to_pb(value: Span) -> node_pb2.Span:
    return node_pb2.Span(start=value.start, end=value.end)


def span_from_pb(pb: node_pb2.Span) -> Span:
    return Span(pb.start, pb.end)


def key_to_pb(value: StageKey) -> node_pb2.StageKey:
    return node_pb2.StageKey(digest=value.digest, span=span_to_pb(value.span), precision=value.precision)


def key_from_pb(pb: node_pb2.StageKey) -> StageKey:
    return StageKey(Digest(pb.digest), span_from_pb(pb.span), Precision(pb.precision))


def status_to_pb(value: NodeStatus) -> node_pb2.NodeStatus:
    return node_pb2.NodeStatus(
        memory_bytes=value.memory_bytes,
        used_bytes=value.used_bytes,
        models=[model_to_pb(model) for model in value.models],
        stages=[
            node_pb2.LoadedStage(
                key=key_to_pb(stage.key),
                weights_bytes=stage.weights_bytes,
                step_s=stage.step_s,
                is_in_use=stage.is_in_use,
            )
            for stage in value.stages
        ],
        num_sessions=value.num_sessions,
        spare_bytes=value.spare_bytes,
        leaving=value.leaving,
        parked_bytes=value.parked_bytes,
        speed=None if value.speed is None else speed_to_pb(value.speed),
        links=[_link_to_pb(link) for link in value.links],
        condition=None if value.condition is None else _condition_to_pb(value.condition),
        is_closed=value.is_closed,
    )


def status_from_pb(pb: node_pb2.NodeStatus) -> NodeStatus:
    return NodeStatus(
        memory_bytes=pb.memory_bytes,
        used_bytes=pb.used_bytes,
        models=tuple(model_from_pb(model) for model in pb.models),
        stages=tuple(
            LoadedStage(key_from_pb(stage.key), stage.weights_bytes, _seconds(stage.step_s), stage.is_in_use)
            for stage in pb.stages
        ),
        num_sessions=pb.num_sessions,
        spare_bytes=pb.spare_bytes,
        leaving=pb.leaving if pb.HasField("leaving") else None,
        parked_bytes=pb.parked_bytes,
        speed=speed_from_pb(pb.speed) if _is_known(pb) else None,
        links=tuple(_link_from_pb(link) for link in pb.links if _can_be(link.round_trip_s))[:MAX_LINKS],
        condition=_condition_from_pb(pb.condition) if pb.HasField("condition") else None,
        is_closed=pb.is_closed,
    )


def _condition_to_pb(value: Condition) -> node_pb2.Condition:
    return node_pb2.Condition(
        battery=value.battery,
        is_charging=value.is_charging,
        is_hot=value.is_hot,
        is_departing=value.is_departing,
        is_metered=value.is_metered,
        resting_until=value.resting_until,
    )


def _condition_from_pb(pb: node_pb2.Condition) -> Condition:
    return Condition(
        battery=pb.battery if pb.HasField("battery") and 0 <= pb.battery <= 1 else None,
        is_charging=pb.is_charging,
        is_hot=pb.is_hot,
        is_departing=pb.is_departing,
        is_metered=pb.is_metered,
        resting_until=pb.resting_until if pb.HasField("resting_until") else None,
    )


def _link_to_pb(value: LinkRecord) -> node_pb2.LinkRecord:
    return node_pb2.LinkRecord(
        node_id=value.node_id, round_trip_s=value.round_trip_s, rate_bytes_per_s=value.rate_bytes_per_s
    )


def _link_from_pb(pb: node_pb2.LinkRecord) -> LinkRecord:
    """What cannot be is left out, and is no reason to believe nothing else that the node says."""
    rate = pb.rate_bytes_per_s if _can_be(pb.rate_bytes_per_s) else None
    return LinkRecord(NodeId(pb.node_id), pb.round_trip_s, rate)


def _can_be(figure: float) -> bool:
    return 0 < figure < math.inf  # written so that NaN cannot


def _is_known(pb: node_pb2.NodeStatus) -> bool:
    return pb.HasField("speed") and pb.speed.version == SPEED_VERSION


def speed_to_pb(value: SpeedRecord) -> node_pb2.SpeedRecord:
    return node_pb2.SpeedRecord(
        version=value.version,
        engine=value.engine,
        kind=value.kind,
        num_threads=value.num_threads,
        model=value.model,
        precision=value.precision,
        num_layers=value.num_layers,
        layer_bytes=value.layer_bytes,
        steps=[
            node_pb2.StepSpeed(num_sessions=step.num_sessions, layer_s=step.layer_s, head_s=step.head_s)
            for step in value.steps
        ],
        prefill_layer_row_s=value.prefill_layer_row_s,
        memory_rate_bytes_per_s=value.memory_rate_bytes_per_s,
    )


def speed_from_pb(pb: node_pb2.SpeedRecord) -> SpeedRecord:
    """Read a record as it is: whether its figures can be is for those to judge who reckon with them."""
    return SpeedRecord(
        version=pb.version,
        engine=pb.engine,
        kind=pb.kind,
        num_threads=pb.num_threads,
        model=pb.model,
        precision=Precision(pb.precision),
        num_layers=pb.num_layers,
        layer_bytes=pb.layer_bytes,
        steps=tuple(StepSpeed(step.num_sessions, step.layer_s, step.head_s) for step in pb.steps),
        prefill_layer_row_s=pb.prefill_layer_row_s,
        memory_rate_bytes_per_s=pb.memory_rate_bytes_per_s,
    )


def _seconds(figure: float) -> float:
    """Read what may be unknown; what is no time is."""
    return figure if _can_be(figure) else 0.0


def device_to_pb(value: Device) -> node_pb2.Device:
    return node_pb2.Device(
        record=record_to_pb(value.record),
        state=value.state,
        source=value.source,
        status=None if value.status is None else status_to_pb(value.status),
        kept_out=value.kept_out,
    )


def device_from_pb(pb: node_pb2.Device) -> Device:
    return Device(
        record=record_from_pb(pb.record),
        state=NodeState(pb.state),
        source=Source(pb.source),
        status=status_from_pb(pb.status) if pb.HasField("status") else None,
        kept_out=pb.kept_out if pb.HasField("kept_out") else None,
    )


def hop_to_pb(value: Hop) -> session_pb2.Hop:
    return session_pb2.Hop(
        node_id=value.node_id, address=address_to_pb(value.address), key=key_to_pb(value.key)
    )


def hop_from_pb(pb: session_pb2.Hop) -> Hop:
    return Hop(NodeId(pb.node_id), address_from_pb(pb.address), key_from_pb(pb.key))


def sampling_to_pb(value: Sampling) -> session_pb2.Sampling:
    return session_pb2.Sampling(
        temperature=value.temperature,
        top_k=value.top_k,
        top_p=value.top_p,
        min_p=value.min_p,
        seed=value.seed,
    )


def sampling_from_pb(pb: session_pb2.Sampling) -> Sampling:
    return Sampling(
        temperature=pb.temperature,
        top_k=pb.top_k if pb.HasField("top_k") else None,
        top_p=pb.top_p,
        min_p=pb.min_p,
        seed=pb.seed,
    )


_THINKINGS = {thinking.value: thinking for thinking in Thinking}
_SAMPLING_FIELDS = {field.value: field for field in SamplingField}


def thinking_from_pb(text: str) -> Thinking:
    """Others are of a newer version; then all is the answer."""
    return _THINKINGS.get(text, Thinking.NONE)


def left_open_from_pb(names: Iterable[str]) -> tuple[SamplingField, ...]:
    """Others are of a newer version, which knows of them what is usual."""
    return tuple(_SAMPLING_FIELDS[name] for name in names if name in _SAMPLING_FIELDS)


def settled_to_pb(value: Settled) -> client_pb2.Settled:
    return client_pb2.Settled(
        sampling=sampling_to_pb(value.sampling),
        has_empty_system=value.has_empty_system,
        thinking=value.thinking,
    )


def settled_from_pb(pb: client_pb2.Settled) -> Settled:
    return Settled(sampling_from_pb(pb.sampling), pb.has_empty_system, thinking_from_pb(pb.thinking))


def chat_to_pb(value: ChatMessage) -> client_pb2.ChatMessage:
    return client_pb2.ChatMessage(role=value.role, content=value.content)


def chat_from_pb(pb: client_pb2.ChatMessage) -> ChatMessage:
    return ChatMessage(pb.role, pb.content)


def _stage_to_pb(value: PlannedStage) -> client_pb2.PlannedStage:
    return client_pb2.PlannedStage(
        node=record_to_pb(value.node),
        span=span_to_pb(value.span),
        weights_bytes=value.weights_bytes,
        cache_bytes=value.cache_bytes,
    )


def _stage_from_pb(pb: client_pb2.PlannedStage) -> PlannedStage:
    return PlannedStage(record_from_pb(pb.node), span_from_pb(pb.span), pb.weights_bytes, pb.cache_bytes)


def plan_to_pb(value: Plan) -> client_pb2.Plan:
    return client_pb2.Plan(
        model=model_to_pb(value.model),
        precision=value.precision,
        context=value.context,
        stages=[_stage_to_pb(stage) for stage in value.stages],
        standbys=[_stage_to_pb(standby) for standby in value.standbys],
    )


def plan_from_pb(pb: client_pb2.Plan) -> Plan:
    return Plan(
        model=model_from_pb(pb.model),
        precision=Precision(pb.precision),
        context=pb.context,
        stages=tuple(_stage_from_pb(stage) for stage in pb.stages),
        standbys=tuple(_stage_from_pb(standby) for standby in pb.standbys),
    )


def recovery_to_pb(value: Recovery) -> client_pb2.Recovery:
    return client_pb2.Recovery(
        lost=value.lost,
        replacement=value.replacement,
        detect_s=value.detect_s,
        stall_s=value.stall_s,
        replayed_positions=value.replayed_positions,
        recomputed_layers=value.recomputed_layers,
    )


def recovery_from_pb(pb: client_pb2.Recovery) -> Recovery:
    return Recovery(
        lost=tuple(pb.lost),
        replacement=tuple(pb.replacement),
        detect_s=pb.detect_s,
        stall_s=pb.stall_s,
        replayed_positions=pb.replayed_positions,
        recomputed_layers=pb.recomputed_layers,
    )


def summary_to_pb(value: Summary) -> client_pb2.Summary:
    return client_pb2.Summary(
        model=value.model,
        reason=value.reason,
        tokens=value.tokens,
        num_prompt_tokens=value.num_prompt_tokens,
        seed=value.seed,
        ttft_s=value.ttft_s,
        tokens_per_s=value.tokens_per_s,
        stages=[_share_to_pb(share) for share in value.stages],
        recoveries=[recovery_to_pb(recovery) for recovery in value.recoveries],
        reused_positions=value.reused_positions,
        guesses=None if value.guesses is None else _guesses_to_pb(value.guesses),
        sampling=None if value.sampling is None else sampling_to_pb(value.sampling),
    )


def summary_from_pb(pb: client_pb2.Summary) -> Summary:
    return Summary(
        model=pb.model,
        reason=FinishReason(pb.reason),
        tokens=tuple(pb.tokens),
        num_prompt_tokens=pb.num_prompt_tokens,
        seed=pb.seed,
        ttft_s=pb.ttft_s,
        tokens_per_s=pb.tokens_per_s,
        stages=tuple(_share_from_pb(share) for share in pb.stages),
        recoveries=tuple(recovery_from_pb(recovery) for recovery in pb.recoveries),
        reused_positions=pb.reused_positions,
        guesses=_guesses_from_pb(pb.guesses) if pb.HasField("guesses") else None,
        sampling=sampling_from_pb(pb.sampling) if pb.HasField("sampling") else None,
    )


def _guesses_to_pb(value: Guesses) -> client_pb2.Guesses:
    drafted = [
        client_pb2.Drafted(drafter=of.drafter, num_drafted=of.num_drafted, num_right=of.num_right)
        for of in value.drafted
    ]
    return client_pb2.Guesses(num_traversals=value.num_traversals, drafted=drafted)


def _guesses_from_pb(pb: client_pb2.Guesses) -> Guesses:
    drafted = (Drafted(of.drafter, of.num_drafted, of.num_right) for of in pb.drafted)
    return Guesses(pb.num_traversals, tuple(drafted))


def _share_to_pb(value: StageShare) -> client_pb2.StageShare:
    return client_pb2.StageShare(
        node_id=value.node_id,
        name=value.name,
        device_class=value.device_class,
        span=span_to_pb(value.span),
        weights_bytes=value.weights_bytes,
        memory_bytes=value.memory_bytes,
    )


def _share_from_pb(pb: client_pb2.StageShare) -> StageShare:
    return StageShare(
        node_id=NodeId(pb.node_id),
        name=pb.name,
        device_class=DeviceClass(pb.device_class),
        span=span_from_pb(pb.span),
        weights_bytes=pb.weights_bytes,
        memory_bytes=pb.memory_bytes,
    )
