"""Processes of a measurement: each on a core of its own, watched, and ended with whoever started it.

Owns starting, pinning, counting their seconds of processor, and that none is left. Must not know what they
run.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mesh.errors import InternalError

ROOT = Path(__file__).parents[2]
"""Where the packages lie."""

_GRACE_S = 3.0  # for an orderly end; then the process is killed
_LAST_WORDS = 3  # lines that are shown of one that failed

# Pins itself, asks to be killed with its parent, and becomes the command. Both are Linux's; elsewhere the
# system places the processes.
_BECOME = """
import ctypes, os, sys
if sys.platform == "linux":
    core = int(sys.argv[1])
    if core >= 0:
        os.sched_setaffinity(0, {core})
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
os.execvp(sys.argv[2], sys.argv[2:])
"""
_ANY_CORE = -1


@dataclass(frozen=True, slots=True)
class Command:
    """A process to be."""

    name: str
    """What it is called where it fails."""
    words: Sequence[str]
    core: int | None = None
    """The only processor that it may use, counted as `core_of` does; None: any."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside this process's own."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a command that ran to its end printed, and what it used."""

    text: str
    said: str
    """On standard error."""
    cpu_s: float


class Running:
    """A process that runs until it is stopped. Made by `running`."""

    def __init__(self, command: Command, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = command.name
        self._process = process
        self._log = log

    @property
    def cpu_s(self) -> float:
        """Seconds of processor that it has used."""
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    @property
    def resident_bytes(self) -> int:
        """Memory that it holds now, what it shares with others included."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    async def line(self) -> str:
        """The next line that it prints; raise InternalError where it ended instead."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            await self._process.wait()
            self.check()
        return line.decode()

    def check(self) -> None:
        """Raise InternalError with its last words where it has ended."""
        if (code := self._process.returncode) is not None:
            said = _last_words(self._log.read_text(errors="replace"))
            raise InternalError(f"{self.name} ended with code {code}: {said}")

    async def stop(self) -> None:
        """End it; kill it if it does not."""
        if self._process.returncode is not None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.terminate()
        try:
            async with asyncio.timeout(_GRACE_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def core_of(index: int) -> int:
    """A processor that this process may use; the first again after the last."""
    if not hasattr(os, "sched_getaffinity"):
        return index % (os.cpu_count() or 1)
    cores = sorted(os.sched_getaffinity(0))
    return cores[index % len(cores)]


@asynccontextmanager
async def running(command: Command) -> AsyncIterator[Running]:
    """Run a command; its standard input stays open, and ends when it is to go."""
    with tempfile.TemporaryDirectory(prefix="mesh-bench-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as errors:
            process = await _start(command, asyncio.subprocess.PIPE, errors.fileno())
        one = Running(command, process, log)
        try:
            yield one
        finally:
            await one.stop()


async def run_to_end(command: Command) -> Output:
    """Run a command to its end; raise InternalError with its last words where it fails.

    Only for one at a time: its seconds of processor are what all children that ended meanwhile have used.
    """
    before_s = _children_cpu_s()
    process = await _start(command, asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE)
    try:
        out, errors = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    said = errors.decode(errors="replace")
    if process.returncode:
        raise InternalError(f"{command.name} failed with code {process.returncode}: {_last_words(said)}")
    return Output(out.decode(errors="replace"), said, _children_cpu_s() - before_s)


async def _start(command: Command, stdin: int, stderr: int) -> asyncio.subprocess.Process:
    core = _ANY_CORE if command.core is None else command.core
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _BECOME, str(core), *command.words),
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, **command.environment},
        cwd=ROOT,
        start_new_session=True,  # Ctrl-C is for this process, which then ends the others in order
    )


def _children_cpu_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _last_words(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-_LAST_WORDS:]) or "it said nothing"
