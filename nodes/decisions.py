"""How decisions are shown: a sentence and a table for people, plain values for JSON.

Owns the names of the JSON fields, which are stable. Must not know how anything is decided.
"""

from __future__ import annotations

import click
from rich.table import Table

from mesh.decision import Decision, Explanation, Option, OptionKind, Prediction
from mesh.logic.explaining import seconds
from mesh.types import Plan
from nodes.present import cell, plan_json, plan_line, plan_table, print_json, print_table
from nodes.terminal import in_one_line

_NO_PLAN: dict[str, object] = {
    "model": None,
    "precision": None,
    "context": None,
    "stages": [],
    "standbys": [],
}


def print_explanation(explanation: Explanation, *, as_json: bool) -> None:
    """Print how a request would be answered, and why."""
    plan, decision = _followed(explanation), explanation.decision
    if as_json:
        placed = plan_json(plan) if plan else _NO_PLAN
        print_json({**placed, "model": decision.model, "decision": decision_json(decision)})
        return
    click.echo("\n".join(map(in_one_line, (decision.reason, *decision.notes))))
    if plan is not None:
        click.echo(plan_line(plan))
        print_table(plan_table(plan))
    print_table(options_table(decision))


def _followed(explanation: Explanation) -> Plan | None:
    """The mesh's plan where the mesh answers; None where a server does, or nobody."""
    chosen = explanation.decision.chosen
    is_mesh = chosen is not None and chosen.kind is not OptionKind.UPSTREAM
    return explanation.plan if is_mesh else None


def decision_json(decision: Decision) -> dict[str, object]:
    """What was decided, as in `mesh explain --json`."""
    chosen = decision.chosen
    return {
        "model": decision.model,
        "privacy": decision.privacy,
        "num_prompt_tokens": decision.num_prompt,
        "reason": decision.reason,
        "chosen": chosen.name if chosen else None,
        "notes": list(decision.notes),
        "options": [_option_json(option) for option in decision.options],
    }


def _option_json(option: Option) -> dict[str, object]:
    return {
        "kind": option.kind,
        "name": option.name,
        "model": option.model,
        "shares": [{"name": s.name, "span": [s.span.start, s.span.end]} for s in option.shares],
        "prediction": _prediction_json(option.prediction) if option.prediction else None,
        "excluded": option.excluded,
        "waits_for": option.waits_for,
    }


def _prediction_json(prediction: Prediction) -> dict[str, object]:
    return {
        "load_s": round(prediction.load_s, 4),
        "first_token_s": round(prediction.first_token_s, 4),
        "token_s": round(prediction.token_s, 6),
        "num_tokens": prediction.num_tokens,
        "last_token_s": round(prediction.last_token_s, 4),
        "energy_j": round(prediction.energy_j, 2),
        "battery_j": round(prediction.battery_j, 2),
    }


def options_table(decision: Decision) -> Table:
    """The ways to answer, the best first."""
    table = Table("way", "first token", "tokens/s", "all in", "what is in the way")
    for option in decision.options:
        style = "bold" if option is decision.chosen else "dim" if option.excluded else ""
        table.add_row(cell(option.name), *_figures(option.prediction), cell(_in_the_way(option)), style=style)
    return table


def _in_the_way(option: Option) -> str:
    if option.excluded is not None:
        return option.excluded
    return f"the memory of {option.waits_for} is in use" if option.waits_for else ""


def _figures(prediction: Prediction | None) -> tuple[str, str, str]:
    if prediction is None:
        return "", "", ""
    rate = 1 / prediction.token_s if prediction.token_s > 0 else 0.0
    return f"{seconds(prediction.first_token_s, 2)} s", f"{rate:.1f}", f"{seconds(prediction.last_token_s)} s"
