"""An agent as a process: started, told, killed, and in any case ended.

Owns the process, its log and the lines to and from it. It is a process group of its own in our session, so
that Ctrl-C is ours alone, and so that the kernel wakes and ends it (SIGHUP, SIGCONT) where it stands still
when we die. Signals go to its process id only.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import msgspec

from mesh.errors import InternalError
from mesh.types import Address
from simulator.real.control import AgentSettings, Control, Listening, News, Ready, Report, to_line

_GRACE_S = 3.0  # for goodbyes; then the process is killed

_news = msgspec.json.Decoder(News)


class AgentProcess:
    """One life of an agent. Made by `start`."""

    def __init__(self, settings: AgentSettings, process: Process, log: Path) -> None:
        self.settings = settings
        self._process = process
        self._log = log
        self.address: Address | None = None
        """Where it really listens, once it does."""
        self.report: Report | None = None
        """Its last words, where it ended in order."""
        self._listening, self._ready = asyncio.Event(), asyncio.Event()
        self.is_meant_to_end = False

    @classmethod
    async def start(cls, settings: AgentSettings, log: Path) -> AgentProcess:
        """Start a process; `listen` must run beside it."""
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "simulator.real.agent", msgspec.json.encode(settings).decode()),
                stdin=PIPE,
                stdout=PIPE,
                stderr=output,
                process_group=0,
            )
        return cls(settings, process, log)

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process.returncode is None

    async def listen(self) -> None:
        """Take its news until it ends; raise InternalError where nobody wanted that."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            match _news.decode(line):
                case Listening(address):
                    self.address = Address.parse(address)
                    self._listening.set()
                case Ready():
                    self._ready.set()
                case Report() as report:
                    self.report = report
        code = await self._process.wait()
        self._listening.set()  # for whoever waits for one that was killed before
        if not self.is_meant_to_end:
            raise InternalError(f"the agent of {self.settings.name} ended with code {code}: {self._said()}")

    async def listening(self) -> Address | None:
        """Wait until it can be dialled and return where; None where it ended before."""
        await self._listening.wait()
        return self.address

    async def ready(self) -> None:
        """Wait until its engine runs."""
        await self._ready.wait()

    def tell(self, control: Control) -> None:
        """Give it an order; one that is gone hears nothing."""
        if self.is_running and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(to_line(control))

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self) -> None:
        """Have it leave the mesh; kill it if it does not."""
        self.is_meant_to_end = True
        self.signal(signal.SIGCONT)  # it may stand still
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_GRACE_S):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End it at once and wait until it has."""
        self.is_meant_to_end = True
        self.signal(signal.SIGKILL)
        await self._process.wait()

    def kill_now(self) -> None:
        """End it at once without waiting; for the very end."""
        self.is_meant_to_end = True
        self.signal(signal.SIGKILL)

    def _said(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
