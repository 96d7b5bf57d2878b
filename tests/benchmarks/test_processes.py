"""Processes of a benchmark."""

from __future__ import annotations

import os
import sys

import psutil
import pytest

from benchmarks.beside.processes import Command, core_of, run_to_end, running
from mesh.errors import InternalError

pytestmark = [pytest.mark.real, pytest.mark.slow]

BUSY = "import time; began = time.process_time()\nwhile time.process_time() - began < 0.2: pass"


async def test_a_command_runs_on_its_core_alone() -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system pins no process")
    code = "import os; print(sorted(os.sched_getaffinity(0)))"
    output = await run_to_end(Command("it", (sys.executable, "-c", code), core=core_of(1)))
    assert output.text.strip() == f"[{core_of(1)}]"


async def test_the_seconds_of_a_command_are_counted() -> None:
    assert 0.2 <= (await run_to_end(Command("it", (sys.executable, "-c", BUSY)))).cpu_s < 2


async def test_what_failed_is_named_with_its_last_words() -> None:
    code = "import sys; sys.exit('no such thing')"
    with pytest.raises(InternalError, match="the tool failed with code 1: no such thing"):
        await run_to_end(Command("the tool", (sys.executable, "-c", code)))


async def test_a_process_is_gone_after_its_use() -> None:
    code = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
    async with running(Command("it", (sys.executable, "-c", code))) as process:
        pid = int(await process.line())
        assert process.resident_bytes > 0
    assert not psutil.pid_exists(pid)


async def test_a_process_that_ended_by_itself_says_why() -> None:
    async with running(Command("it", (sys.executable, "-c", "raise SystemExit('enough')"))) as process:
        with pytest.raises(InternalError, match="it ended with code 1: enough"):
            await process.line()
