"""The joint between producers and consumers: order, bound, closing, waking."""

from __future__ import annotations

import asyncio
import random

import pytest

from mesh.errors import ChannelClosed
from mesh.inbox import Inbox
from simulator.loop import Deadlock, run


def test_items_come_out_in_the_order_they_went_in() -> None:
    async def main() -> None:
        inbox: Inbox[int] = Inbox(10)
        for item in range(5):
            await inbox.put(item)
        assert len(inbox) == 5
        assert [await inbox.get() for _ in range(5)] == [0, 1, 2, 3, 4]

    run(main())


def test_put_waits_at_the_bound_until_one_is_taken() -> None:
    async def main() -> None:
        inbox: Inbox[int] = Inbox(2)
        done: list[int] = []

        async def produce() -> None:
            for item in range(5):
                await inbox.put(item)
                done.append(item)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(produce())
            for taken in range(4):
                await asyncio.sleep(1)
                assert done == list(range(min(5, 2 + taken)))
                assert len(inbox) <= 2
                assert await inbox.get() == taken

    run(main())


def test_several_producers_never_overfill_it() -> None:
    async def main() -> None:
        inbox: Inbox[int] = Inbox(1)
        async with asyncio.TaskGroup() as tasks:
            for item in range(5):
                tasks.create_task(inbox.put(item))
            got = []
            for _ in range(5):
                await asyncio.sleep(0.1)
                assert len(inbox) == 1
                got.append(await inbox.get())
        assert got == [0, 1, 2, 3, 4]

    run(main())


def test_put_nowait_goes_beyond_the_bound() -> None:
    async def main() -> None:
        inbox: Inbox[int] = Inbox(1)
        for item in range(3):
            inbox.put_nowait(item)
        assert [await inbox.get() for _ in range(3)] == [0, 1, 2]

    run(main())


def test_each_item_wakes_one_of_those_who_wait() -> None:
    async def main() -> None:
        inbox: Inbox[int] = Inbox(10)
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(inbox.get()) for _ in range(3)]
            await asyncio.sleep(1)
            for item in range(3):
                inbox.put_nowait(item)
        assert [task.result() for task in waiting] == [0, 1, 2]

    run(main())


def test_a_getter_that_gives_up_takes_nothing_with_it() -> None:
    async def main() -> None:
        inbox: Inbox[int] = Inbox(10)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await inbox.get()
        inbox.put_nowait(1)
        assert await inbox.get() == 1

    run(main())


def test_a_getter_that_gives_up_when_it_was_woken_leaves_the_item_to_the_next() -> None:
    async def main() -> None:
        inbox: Inbox[int] = Inbox(10)
        async with asyncio.TaskGroup() as tasks:
            first, second = (tasks.create_task(inbox.get()) for _ in range(2))
            await asyncio.sleep(1)
            inbox.put_nowait(1)
            first.cancel()
        assert first.cancelled()
        assert second.result() == 1

    run(main())


def test_a_getter_that_gives_up_before_it_is_woken_costs_the_next_nothing() -> None:
    async def main() -> None:
        inbox: Inbox[int] = Inbox(10)
        async with asyncio.TaskGroup() as tasks:
            first, second = (tasks.create_task(inbox.get()) for _ in range(2))
            await asyncio.sleep(1)
            first.cancel()
            inbox.put_nowait(1)  # before the first has noticed
        assert second.result() == 1

    run(main())


@pytest.mark.parametrize("is_woken", [False, True])
def test_a_putter_that_gives_up_puts_nothing_and_leaves_the_room_to_the_next(is_woken: bool) -> None:
    async def main() -> None:
        inbox: Inbox[int] = Inbox(1)
        inbox.put_nowait(0)
        async with asyncio.TaskGroup() as tasks:
            first, _second = (tasks.create_task(inbox.put(item)) for item in (1, 2))
            await asyncio.sleep(1)
            if not is_woken:
                first.cancel()
            assert await inbox.get() == 0
            first.cancel()
        assert [await inbox.get(), len(inbox)] == [2, 0]

    run(main())


async def scuffle(draw: random.Random, inbox: Inbox[int]) -> tuple[list[int], list[int]]:
    """Have many put and get at once, some of whom give up; return what was put and what was got."""
    put: list[int] = []
    got: list[int] = []

    async def produce(item: int) -> None:
        await inbox.put(item)
        put.append(item)

    async def consume() -> None:
        got.append(await inbox.get())

    async with asyncio.TaskGroup() as tasks:
        running: list[asyncio.Task[None]] = []
        for item in range(200):
            running.append(tasks.create_task(produce(item) if draw.random() < 0.5 else consume()))
            for _ in range(draw.choice((0, 0, 1))):
                draw.choice(running).cancel()
            for _ in range(draw.choice((0, 1))):
                await asyncio.sleep(0)
        await asyncio.sleep(1)
        waiting = [task for task in running if not task.done()]
        for task in waiting:
            task.cancel()
    assert not (waiting and 0 < len(inbox) < 2)  # nobody waits though there is something, and room
    return put, got + [await inbox.get() for _ in range(len(inbox))]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_and_nothing_comes_twice_whoever_gives_up(seed: int) -> None:
    async def main() -> None:
        put, got = await scuffle(random.Random(seed), Inbox(2))
        assert sorted(got) == sorted(put)

    run(main())


def test_what_was_put_before_closing_is_still_got_then_the_first_reason() -> None:
    async def main() -> None:
        inbox: Inbox[int] = Inbox(10)
        inbox.put_nowait(1)
        inbox.close("gone")
        inbox.close("gone again")
        assert inbox.is_closed
        assert await inbox.get() == 1
        for _ in range(2):
            with pytest.raises(ChannelClosed, match=r"^gone$"):
                await inbox.get()

    run(main())


def test_nothing_is_put_after_closing() -> None:
    async def main() -> None:
        inbox: Inbox[int] = Inbox(10)
        inbox.close("gone")
        with pytest.raises(ChannelClosed, match="gone"):
            inbox.put_nowait(1)
        with pytest.raises(ChannelClosed, match="gone"):
            await inbox.put(1)
        assert len(inbox) == 0

    run(main())


def test_closing_wakes_all_who_wait() -> None:
    async def expect_the_end(inbox: Inbox[int], *, puts: bool) -> None:
        with pytest.raises(ChannelClosed, match="gone"):
            await (inbox.put(1) if puts else inbox.get())

    async def main() -> None:
        full, empty = Inbox[int](1), Inbox[int](1)
        full.put_nowait(0)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(2):
                tasks.create_task(expect_the_end(full, puts=True))
                tasks.create_task(expect_the_end(empty, puts=False))
            await asyncio.sleep(1)
            full.close("gone")
            empty.close("gone")

    run(main())


def test_clearing_makes_room() -> None:
    async def main() -> None:
        inbox: Inbox[int] = Inbox(1)
        inbox.put_nowait(0)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(inbox.put(1))
            await asyncio.sleep(1)
            inbox.clear()
        assert await inbox.get() == 1

    run(main())


def test_an_empty_inbox_waits_for_ever() -> None:
    with pytest.raises(Deadlock):
        run(Inbox[int](1).get())
