"""Rows of the page's tables: devices over time, links, requests.

Owns what stands in each cell, as words and as geometry. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.report.charts import Spark, spark
from simulator.report.words import clock, duration, number, size
from simulator.result import DeviceRecord, Flow, RequestRecord, RunResult
from simulator.script import DeviceScript
from simulator.trace import Event, Kind

_MOST_IN_MATRIX = 12
"""Devices whose names still fit above the columns."""
_COOL_C, _HOT_C = 20.0, 50.0
"""Range of the curves of temperature, where a run stays within it."""


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device in figures and curves."""

    device: DeviceScript
    record: DeviceRecord | None
    busy_part: float
    memory: Spark | None
    battery: Spark | None
    temperature: Spark | None


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One direction of one link."""

    flow: Flow
    part: float
    """Of the link that carried most."""


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One request in words."""

    number: int
    device: str
    asked: str
    first: str
    tokens: int
    per_token: str
    stages: int
    attempts: int
    outcome: str
    is_answered: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """Bytes from a row's device to a column's; the part is of the largest cell."""

    text: str
    part: float


@dataclass(frozen=True, slots=True)
class Matrix:
    """Bytes from every device to every other."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def device_rows(result: RunResult, devices: Sequence[DeviceScript]) -> tuple[DeviceRow, ...]:
    """Return a row for each device."""
    samples: dict[str, list[Event]] = {device.name: [] for device in devices}
    for event in result.events:
        if event.kind is Kind.SAMPLED and event.device in samples:
            samples[event.device].append(event)
    records = {record.name: record for record in result.devices}
    return tuple(
        _device_row(device, records.get(device.name), samples[device.name], result.ended_s)
        for device in devices
    )


def _device_row(
    device: DeviceScript, record: DeviceRecord | None, samples: Sequence[Event], end_s: float
) -> DeviceRow:
    degrees_c = _points(samples, "degrees_c")
    values_c = [value for _, value in degrees_c]
    return DeviceRow(
        device,
        record,
        record.busy_s / end_s if record and end_s > 0 else 0.0,
        spark(_points(samples, "memory_used_bytes"), end_s, 0.0, device.memory_bytes),
        spark(_points(samples, "battery"), end_s, 0.0, 1.0),
        spark(degrees_c, end_s, min([_COOL_C, *values_c]), max([_HOT_C, *values_c])),
    )


def _points(samples: Sequence[Event], name: str) -> list[tuple[float, float]]:
    return [(e.at_s, number(e.details[name])) for e in samples if e.details.get(name) is not None]


def link_rows(flows: Sequence[Flow]) -> tuple[LinkRow, ...]:
    """Return a row for each flow."""
    most = max((flow.num_bytes for flow in flows), default=0) or 1
    return tuple(LinkRow(flow, flow.num_bytes / most) for flow in flows)


def matrix(result: RunResult) -> Matrix | None:
    """Return who sent how much to whom; None for more devices than fit."""
    names = tuple(device.name for device in result.script.devices)
    if not result.flows or len(names) > _MOST_IN_MATRIX:
        return None
    carried = {(flow.source, flow.target): flow.num_bytes for flow in result.flows}
    most = max(carried.values()) or 1
    rows = [
        (source, tuple(_cell(carried.get((source, target)), most) for target in names)) for source in names
    ]
    return Matrix(names, tuple(rows))


def _cell(num_bytes: int | None, most: int) -> Cell:
    return Cell("", 0.0) if num_bytes is None else Cell(size(num_bytes), num_bytes / most)


def request_rows(requests: Sequence[RequestRecord]) -> tuple[RequestRow, ...]:
    """Return a row for each request."""
    return tuple(
        RequestRow(
            number=request.number,
            device=request.device,
            asked=clock(request.asked_s),
            first=duration(request.ttft_s),
            tokens=len(request.token_times_s),
            per_token=duration(request.tpot_s),
            stages=request.num_stages,
            attempts=request.num_attempts,
            outcome=_outcome(request),
            is_answered=request.is_answered,
        )
        for request in requests
    )


def _outcome(request: RequestRecord) -> str:
    if request.ended_s is None:
        return "still under way at the end"
    return f"{request.error or 'answered'} at {clock(request.ended_s)}"
