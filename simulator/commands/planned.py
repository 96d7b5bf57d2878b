"""How a plan is shown to people: a sentence and tables.

Must not know how a plan is made. As plain values it is in `mesh.decision_json`.
"""

from __future__ import annotations

from rich.table import Table

from mesh.decision import Decision, Explanation, Prediction
from mesh.logic.explaining import seconds
from mesh.types import Plan
from simulator.report.words import size


def plan_words(explanation: Explanation) -> list[str]:
    """What stands above the tables."""
    lines = [explanation.decision.reason, *explanation.decision.notes]
    return lines if explanation.plan is None else [*lines, _plan_line(explanation.plan)]


def _plan_line(plan: Plan) -> str:
    kind = "one device" if len(plan.stages) == 1 else f"{len(plan.stages)} devices"
    return f"{plan.model.name} on {kind}, {plan.precision}, {plan.context} tokens of context"


def plan_tables(explanation: Explanation) -> list[Table]:
    """Who holds what, and the ways that there are, the best first."""
    return [_stages_table(explanation.plan), _options_table(explanation.decision)]


def _stages_table(plan: Plan | None) -> Table:
    table = Table("device", "class", "layers", "weights", "cache")
    for stage in plan.stages if plan else ():
        sizes = size(stage.weights_bytes), size(stage.cache_bytes)
        table.add_row(stage.node.name, stage.node.device_class, str(stage.span), *sizes)
    return table


def _options_table(decision: Decision) -> Table:
    table = Table("way", "first token", "tokens/s", "all in", "what is in the way")
    for option in decision.options:
        style = "bold" if option is decision.chosen else "dim" if option.excluded else ""
        table.add_row(option.name, *_figures(option.prediction), option.excluded or "", style=style)
    return table


def _figures(prediction: Prediction | None) -> tuple[str, str, str]:
    if prediction is None:
        return "", "", ""
    rate = 1 / prediction.token_s if prediction.token_s > 0 else 0.0
    return f"{seconds(prediction.first_token_s, 2)} s", f"{rate:.1f}", f"{seconds(prediction.last_token_s)} s"
