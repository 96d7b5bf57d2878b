"""How decisions are shown to people: a sentence and a table.

Must not know how anything is decided. As plain values they are in `mesh.decision_json`.
"""

from __future__ import annotations

import click
from rich.table import Table

from mesh.decision import Decision, Explanation, Option, Prediction
from mesh.decision_json import explanation_json, followed
from mesh.logic.explaining import seconds
from nodes.present import cell, plan_line, plan_table, print_json, print_table
from nodes.terminal import in_one_line


def print_explanation(explanation: Explanation, *, as_json: bool) -> None:
    """Print how a request would be answered, and why."""
    if as_json:
        print_json(explanation_json(explanation))
        return
    plan, decision = followed(explanation), explanation.decision
    click.echo("\n".join(map(in_one_line, (decision.reason, *decision.notes))))
    if plan is not None:
        click.echo(plan_line(plan))
        print_table(plan_table(plan))
    print_table(options_table(decision))


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
