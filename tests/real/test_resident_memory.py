"""A node's resident memory: its packed span, its caches, and at most 350 MB for everything else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mesh.types import NodeStatus
from tests.real.processes import Agents, agents, until
from tests.real.resident import resident_bytes

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.model,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what of a file is resident"),
]

MB = 1_000_000
MOST_ABOVE_BYTES = 350 * MB
LONG = "Tell me of " + "a river, a hill, a house, " * 60
"""Some hundred tokens, so that a cache has more than its first page."""


@pytest.mark.parametrize(("names", "memory"), [(("phone",), "300MB"), (("phone", "tv"), "85MB")])
def test_beside_weights_and_caches_an_agent_needs_little(
    names: tuple[str, ...], memory: str, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with agents(data_dir) as running:
        for name in names:
            running.up(name, "--memory", memory)
        assert until(lambda: running.states("phone") == dict.fromkeys(names, "alive"), 20)
        answer = running.ask("ask", LONG, "--max-tokens", "32", "--json")
        assert answer.code == 0, answer
        assert len(answer.json["devices"]) == len(names)  # type: ignore[arg-type]
        for name in names:
            above_bytes = _above_bytes(running, name, data_dir)
            with capsys.disabled():
                sys.stdout.write(f"\n{name} of {len(names)}: {above_bytes / MB:.0f} MB beside its memory\n")
            assert above_bytes < MOST_ABOVE_BYTES


def _above_bytes(running: Agents, name: str, data_dir: Path) -> int:
    """What an agent holds beside the packed weights of its stages and the caches that it has booked."""
    status = _status(running, name)
    weights_bytes = sum(stage.weights_bytes for stage in status.stages)
    assert weights_bytes > 20 * MB
    assert status.used_bytes >= weights_bytes
    return resident_bytes(running.running[name].pid, data_dir / "models") - status.used_bytes


def _status(running: Agents, name: str) -> NodeStatus:
    status = running.devices(name)[name].status
    assert status is not None
    return status
