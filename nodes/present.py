"""How devices, plans and answers are shown: tables for people, plain values for JSON.

Owns the names of the JSON fields, which are stable. Must not know where the values come from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import click
from rich.console import Console
from rich.table import Table

from mesh.types import Device, NodeState, Plan, StageShare, Summary
from nodes.memory_size import format_memory_size

Json = Mapping[str, object] | Sequence[Mapping[str, object]]

_STATE_STYLES = {
    NodeState.JOINED: "cyan",
    NodeState.ALIVE: "green",
    NodeState.SUSPECT: "yellow",
    NodeState.LOST: "red",
    NodeState.LEFT: "dim",
}


def print_json(value: Json) -> None:
    """Print one JSON value on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(table: Table) -> None:
    """Print a table on standard output."""
    Console().print(table)


def device_json(device: Device) -> dict[str, object]:
    """A line of `mesh devices --json`."""
    record, status = device.record, device.status
    return {
        "name": record.name,
        "class": record.device_class,
        "node_id": record.node_id,
        "address": str(record.address),
        "state": device.state,
        "discovered_by": device.source,
        "memory_bytes": status.memory_bytes if status else None,
        "used_bytes": status.used_bytes if status else None,
        "num_sessions": status.num_sessions if status else None,
        "models": [model.name for model in status.models] if status else [],
        "stages": [
            {"span": [stage.key.span.start, stage.key.span.end], "weights_bytes": stage.weights_bytes}
            for stage in (status.stages if status else ())
        ],
    }


def devices_table(devices: Sequence[Device]) -> Table:
    """`mesh devices` for people."""
    table = Table("device", "class", "state", "memory", "in use", "layers", "address", "node")
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.no_wrap = True
    for device in devices:
        status, style = device.status, _STATE_STYLES[device.state]
        table.add_row(
            device.record.name,
            device.record.device_class,
            f"[{style}]{device.state}[/]",
            format_memory_size(status.memory_bytes) if status else "",
            format_memory_size(status.used_bytes) if status and status.used_bytes else "",
            ", ".join(str(stage.key.span) for stage in status.stages) if status else "",
            str(device.record.address),
            device.record.node_id[:6],
        )
    return table


def plan_json(plan: Plan) -> dict[str, object]:
    """`mesh plan --json`."""
    return {
        "model": plan.model.name,
        "precision": plan.precision,
        "context": plan.context,
        "stages": [
            {
                "name": stage.node.name,
                "class": stage.node.device_class,
                "node_id": stage.node.node_id,
                "span": [stage.span.start, stage.span.end],
                "weights_bytes": stage.weights_bytes,
                "cache_bytes": stage.cache_bytes,
            }
            for stage in plan.stages
        ],
    }


def plan_line(plan: Plan) -> str:
    """A plan in a line, above its table."""
    kind = "one device" if len(plan.stages) == 1 else f"{len(plan.stages)} devices"
    return f"{plan.model.name} on {kind}, {plan.precision}, {plan.context} tokens of context"


def plan_table(plan: Plan) -> Table:
    """`mesh plan` for people."""
    table = Table("device", "class", "layers", "weights", "cache")
    for stage in plan.stages:
        table.add_row(
            stage.node.name,
            stage.node.device_class,
            str(stage.span),
            format_memory_size(stage.weights_bytes),
            format_memory_size(stage.cache_bytes),
        )
    return table


def answer_json(text: str, summary: Summary) -> dict[str, object]:
    """`mesh ask --json`."""
    return {
        "model": summary.model,
        "text": text,
        "tokens": list(summary.tokens),
        "reason": summary.reason,
        "seed": summary.seed,
        "num_prompt_tokens": summary.num_prompt_tokens,
        "ttft_s": round(summary.ttft_s, 4),
        "tokens_per_s": round(summary.tokens_per_s, 2),
        "devices": [share_json(share) for share in summary.stages],
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


def answer_line(summary: Summary) -> str:
    """One line about an answer, for people."""
    where = " → ".join(f"{share.name} {share.span}" for share in summary.stages)
    cut = " (cut at --max-tokens)" if summary.reason == "length" else ""
    return (
        f"{len(summary.tokens)} tokens{cut}, first after {summary.ttft_s:.2f} s, "
        f"then {summary.tokens_per_s:.1f} a second; {where}"
    )
