"""Agents as processes: started, watched, and ended however the demo ends.

Owns the processes and their logs. An agent also ends by itself when its standard input does, which is
when this process dies, whatever it dies of.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mesh.errors import InternalError
from mesh.types import Standby
from nodes.demo.household import DemoDevice

_GRACE_S = 3.0  # for goodbyes; then the process is killed


class AgentProcess:
    """One agent."""

    def __init__(self, device: DemoDevice, process: asyncio.subprocess.Process, log: Path) -> None:
        self.device = device
        self._process = process
        self._log = log
        self._is_killed = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def kill(self) -> None:
        """End it on purpose, as a power cut would; that is no failure."""
        self._is_killed = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def failure(self) -> InternalError | None:
        """Wait until it ends, which it should not, and return what it said last; None after `kill`."""
        code = await self._process.wait()
        if self._is_killed:
            return None
        lines = self._log.read_text(errors="replace").strip().splitlines()
        said = lines[-1] if lines else "it said nothing"
        return InternalError(f"the agent of {self.device.name} ended with code {code}: {said}")

    async def stop(self) -> None:
        """Have it leave the mesh at once; kill it if it does not."""
        if self._process.stdin is not None:
            self._process.stdin.close()  # the demo is over: nothing is left to be handed over
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()  # for an agent that is not far enough to look at its standard input
        try:
            async with asyncio.timeout(_GRACE_S):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


@dataclass(frozen=True, slots=True)
class AgentChoices:
    """What all agents of a demo have in common."""

    mesh_name: str
    data_dir: Path
    standby: Standby


@asynccontextmanager
async def running_agents(
    devices: Sequence[DemoDevice], choices: AgentChoices
) -> AsyncIterator[tuple[AgentProcess, ...]]:
    """Run an agent for each device; afterwards none is left."""
    agents: list[AgentProcess] = []
    with tempfile.TemporaryDirectory(prefix="mesh-demo-") as logs:
        try:
            for device in devices:
                log = Path(logs) / f"{device.name}.log"
                agents.append(AgentProcess(device, await _start(device, choices, log), log))
            yield tuple(agents)
        finally:
            await _stop_all(agents)


async def _stop_all(agents: Sequence[AgentProcess]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for agent in agents:
            tasks.create_task(agent.stop())


async def _start(device: DemoDevice, choices: AgentChoices, log: Path) -> asyncio.subprocess.Process:
    with log.open("wb") as output:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "nodes.cli", "up", *_words(device, choices)),
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            # Ctrl-C is for this process, which then ends its agents in order.
            start_new_session=True,
        )


def _words(device: DemoDevice, choices: AgentChoices) -> list[str]:
    options = {
        "--name": device.name,
        "--class": device.device_class.value,
        "--memory": str(device.memory_bytes),
        "--standby": choices.standby.value,
        "--threads": "1",
        "--mesh": choices.mesh_name,
        "--data-dir": str(choices.data_dir),
    }
    if device.spare_bytes:
        options["--spare"] = str(device.spare_bytes)
    # The devices are made up, so this machine's battery and speed are not theirs.
    flags = ("--until-eof", "--ignore-conditions", "--no-probe")
    return [*flags, *(word for pair in options.items() for word in pair)]
