"""An agent that is killed on purpose is no failure of the demo; one that ends by itself is."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from mesh.errors import InternalError
from nodes.demo.processes import AgentProcess
from nodes.demo.run import _while_running
from tests.nodes.shown import DEVICES

pytestmark = pytest.mark.real

UNTIL_EOF = "import sys; sys.stdin.read()"


async def agent(folder: Path, script: str = UNTIL_EOF) -> AgentProcess:
    """A process in the place of an agent."""
    log = folder / "tv.log"
    log.write_text("the last words")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdin=asyncio.subprocess.PIPE
    )
    return AgentProcess(DEVICES[2], process, log)


async def test_work_goes_on_when_an_agent_is_killed_on_purpose(tmp_path: Path) -> None:
    killed = await agent(tmp_path)

    async def work() -> str:
        killed.kill()
        assert await killed.failure() is None
        return "done"

    assert await _while_running([killed], work()) == "done"


async def test_an_agent_that_ends_by_itself_fails_the_work_with_its_last_words(tmp_path: Path) -> None:
    ending = await agent(tmp_path, "raise SystemExit(3)")
    with pytest.raises(InternalError, match="the agent of tv ended with code 3: the last words"):
        await _while_running([ending], asyncio.sleep(60))


async def test_an_agent_is_stopped_by_the_end_of_its_standard_input(tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    ignoring = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({str(deaf)!r}, 'w')"
    stopped = await agent(tmp_path, f"{ignoring}; {UNTIL_EOF}")
    async with asyncio.timeout(2.5):  # less than the grace after which it would be killed
        while not deaf.exists():  # noqa: ASYNC110  another process makes it
            await asyncio.sleep(0.01)
        await stopped.stop()
    failure = await stopped.failure()
    assert failure is not None
    assert "code 0" in str(failure)
