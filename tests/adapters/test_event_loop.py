"""The loop of an agent."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from mesh.adapters import event_loop
from mesh.now import now_s


async def some_times() -> tuple[str, list[float]]:
    """The loop's module, and its time again and again within one callback."""
    return type(asyncio.get_running_loop()).__mro__[1].__module__, [now_s() for _ in range(2000)]


def test_an_agent_runs_on_libuv_with_a_clock_that_goes_on_within_a_callback() -> None:
    pytest.importorskip("uvloop")
    module, times_s = event_loop.run(some_times())
    assert module.startswith("uvloop")
    steps_s = [later - before for before, later in pairwise(times_s) if later > before]
    assert len(steps_s) > 100
    assert min(steps_s) < 0.0005


def test_where_there_is_no_libuv_it_runs_on_the_loop_of_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_loop, "find_spec", lambda name: None)
    module, _ = event_loop.run(some_times())
    assert module.startswith("asyncio")


def test_what_is_raised_goes_on_to_the_caller() -> None:
    async def fail() -> None:
        raise KeyError("so it is")

    with pytest.raises(KeyError, match="so it is"):
        event_loop.run(fail())
