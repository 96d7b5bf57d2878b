"""How decisions are shown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mesh.decision import Decision, Explanation, Option, OptionKind, Prediction, Privacy, Share
from mesh.decision_json import decision_json, plan_json
from mesh.types import Span
from nodes.decisions import print_explanation
from tests.nodes.shown import WHOLE

DECISION = Decision(
    model="tiny",
    privacy=Privacy.CLOUD,
    num_prompt=20,
    options=(
        Option(
            OptionKind.SPLIT,
            "tiny",
            (Share("tv", Span(0, 5)), Share("car", Span(5, 12))),
            prediction=Prediction(0.5, 0.25, 0.02, 101, 12.0, 4.5),
            waits_for="car",
        ),
        Option(OptionKind.UPSTREAM, "tiny", upstream="studio"),
        Option(OptionKind.DEVICE, "tiny", (Share("fridge", Span(0, 12)),), excluded="it is lost"),
    ),
    reason="tv + car share the layers",
    notes=("car: it claims much",),
)


NOBODY: dict[str, object] = {
    "model": "tiny",
    "precision": None,
    "context": None,
    "stages": [],
    "standbys": [],
}
"""What JSON has of a plan where the mesh does not answer."""


def test_the_fields_of_a_decision() -> None:
    shown = decision_json(DECISION)
    options = shown.pop("options")
    assert shown == {
        "model": "tiny",
        "privacy": "cloud",
        "num_prompt_tokens": 20,
        "reason": "tv + car share the layers",
        "chosen": "tv + car",
        "notes": ["car: it claims much"],
    }
    assert options == [
        {
            "kind": "split",
            "name": "tv + car",
            "model": "tiny",
            "shares": [{"name": "tv", "span": [0, 5]}, {"name": "car", "span": [5, 12]}],
            "prediction": {
                "load_s": 0.5,
                "first_token_s": 0.75,
                "token_s": 0.02,
                "num_tokens": 101,
                "last_token_s": 2.75,
                "energy_j": 12.0,
                "battery_j": 4.5,
            },
            "excluded": None,
            "waits_for": "car",
        },
        {
            "kind": "upstream",
            "name": "studio",
            "model": "tiny",
            "shares": [],
            "prediction": None,
            "excluded": None,
            "waits_for": None,
        },
        {
            "kind": "device",
            "name": "fridge",
            "model": "tiny",
            "shares": [{"name": "fridge", "span": [0, 12]}],
            "prediction": None,
            "excluded": "it is lost",
            "waits_for": None,
        },
    ]


def test_for_people_the_sentence_the_notes_and_each_way(capsys: pytest.CaptureFixture[str]) -> None:
    print_explanation(Explanation(DECISION, None), as_json=False)
    shown = capsys.readouterr().out
    assert shown.startswith("tv + car share the layers\ncar: it claims much\n")
    for text in ("0.75 s", "50.0", "2.8 s", "studio", "it is lost", "memory of car is in use"):
        assert text in shown


def test_in_json_there_is_one_object_also_where_nobody_of_the_mesh_answers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_explanation(Explanation(DECISION, None), as_json=True)
    assert json.loads(capsys.readouterr().out) == NOBODY | {"decision": decision_json(DECISION)}


def test_a_plan_is_shown_where_the_mesh_answers(capsys: pytest.CaptureFixture[str]) -> None:
    print_explanation(Explanation(DECISION, WHOLE), as_json=False)
    assert "on 3 devices, int4" in capsys.readouterr().out
    print_explanation(Explanation(DECISION, WHOLE), as_json=True)
    value = json.loads(capsys.readouterr().out)
    assert list(value) == ["model", "precision", "context", "stages", "standbys", "decision"]
    assert value == plan_json(WHOLE) | {"model": "tiny", "decision": decision_json(DECISION)}


def test_where_a_server_answers_no_plan_is_shown_as_if_it_were_used(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mesh, server, out = DECISION.options
    served = replace(DECISION, options=(server, mesh, out), reason="the server studio answers")
    print_explanation(Explanation(served, WHOLE), as_json=False)
    shown = capsys.readouterr().out
    assert "the server studio answers" in shown
    assert "on 3 devices" not in shown
    assert "weights" not in shown
    print_explanation(Explanation(served, WHOLE), as_json=True)
    assert json.loads(capsys.readouterr().out) == NOBODY | {"decision": decision_json(served)}


def test_less_than_a_second_is_shown_with_two_digits(capsys: pytest.CaptureFixture[str]) -> None:
    quick = replace(DECISION.options[0], prediction=Prediction(0.0, 0.0123, 0.001, 11))
    print_explanation(Explanation(replace(DECISION, options=(quick,)), None), as_json=False)
    shown = capsys.readouterr().out
    assert "0.012 s" in shown
    assert "0.022 s" in shown


def test_a_name_with_brackets_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    option = Option(OptionKind.DEVICE, "tiny", (Share("tv[/x]", Span(0, 12)),), excluded="[bold]no")
    print_explanation(Explanation(Decision("tiny", Privacy.MESH, 1, (option,), "no"), None), as_json=False)
    shown = capsys.readouterr().out
    assert "tv[/x]" in shown
    assert "[bold]no" in shown
