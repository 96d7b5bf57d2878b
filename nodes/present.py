"""How devices, plans and answers are shown: tables for people, plain values for JSON.

Owns the names of the JSON fields, which are stable. Must not know where the values come from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mesh.types import (
    Device,
    FinishReason,
    Guesses,
    NodeState,
    Plan,
    PlannedStage,
    Recovery,
    Sampling,
    SamplingField,
    SpeedRecord,
    StageShare,
    StepSpeed,
    Summary,
)
from nodes.memory_size import format_memory_size
from nodes.terminal import escaped_json, in_one_line

Json = Mapping[str, object] | Sequence[Mapping[str, object]]

_LEAST_COLUMN = 8  # letters of a name that a narrow terminal still shows in one line
_STATE_STYLES = {
    NodeState.JOINED: "cyan",
    NodeState.ALIVE: "green",
    NodeState.SUSPECT: "yellow",
    NodeState.LOST: "red",
    NodeState.LEFT: "dim",
}
_ENDS = {FinishReason.LENGTH: "cut at --max-tokens", FinishReason.FILTERED: "filtered"}
"""What is said of an answer that its model did not end."""


def print_json(value: Json) -> None:
    """Print one JSON value on standard output."""
    click.echo(escaped_json(json.dumps(value, indent=2, ensure_ascii=False)))


def print_table(table: Table) -> None:
    """Print a table on standard output."""
    Console().print(table)


def cell(text: str) -> str:
    """What another device tells, as it may stand in a table: neither markup nor controls mean anything."""
    return escape(in_one_line(text))


def device_json(device: Device) -> dict[str, object]:
    """A line of `mesh devices --json`."""
    record, status, speed = device.record, device.status, _speed(device)
    return {
        "name": record.name,
        "class": record.device_class,
        "node_id": record.node_id,
        "address": str(record.address),
        "state": device.state,
        "leaving": status.leaving if status else None,
        "kept_out": device.kept_out,
        "discovered_by": device.source,
        "memory_bytes": status.memory_bytes if status else None,
        "spare_bytes": status.spare_bytes if status else None,
        "used_bytes": status.used_bytes if status else None,
        "num_sessions": status.num_sessions if status else None,
        "decode_tokens_per_s": round(speed.decode_tokens_per_s, 1) if speed else None,
        "speed": speed_json(speed) if speed else None,
        "models": [model.name for model in status.models] if status else [],
        "stages": [
            {"span": [stage.key.span.start, stage.key.span.end], "weights_bytes": stage.weights_bytes}
            for stage in (status.stages if status else ())
        ],
    }


def _speed(device: Device) -> SpeedRecord | None:
    """What a device announces of its speed; None where that is nothing, or nonsense."""
    speed = device.status.speed if device.status else None
    return speed if speed is not None and speed.is_sound else None


def speed_json(speed: SpeedRecord) -> dict[str, object]:
    """`mesh bench device --json`."""
    return {
        "version": speed.version,
        "engine": speed.engine,
        "kind": speed.kind,
        "num_threads": speed.num_threads,
        "model": speed.model,
        "precision": speed.precision,
        "num_layers": speed.num_layers,
        "layer_bytes": speed.layer_bytes,
        "steps": [_step_json(speed, step) for step in speed.steps],
        "prefill_layer_row_s": speed.prefill_layer_row_s,
        "decode_tokens_per_s": round(speed.decode_tokens_per_s, 2),
        "prefill_tokens_per_s": round(speed.prefill_tokens_per_s, 1),
        "further_session_s": speed.further_session_s,
        "weights_rate_bytes_per_s": round(speed.weights_rate_bytes_per_s),
        "memory_rate_bytes_per_s": round(speed.memory_rate_bytes_per_s),
    }


def _step_json(speed: SpeedRecord, step: StepSpeed) -> dict[str, object]:
    return {
        "num_sessions": step.num_sessions,
        "layer_s": step.layer_s,
        "head_s": step.head_s,
        "step_s": speed.step_s(step),
        "tokens_per_s": round(step.num_sessions / speed.step_s(step), 2),
    }


def speed_table(speed: SpeedRecord) -> Table:
    """What a step costs this device, by the sessions in it; `mesh bench device` for people."""
    table = Table("sessions", "a layer", "the head", "a step", "tokens/s together")
    for step in speed.steps:
        table.add_row(
            str(step.num_sessions),
            f"{1e3 * step.layer_s:.3f} ms",
            f"{1e3 * step.head_s:.2f} ms",
            f"{1e3 * speed.step_s(step):.1f} ms",
            f"{step.num_sessions / speed.step_s(step):.1f}",
        )
    return table


def speed_lines(speed: SpeedRecord) -> list[str]:
    """What is beside the table of `mesh bench device`."""
    layer_us = 1e6 * speed.prefill_layer_row_s
    weights, memory = speed.weights_rate_bytes_per_s, speed.memory_rate_bytes_per_s
    return [
        f"{speed.model} in {speed.precision} by the {speed.engine} engine ({speed.kind}), "
        f"{speed.num_threads} {'thread' if speed.num_threads == 1 else 'threads'}",
        f"prefill: {speed.prefill_tokens_per_s:.0f} tokens/s, {layer_us:.1f} us a layer and token",
        f"one more session adds {1e3 * speed.further_session_s:.1f} ms to a step",
        f"weights are read with {weights / 1e9:.1f} GB/s; memory copies with {memory / 1e9:.1f} GB/s",
    ]


def devices_table(devices: Sequence[Device]) -> Table:
    """`mesh devices` for people."""
    table = Table("device", "class", "state", "memory", "in use", "tok/s", "layers", "address", "node")
    for column in table.columns:
        column.no_wrap = True
    for column in (table.columns[0], table.columns[6]):  # long names, and many spans
        column.no_wrap, column.overflow, column.min_width = False, "fold", _LEAST_COLUMN
    for device in devices:
        status, speed = device.status, _speed(device)
        table.add_row(
            cell(device.record.name),
            device.record.device_class,
            _state_cell(device),
            format_memory_size(status.memory_bytes) if status else "",
            format_memory_size(status.used_bytes) if status and status.used_bytes else "",
            f"{speed.decode_tokens_per_s:.0f}" if speed else "",
            ", ".join(str(stage.key.span) for stage in status.stages) if status else "",
            cell(str(device.record.address)),
            cell(device.record.node_id[:6]),
        )
    return table


def _state_cell(device: Device) -> str:
    """What the viewer believes of a device, and whether plans leave it out; the reasons are in `remarks`."""
    if device.status and device.status.leaving is not None:
        return "[yellow]leaving[/]"
    if device.kept_out is not None:
        return "[yellow]kept out[/]"
    return f"[{_STATE_STYLES[device.state]}]{device.state}[/]"


def remarks(devices: Sequence[Device]) -> list[str]:
    """A line for each reason why plans leave a device out though it is there, or do not believe it."""
    lines = []
    for device in devices:
        if device.status and device.status.leaving is not None:
            lines.append(f"{device.record.name} is leaving: {device.status.leaving}")
        if device.kept_out is not None:
            lines.append(f"{device.record.name} is kept out of plans: {device.kept_out}")
        if device.status and device.status.speed is not None and _speed(device) is None:
            lines.append(f"{device.record.name} announces figures that are no speeds: they count for nothing")
    return [in_one_line(line) for line in lines]


def plan_line(plan: Plan) -> str:
    """A plan in a line, above its table."""
    kind = "one device" if len(plan.stages) == 1 else f"{len(plan.stages)} devices"
    return in_one_line(f"{plan.model.name} on {kind}, {plan.precision}, {plan.context} tokens of context")


def plan_table(plan: Plan) -> Table:
    """`mesh plan` for people."""
    table = Table("device", "class", "layers", "weights", "cache")
    for stage in plan.stages:
        table.add_row(*_planned_row(stage, str(stage.span)))
    for stage in plan.standbys:
        table.add_row(*_planned_row(stage, f"{stage.span} standby"), style="dim")
    return table


def _planned_row(stage: PlannedStage, layers: str) -> tuple[str, ...]:
    return (
        cell(stage.node.name),
        stage.node.device_class,
        layers,
        format_memory_size(stage.weights_bytes),
        format_memory_size(stage.cache_bytes),
    )


def answer_json(text: str, summary: Summary, reasoning: str = "") -> dict[str, object]:
    """`mesh ask --json`; `reasoning`: what was thought before the answer."""
    return {
        "model": summary.model,
        "text": text,
        "reasoning": reasoning or None,
        "tokens": list(summary.tokens),
        "reason": summary.reason,
        "seed": summary.seed,
        "sampling": _sampling_json(summary.sampling) if summary.sampling else None,
        "num_prompt_tokens": summary.num_prompt_tokens,
        "ttft_s": round(summary.ttft_s, 4),
        "tokens_per_s": round(summary.tokens_per_s, 2),
        "devices": [share_json(share) for share in summary.stages],
        "recoveries": [recovery_json(recovery) for recovery in summary.recoveries],
        "guesses": guesses_json(summary.guesses) if summary.guesses else None,
    }


def _sampling_json(sampling: Sampling) -> dict[str, object]:
    return {field.value: getattr(sampling, field) for field in SamplingField}


def guesses_json(guesses: Guesses) -> dict[str, object]:
    """What was guessed ahead in an answer."""
    return {
        "drafted": guesses.num_drafted,
        "accepted": guesses.num_right,
        "traversals": guesses.num_traversals,
        "accept_length": round(guesses.accept_length, 3),
        "drafters": [
            {"drafter": of.drafter, "drafted": of.num_drafted, "accepted": of.num_right}
            for of in guesses.drafted
        ],
    }


def share_json(share: StageShare) -> dict[str, object]:
    """A device's part in an answer."""
    return {
        "name": share.name,
        "class": share.device_class,
        "node_id": share.node_id,
        "memory_bytes": share.memory_bytes,
        "span": [share.span.start, share.span.end],
        "weights_bytes": share.weights_bytes,
    }


