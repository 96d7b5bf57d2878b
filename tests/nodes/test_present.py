"""The JSON fields and lines of devices that hand over, of standbys and of recoveries."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console
from rich.table import Table

from mesh.decision_json import plan_json
from mesh.types import (
    DeviceClass,
    Drafted,
    FinishReason,
    Guesses,
    NodeId,
    Recovery,
    Sampling,
    Span,
    StageShare,
)
from nodes.present import (
    answer_json,
    answer_line,
    device_json,
    devices_table,
    plan_table,
    recovery_line,
    remarks,
    speed_json,
)
from tests.nodes.shown import RECOVERY, WHOLE, device, plan, stage, summary
from tests.speeds import SPEED


def lines(table: Table) -> list[str]:
    console = Console(width=140)
    with console.capture() as captured:
        console.print(table)
    return captured.get().splitlines()


def test_a_device_tells_whether_plans_leave_it_out() -> None:
    value = device_json(device("tv", leaving="it is too hot", kept_out="it left 3 times in 60 s"))
    assert (value["leaving"], value["kept_out"]) == ("it is too hot", "it left 3 times in 60 s")
    assert (value["memory_bytes"], value["spare_bytes"]) == (100_000_000, 30_000_000)
    usual = device_json(device("tv"))
    assert (usual["leaving"], usual["kept_out"]) == (None, None)


def test_people_see_it_in_the_state_and_why_below() -> None:
    devices = [
        device("car", leaving="it is about to leave the house"),
        device("phone"),
        device("tv", leaving="it is too hot", kept_out="it left 3 times in 60 s"),
        device("phone", kept_out="it left 4 times in 60 s"),
    ]
    shown = "\n".join(lines(devices_table(devices)))
    assert [row.split("│")[3].strip() for row in shown.splitlines() if row.startswith("│")] == [
        "leaving",
        "alive",
        "leaving",
        "kept out",
    ]
    assert remarks(devices) == [
        "car is leaving: it is about to leave the house",
        "tv is leaving: it is too hot",
        "tv is kept out of plans: it left 3 times in 60 s",
        "phone is kept out of plans: it left 4 times in 60 s",
    ]


def test_a_device_tells_how_fast_it_is_once_that_was_measured() -> None:
    unknown = device("tv")
    assert unknown.status is not None
    known = replace(unknown, status=replace(unknown.status, speed=SPEED))
    assert [device_json(one)["decode_tokens_per_s"] for one in (unknown, known)] == [None, 100.0]
    assert [device_json(one)["speed"] for one in (unknown, known)] == [None, speed_json(SPEED)]
    shown = [row.split("│")[6].strip() for row in lines(devices_table([unknown, known])) if row[0] == "│"]
    assert shown == ["", "100"]


def test_a_plan_shows_its_standbys_after_its_stages() -> None:
    placed = plan(*WHOLE.stages, standbys=(stage("phone", 0, 10),))
    assert [row["name"] for row in plan_json(placed)["standbys"]] == ["phone"]  # type: ignore[attr-defined]
    assert plan_json(WHOLE)["standbys"] == []
    assert [line for line in lines(plan_table(placed)) if "[0, 10) standby" in line and "phone" in line]


def test_an_answer_tells_its_recoveries() -> None:
    assert answer_json("", summary(1))["recoveries"] == []
    assert answer_json("", summary(1, RECOVERY))["recoveries"] == [
        {
            "lost": ["tv"],
            "replacement": ["car"],
            "detect_s": 0.01,
            "stall_s": 0.3142,
            "replayed_positions": 45,
            "recomputed_layers": 0,
        }
    ]


def test_an_answer_tells_what_was_guessed() -> None:
    assert answer_json("", summary(1))["guesses"] is None
    guessed = replace(summary(1), guesses=Guesses(8, (Drafted("lookup", 12, 6), Drafted("mtp", 0, 0))))
    assert answer_json("", guessed)["guesses"] == {
        "drafted": 12,
        "accepted": 6,
        "traversals": 8,
        "accept_length": 1.75,
        "drafters": [
            {"drafter": "lookup", "drafted": 12, "accepted": 6},
            {"drafter": "mtp", "drafted": 0, "accepted": 0},
        ],
    }


def test_an_answer_tells_what_was_thought_and_how_it_was_drawn() -> None:
    plain = answer_json("Tokyo", summary(1))
    assert (plain["text"], plain["reasoning"], plain["sampling"]) == ("Tokyo", None, None)
    drawn = replace(summary(1), sampling=Sampling(temperature=0.6, top_p=0.95, seed=1))
    told = answer_json("Tokyo", drawn, "hm")
    assert (told["text"], told["reasoning"]) == ("Tokyo", "hm")
    assert told["sampling"] == {"temperature": 0.6, "top_k": None, "top_p": 0.95, "min_p": 0.0}


def test_an_answer_is_one_line_for_people() -> None:
    of_mesh = replace(
        summary(4), stages=(StageShare(NodeId("1" * 32), "tv", DeviceClass.TV, Span(0, 9), 1, 1),)
    )
    speed = "first after 0.10 s, then 20.0 a second"
    assert answer_line(of_mesh) == f"4 tokens, {speed}; tv [0, 9)"
    cut = replace(of_mesh, reason=FinishReason.LENGTH)
    assert answer_line(cut) == f"4 tokens, {speed}; cut at --max-tokens; tv [0, 9)"
    empty = replace(of_mesh, tokens=(), tokens_per_s=0.0)
    assert answer_line(empty) == "0 tokens, first after 0.10 s; tv [0, 9)"


def test_an_answer_of_a_server_is_one_line_without_tokens_and_with_its_name() -> None:
    speed = "first after 0.10 s, then 20.0 a second"
    assert answer_line(summary(0), "studio") == f"{speed}; the server studio"
    assert answer_line(summary(0)) == speed
    filtered = replace(summary(0), reason=FinishReason.FILTERED)
    assert answer_line(filtered, "studio") == f"{speed}; filtered; the server studio"


def test_an_answer_of_the_mesh_names_no_server_though_one_was_chosen() -> None:
    share = StageShare(NodeId("1" * 32), "tv", DeviceClass.TV, Span(0, 9), 1, 1)
    assert answer_line(replace(summary(4), stages=(share,)), "studio").endswith("second; tv [0, 9)")


def test_a_recovery_is_one_line_for_people() -> None:
    def line(lost: tuple[str, ...], replacement: tuple[str, ...]) -> str:
        return recovery_line(Recovery(lost, replacement, 0.1, 0.314, 0, 0))

    assert line(("tv",), ("car",)) == "tv was lost: 0.31 s pause; car goes on"
    two = "tv, hub and car were lost: 0.31 s pause; phone and watch go on"
    assert line(("tv", "hub", "car"), ("phone", "watch")) == two
    assert line((), ()) == "a connection was lost: 0.31 s pause"
