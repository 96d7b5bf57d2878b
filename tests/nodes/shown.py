"""Plans, routes and recoveries as a demo of three devices would meet them."""

from __future__ import annotations

from mesh.messages import PROTOCOL, Piece, Routed
from mesh.types import (
    Address,
    Device,
    DeviceClass,
    Digest,
    FinishReason,
    ModelRef,
    NodeId,
    NodeRecord,
    NodeState,
    NodeStatus,
    Plan,
    PlannedStage,
    Precision,
    Recovery,
    SessionId,
    Source,
    Span,
    Summary,
)
from nodes.demo.household import DemoDevice

DEVICES = tuple(DemoDevice(name, DeviceClass(name), 100_000_000) for name in ("phone", "car", "tv"))


def record(name: str) -> NodeRecord:
    index = ("phone", "car", "tv").index(name) + 1
    return NodeRecord(
        node_id=NodeId(f"{index:032x}"),
        name=name,
        device_class=DeviceClass(name),
        address=Address("127.0.0.1", 7000 + index),
        mesh="home",
        version=PROTOCOL,
        incarnation=1,
    )


def device(name: str, *, leaving: str | None = None, kept_out: str | None = None) -> Device:
    status = NodeStatus(100_000_000, 0, spare_bytes=30_000_000, leaving=leaving)
    return Device(record(name), NodeState.ALIVE, Source.MDNS, status, kept_out)


def stage(name: str, start: int, end: int) -> PlannedStage:
    return PlannedStage(record(name), Span(start, end), 40_000_000, 8_000_000)


def plan(*stages: PlannedStage, standbys: tuple[PlannedStage, ...] = ()) -> Plan:
    return Plan(ModelRef("smollm2:135m", Digest("a" * 64)), Precision.INT4, 1024, stages, standbys)


WHOLE = plan(stage("car", 0, 10), stage("phone", 10, 20), stage("tv", 20, 30))
WITHOUT_TV = plan(stage("car", 0, 10), stage("phone", 10, 20), stage("car", 20, 30))

RECOVERY = Recovery(("tv",), ("car",), 0.01, 0.314159, 45, 0)


def routed(way: Plan, recovery: Recovery | None = None) -> Routed:
    return Routed(1, SessionId("5" * 16), 0 if recovery is None else 1, way, (), recovery)


def piece(text: str, *tokens: int) -> Piece:
    return Piece(1, text, tokens)


def summary(num_tokens: int, *recoveries: Recovery) -> Summary:
    tokens = tuple(range(num_tokens))
    return Summary("smollm2:135m", FinishReason.STOP, tokens, 37, 1, 0.1, 20.0, (), recoveries)
