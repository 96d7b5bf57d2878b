"""The Speedometer port: this device's speed, measured by a process of its own.

Owns that process. So nothing of it stays in the agent's memory, and it can be ended at once when somebody
asks the agent for work.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable

from mesh.errors import InternalError
from mesh.types import SpeedRecord
from nodes.bench_device import Choice
from nodes.calm import processors_are_calm
from nodes.speeds import kept_speed

_SECONDS = 1.2  # with the loading before, about 2


class ProcessSpeedometer:
    """See `mesh.ports.Speedometer`."""

    def __init__(
        self, choice: Choice, until_calm: Callable[[], Awaitable[None]] = processors_are_calm
    ) -> None:
        self._choice = choice
        self._until_calm = until_calm

    async def kept(self) -> SpeedRecord | None:
        """What was measured before; see the port."""
        return await asyncio.to_thread(self._kept)

    async def measure(self) -> SpeedRecord:
        """Measure when the device is calm, or after a minute; see the port."""
        await self._until_calm()
        said = await self._run()
        speed = await self.kept()
        if speed is None:
            raise InternalError(f"`mesh bench device` failed: {said or 'it said nothing'}")
        return speed

    def _kept(self) -> SpeedRecord | None:
        return kept_speed(self._choice.data_dir, self._choice.fingerprint)

    async def _run(self) -> str:
        """Run the command to its end and return the last line that it complained with."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "nodes.cli", "bench", "device", *self._options()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, errors = await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        return errors.decode(errors="replace").strip().rpartition("\n")[2]

    def _options(self) -> list[str]:
        choice = self._choice
        threads, data_dir = str(choice.num_threads), str(choice.data_dir)
        options = {"--threads": threads, "--engine": choice.engine.value, "--data-dir": data_dir}
        words = [word for pair in options.items() for word in pair]
        return [*words, "--seconds", str(_SECONDS), "--kept"]
