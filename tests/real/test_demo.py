"""`mesh demo` as a person runs it: three processes, one answer, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mesh.spec import ModelSpec
from mesh.types import Precision, Span
from tests.real.processes import COMMAND, Finished, mesh, processes_with, the_line, until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.model]

QUESTION = "What is the capital of Japan?"


@pytest.fixture(scope="module")
def shown(data_dir: Path) -> dict[str, Any]:
    demo = mesh("demo", "--json", "--prompt", QUESTION, "--seed", "1", "--data-dir", str(data_dir))
    assert demo.code == 0, demo.err
    return demo.json


def test_the_answer_names_tokyo(shown: dict[str, Any]) -> None:
    assert "Tokyo" in shown["text"]
    assert shown["model"] == "smollm2:135m"
    assert shown["seed"] == 1
    assert shown["num_prompt_tokens"] == 37
    assert shown["tokens"] == [504, 3575, 282, 3085, 314, 19081, 30]
    assert shown["tokens_per_s"] > 0
    assert 0 < shown["ttft_s"] < shown["start_to_first_token_s"]


def test_the_devices_share_the_model(shown: dict[str, Any]) -> None:
    devices = shown["devices"]
    assert sorted(device["name"] for device in devices) == ["car", "phone", "tv"]
    assert all(device["class"] == device["name"] for device in devices)
    assert all(device["discovered_by"] == "mdns" for device in devices)
    assert len({device["node_id"] for device in devices}) == 3
    spans = [device["span"] for device in devices]
    assert spans[0][0] == 0
    assert spans[-1][1] == 30
    assert all(before[1] == after[0] for before, after in pairwise(spans))


def test_each_device_holds_its_share_and_could_not_hold_the_model(
    shown: dict[str, Any], smollm2_spec: ModelSpec
) -> None:
    whole = smollm2_spec.weights_bytes(smollm2_spec.whole, Precision.INT4)
    for device in shown["devices"]:
        span = Span(*device["span"])
        assert device["weights_bytes"] == smollm2_spec.weights_bytes(span, Precision.INT4)
        assert device["weights_bytes"] <= device["memory_bytes"] < whole


def test_nothing_is_left_behind(shown: dict[str, Any]) -> None:
    assert shown["devices"]
    assert processes_with("--until-eof") == []


def killing(data_dir: Path, *kills: str, options: tuple[str, ...] = ()) -> Finished:
    words = [word for kill in kills for word in ("--kill", kill)]
    seeded = ("--json", "--prompt", QUESTION, "--seed", "1", "--data-dir", str(data_dir))
    return mesh("demo", *seeded, *words, *options)


@pytest.mark.parametrize("standby", ["none", "all"])
@pytest.mark.parametrize("name", ["phone", "car", "tv"])
def test_a_killed_device_costs_no_token(
    shown: dict[str, Any], data_dir: Path, name: str, standby: str
) -> None:
    demo = killing(data_dir, f"{name}@3", options=("--standby", standby))
    assert demo.code == 0, demo.err
    value: dict[str, Any] = demo.json
    assert (value["tokens"], value["text"]) == (shown["tokens"], shown["text"])
    assert name not in [device["name"] for device in value["devices"]]
    (recovery,) = value["recoveries"]
    assert recovery["lost"] == [name]
    assert set(recovery["replacement"]) <= {"phone", "car", "tv"} - {name}
    assert 0 <= recovery["detect_s"] <= recovery["stall_s"]
    assert recovery["recomputed_layers"] == 0
    assert processes_with("--until-eof") == []


def test_an_undisturbed_demo_recovers_from_nothing(shown: dict[str, Any]) -> None:
    assert shown["recoveries"] == []


def test_an_answer_too_short_to_kill_anybody_is_shown_and_told(data_dir: Path) -> None:
    demo = killing(data_dir, "tv@20")
    assert (demo.code, demo.json["recoveries"]) == (1, [])
    assert demo.err == "mesh: the answer had only 7 tokens, so tv was not killed\n"


def test_standbys_that_cannot_be_had_say_how_much_memory_is_missing(data_dir: Path) -> None:
    line = the_line(mesh("demo", "--json", "--standby", "all", "--data-dir", str(data_dir)), 1)
    assert "MB are missing" in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_demo_leaves_no_process(data_dir: Path, number: signal.Signals) -> None:
    demo = subprocess.Popen(
        [*COMMAND, "demo", "--max-tokens", "2000", "--data-dir", str(data_dir)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert until(lambda: len(processes_with("--until-eof")) == 3, 20)
    os.kill(demo.pid, number)
    _, said = demo.communicate(timeout=10)
    assert b"Traceback" not in said
    assert until(lambda: processes_with("--until-eof") == [], 10)


def test_an_unknown_device_class_is_one_clear_line() -> None:
    line = the_line(mesh("demo", "--devices", "phone,toaster"), 2)
    assert line.startswith("mesh: unknown device class 'toaster'; choose from phone, car, tv")


def test_a_model_that_is_not_pulled_is_one_clear_line(tmp_path: Path) -> None:
    line = the_line(mesh("demo", "--data-dir", str(tmp_path)), 1)
    assert "mesh pull smollm2:135m" in line


def test_a_context_too_long_names_both_numbers(data_dir: Path) -> None:
    line = the_line(mesh("demo", "--max-tokens", "9000", "--data-dir", str(data_dir)), 1)
    assert "37 tokens" in line
    assert "9000" in line
    assert "8192" in line
