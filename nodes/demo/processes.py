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
from pathlib import Path

from mesh.errors import InternalError
from nodes.demo.household import DemoDevice

_GRACE_S = 3.0  # for goodbyes; then the process is killed


class AgentProcess:
    """One agent."""

    def __init__(self, device: DemoDevice, process: asyncio.subprocess.Process, log: Path) -> None:
        self.device = device
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def failure(self) -> InternalError:
        """Wait until it ends, which it should not, and return what it said last."""
        code = await self._process.wait()
        lines = self._log.read_text(errors="replace").strip().splitlines()
        said = lines[-1] if lines else "it said nothing"
        return InternalError(f"the agent of {self.device.name} ended with code {code}: {said}")

    async def stop(self) -> None:
        """Have it leave the mesh; kill it if it does not."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(_GRACE_S):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def running_agents(
    devices: Sequence[DemoDevice], mesh_name: str, data_dir: Path
) -> AsyncIterator[tuple[AgentProcess, ...]]:
    """Run an agent for each device; afterwards none is left."""
    agents: list[AgentProcess] = []
    with tempfile.TemporaryDirectory(prefix="mesh-demo-") as logs:
        try:
            for device in devices:
                log = Path(logs) / f"{device.name}.log"
                agents.append(AgentProcess(device, await _start(device, mesh_name, data_dir, log), log))
            yield tuple(agents)
        finally:
            await _stop_all(agents)


async def _stop_all(agents: Sequence[AgentProcess]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for agent in agents:
            tasks.create_task(agent.stop())


async def _start(device: DemoDevice, mesh_name: str, data_dir: Path, log: Path) -> asyncio.subprocess.Process:
    options = {
        "--name": device.name,
        "--class": device.device_class.value,
        "--memory": str(device.memory_bytes),
        "--threads": "1",
        "--mesh": mesh_name,
        "--data-dir": str(data_dir),
    }
    words = [word for option in options.items() for word in option]
    with log.open("wb") as output:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "nodes.cli", "up", "--until-eof", *words),
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            # Ctrl-C is for this process, which then ends its agents in order.
            start_new_session=True,
        )
