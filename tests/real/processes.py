"""Real `mesh` commands as processes, for tests of what only processes can show."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psutil

from mesh.blocking import connect_blocking
from mesh.types import Device

COMMAND = (sys.executable, "-m", "nodes.cli")


@dataclass(slots=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


def mesh(*arguments: str, stdin: str = "") -> Finished:
    """Run a command to its end."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def the_line(finished: Finished, code: int) -> str:
    """The one line of a command that failed with this code and printed nothing else."""
    assert finished.code == code, finished
    assert finished.out == ""
    lines = finished.err.strip().splitlines()
    assert len(lines) == 1, finished.err
    assert lines[0].startswith("mesh: ")
    return lines[0]


def is_mesh_process(process: psutil.Process, marker: str) -> bool:
    try:
        return marker in " ".join(process.cmdline())
    except psutil.Error:
        return False


def processes_with(marker: str) -> list[psutil.Process]:
    """Processes of this machine with a text in their command line."""
    return [p for p in psutil.process_iter() if is_mesh_process(p, marker)]


def until(held: Callable[[], bool], within_s: float) -> bool:
    """Look again and again until something holds; False when it does not in time.

    The times are for busy machines, several times what docs/measurements.md says.
    """
    deadline_s = time.monotonic() + within_s  # noqa: TID251  real processes run on the real clock
    while not held():
        if time.monotonic() > deadline_s:  # noqa: TID251
            return False
        time.sleep(0.05)  # noqa: TID251
    return True


@dataclass(slots=True)
class Agents:
    """Agents of one mesh that no other test sees."""

    data_dir: Path
    mesh_name: str = field(default_factory=lambda: f"test-{uuid4().hex[:8]}")
    running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)

    def up(self, name: str, *options: str) -> subprocess.Popen[str]:
        """Start an agent and wait for its first line.

        It stays whatever the machine's own battery and heat are: those are not what is tested.
        """
        words = ("up", "--name", name, "--mesh", self.mesh_name, "--data-dir", str(self.data_dir))
        process = subprocess.Popen(
            [*COMMAND, *words, "--threads", "1", "--ignore-conditions", "--no-probe", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.running[name] = process
        assert process.stdout is not None
        started = re.search(r"is up in mesh .* at (\S+),", process.stdout.readline())
        assert started is not None
        self.addresses[name] = started[1]
        return process

    def ask(self, command: str, *arguments: str, stdin: str = "") -> Finished:
        """Run a client's command against this mesh."""
        return mesh(command, "--mesh", self.mesh_name, *arguments, stdin=stdin)

    def devices(self, viewer: str) -> dict[str, Device]:
        """Every device on an agent's list, by name."""
        with connect_blocking(self.addresses[viewer], mesh=self.mesh_name) as client:
            return {device.record.name: device for device in client.devices()}

    def states(self, viewer: str) -> dict[str, str]:
        """Name and state of every device on an agent's list."""
        return {name: device.state.value for name, device in self.devices(viewer).items()}

    def signal(self, name: str, number: signal.Signals) -> None:
        self.running[name].send_signal(number)


@contextmanager
def agents(data_dir: Path) -> Iterator[Agents]:
    """Agents that are all gone afterwards."""
    started = Agents(data_dir)
    try:
        yield started
    finally:
        for process in started.running.values():
            process.kill()
        for process in started.running.values():
            process.communicate()
