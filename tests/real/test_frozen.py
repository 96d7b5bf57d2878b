"""Devices that freeze (SIGSTOP) in the middle of their work: everybody else is told, and nothing is kept."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.processes import COMMAND, Agents, agents, until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.model]

LONG = ("Tell me a story about a fox.", "--max-tokens", "900")


@pytest.fixture(scope="module")
def home(data_dir: Path) -> Iterator[Agents]:
    """Three agents of which each must hold a part of the model."""
    with agents(data_dir) as running:
        for name in ("a", "b", "c"):
            running.up(name, "--memory", "62MB")
        assert until(lambda: all_alive(running), 5)
        yield running


def all_alive(home: Agents) -> bool:
    return home.states() == {"a": "alive", "b": "alive", "c": "alive"}


def listed(home: Agents, viewer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    shown = home.ask("devices", "--json", "--peer", viewer["address"])
    return {device["name"]: device for device in json.loads(shown.out)}


def ask(home: Agents, gateway: dict[str, Any]) -> subprocess.Popen[str]:
    words = ("ask", *LONG, "--mesh", home.mesh_name, "--peer", gateway["address"])
    return subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def line_of(asking: subprocess.Popen[str]) -> str:
    _, said = asking.communicate(timeout=10)
    assert asking.returncode == 1
    assert said.count("\n") == 1
    return said


def test_a_stage_that_freezes_is_told_and_the_others_free_the_session(home: Agents) -> None:
    devices = {d["name"]: d for d in json.loads(home.ask("devices", "--json").out)}
    plan = json.loads(home.ask("plan", "smollm2:135m", "--json").out)
    first, middle, last = (devices[stage["name"]] for stage in plan["stages"])
    asking = ask(home, first)
    assert asking.stdout is not None
    assert asking.stdout.read(10)
    home.signal(middle["name"], signal.SIGSTOP)
    assert f"{middle['name']} is lost; ask again" in line_of(asking)
    assert until(lambda: listed(home, first)[last["name"]]["num_sessions"] == 0, 3)
    assert listed(home, first)[first["name"]]["num_sessions"] == 0
    home.signal(middle["name"], signal.SIGCONT)
    assert until(lambda: all_alive(home), 8)
    assert until(lambda: all(d["num_sessions"] == 0 for d in listed(home, last).values()), 5)


def test_a_gateway_that_freezes_is_told_and_the_stages_free_the_session(home: Agents) -> None:
    assert until(lambda: all_alive(home), 8)
    devices = {d["name"]: d for d in json.loads(home.ask("devices", "--json").out)}
    asking = ask(home, devices["a"])
    assert asking.stdout is not None
    assert asking.stdout.read(10)
    home.signal("a", signal.SIGSTOP)
    assert "a fell silent in the middle of the request; ask again" in line_of(asking)

    def freed() -> bool:
        seen = listed(home, devices["b"])
        return all(seen[name]["num_sessions"] == 0 for name in ("b", "c"))

    assert until(freed, 5)
    home.signal("a", signal.SIGCONT)
    assert until(lambda: all_alive(home), 8)
