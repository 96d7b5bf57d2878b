"""Virtual time: it starts at nothing, jumps to the next timer, and says when nothing can happen."""

from __future__ import annotations

import asyncio

import pytest

from simulator.loop import Deadlock, run


def now() -> float:
    return asyncio.get_running_loop().time()


def test_time_starts_at_zero_and_years_pass_at_once() -> None:
    async def main() -> tuple[float, float]:
        before_s = now()
        await asyncio.sleep(5 * 365 * 24 * 3600)
        return before_s, now()

    before_s, after_s = run(main())
    assert before_s == 0.0
    assert after_s == pytest.approx(5 * 365 * 24 * 3600)


def test_timers_fire_in_the_order_of_their_time() -> None:
    async def main() -> list[tuple[float, str]]:
        fired: list[tuple[float, str]] = []

        async def wait(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            fired.append((round(now(), 6), name))

        async with asyncio.TaskGroup() as tasks:
            for name, seconds in (("c", 3.0), ("a", 0.1), ("b", 0.2), ("at once", 0.0)):
                tasks.create_task(wait(name, seconds))
        return fired

    assert run(main()) == [(0.0, "at once"), (0.1, "a"), (0.2, "b"), (3.0, "c")]


def test_work_takes_no_time() -> None:
    async def main() -> float:
        for _ in range(1000):
            await asyncio.sleep(0)
        return now()

    assert run(main()) == 0.0


def test_a_deadline_ends_a_wait_that_nothing_else_would() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        return now()

    assert run(main()) == pytest.approx(5.0)


def test_waiting_for_what_cannot_come_is_told() -> None:
    with pytest.raises(Deadlock, match=r"nothing can happen any more at 0 s\n  task 1: .*Event.wait"):
        run(asyncio.Event().wait())


def test_a_deadlock_still_lets_tasks_clean_up() -> None:
    cleaned: list[str] = []

    async def main() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            cleaned.append("main")

    with pytest.raises(Deadlock):
        run(main())
    assert cleaned == ["main"]


def test_each_run_has_a_clock_of_its_own() -> None:
    async def main() -> float:
        await asyncio.sleep(7)
        return now()

    assert run(main()) == run(main()) == 7.0
