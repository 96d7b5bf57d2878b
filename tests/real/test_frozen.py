"""Devices that freeze (SIGSTOP) in the middle of their work: everybody else is told, and nothing is kept."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

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
        assert until(lambda: all_alive(running), 10)
        yield running


def all_alive(home: Agents) -> bool:
    """Whether everybody sees everybody."""
    everybody = {"a": "alive", "b": "alive", "c": "alive"}
    return all(home.states(viewer) == everybody for viewer in everybody)


def num_sessions(home: Agents, viewer: str, *names: str) -> int:
    """Sessions that these devices hold, as one of them sees it."""
    devices = home.devices(viewer)
    return sum(status.num_sessions for name in names if (status := devices[name].status))


def ask(home: Agents, gateway: str) -> subprocess.Popen[str]:
    words = ("ask", *LONG, "--mesh", home.mesh_name, "--peer", home.addresses[gateway])
    return subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def line_of(asking: subprocess.Popen[str]) -> str:
    _, said = asking.communicate(timeout=30)
    assert asking.returncode == 1
    assert said.count("\n") == 1
    return said


def test_a_stage_that_freezes_is_told_and_the_others_free_the_session(home: Agents) -> None:
    plan = json.loads(home.ask("plan", "smollm2:135m", "--json").out)
    first, middle, last = (stage["name"] for stage in plan["stages"])
    asking = ask(home, first)
    assert asking.stdout is not None
    assert asking.stdout.read(10)
    home.signal(middle, signal.SIGSTOP)
    assert f"{middle} is lost; ask again" in line_of(asking)
    assert until(lambda: num_sessions(home, first, first, last) == 0, 10)
    home.signal(middle, signal.SIGCONT)
    assert until(lambda: all_alive(home), 20)
    assert until(lambda: num_sessions(home, last, first, middle, last) == 0, 10)


def test_a_gateway_that_freezes_is_told_and_the_stages_free_the_session(home: Agents) -> None:
    assert until(lambda: all_alive(home), 20)
    asking = ask(home, "a")
    assert asking.stdout is not None
    assert asking.stdout.read(10)
    home.signal("a", signal.SIGSTOP)
    assert "a fell silent in the middle of the request; ask again" in line_of(asking)
    assert until(lambda: num_sessions(home, "b", "b", "c") == 0, 10)
    home.signal("a", signal.SIGCONT)
    assert until(lambda: all_alive(home), 20)
