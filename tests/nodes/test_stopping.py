"""The first signal hands over, the second leaves at once, and so does the end of standard input."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from nodes.stopping import Stopping, stopping


@dataclass(slots=True)
class Node:
    log: list[str] = field(default_factory=list)

    def stop(self) -> None:
        self.log.append("stop")

    def say(self) -> None:
        self.log.append("said")

    async def until(self, num_lines: int) -> None:
        async with asyncio.timeout(10):
            while len(self.log) < num_lines:  # noqa: ASYNC110  signals come from outside the loop
                await asyncio.sleep(0)


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def write_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a pipe that is standard input."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield writing


def test_only_the_first_request_says_that_the_node_hands_over(node: Node) -> None:
    asked = Stopping(node, node.say)
    asked.ask()
    assert node.log == ["said", "stop"]
    asked.ask()
    assert node.log == ["said", "stop", "stop"]


def test_the_end_leaves_at_once_and_in_silence(node: Node) -> None:
    asked = Stopping(node, node.say)
    asked.end()
    asked.ask()
    assert node.log == ["stop", "stop", "stop"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_asks(node: Node, number: signal.Signals) -> None:
    async with stopping(node, node.say, until_eof=False):
        os.kill(os.getpid(), number)
        await node.until(2)
    assert node.log == ["said", "stop"]


async def test_the_end_of_standard_input_ends(node: Node, write_end: int) -> None:
    async with stopping(node, node.say, until_eof=True):
        os.close(write_end)
        await node.until(2)
    assert node.log == ["stop", "stop"]
