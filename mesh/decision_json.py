"""Plans and decisions as plain values, for the JSON of command lines.

Owns the names of the fields, which are stable.
"""

from __future__ import annotations

from mesh.decision import Decision, Explanation, Option, OptionKind, Prediction
from mesh.types import Plan, PlannedStage

_NO_PLAN: dict[str, object] = {
    "model": None,
    "precision": None,
    "context": None,
    "stages": [],
    "standbys": [],
}


def explanation_json(explanation: Explanation) -> dict[str, object]:
    """`mesh plan --json`."""
    plan, decision = followed(explanation), explanation.decision
    placed = plan_json(plan) if plan else _NO_PLAN
    return {**placed, "model": decision.model, "decision": decision_json(decision)}


def followed(explanation: Explanation) -> Plan | None:
    """The mesh's plan where the mesh answers; None where a server does, or nobody."""
    chosen = explanation.decision.chosen
    is_mesh = chosen is not None and chosen.kind is not OptionKind.UPSTREAM
    return explanation.plan if is_mesh else None


def plan_json(plan: Plan) -> dict[str, object]:
    """`mesh plan --json`."""
    return {
        "model": plan.model.name,
        "precision": plan.precision,
        "context": plan.context,
        "stages": [_planned_json(stage) for stage in plan.stages],
        "standbys": [_planned_json(stage) for stage in plan.standbys],
    }


def _planned_json(stage: PlannedStage) -> dict[str, object]:
    return {
        "name": stage.node.name,
        "class": stage.node.device_class,
        "node_id": stage.node.node_id,
        "span": [stage.span.start, stage.span.end],
        "weights_bytes": stage.weights_bytes,
        "cache_bytes": stage.cache_bytes,
    }


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