def recovery_json(recovery: Recovery) -> dict[str, object]:
    """How an answer went on after a loss."""
    return {
        "lost": list(recovery.lost),
        "replacement": list(recovery.replacement),
        "detect_s": round(recovery.detect_s, 4),
        "stall_s": round(recovery.stall_s, 4),
        "replayed_positions": recovery.replayed_positions,
        "recomputed_layers": recovery.recomputed_layers,
    }


def kill_line(name: str, num_tokens: int) -> str:
    """'tv was killed after token 8'."""
    return f"{name} was killed after token {num_tokens}"


def recovery_line(recovery: Recovery) -> str:
    """A recovery for people: 'tv was lost: 0.31 s pause; car goes on'."""
    lost, were = _listed(recovery.lost) or "a connection", "were" if len(recovery.lost) > 1 else "was"
    line = f"{lost} {were} lost: {recovery.stall_s:.2f} s pause"
    go = "go" if len(recovery.replacement) > 1 else "goes"
    return in_one_line(f"{line}; {_listed(recovery.replacement)} {go} on" if recovery.replacement else line)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def answer_line(summary: Summary, server: str | None = None) -> str:
    """One line about an answer, for people; `server`: who gave it, where no device did.

    A server tells no tokens, so they are not counted there.
    """
    devices = " → ".join(f"{share.name} {share.span}" for share in summary.stages)
    where = devices or (f"the server {server}" if server else "")
    parts = (_pace(summary), _ENDS.get(summary.reason, ""), where)
    return in_one_line("; ".join(filter(None, parts)))


def _pace(summary: Summary) -> str:
    is_counted = summary.tokens or summary.stages
    count = f"{len(summary.tokens)} tokens" if is_counted else ""
    rate = f"then {summary.tokens_per_s:.1f} a second" if summary.tokens_per_s else ""
    return ", ".join(filter(None, (count, f"first after {summary.ttft_s:.2f} s", rate)))
