"""One run from start to end: a script in, a result out.

Owns when a run ends: at its duration, or as soon as an invariant is broken. The same script gives the same
result, digest included, on any machine and version of Python that is supported. A household may also be lived
with otherwise (`in_world`).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import TypeVar

from mesh.errors import MeshError, first_of
from simulator.loop import Deadlock, Livelock, VirtualLoop
from simulator.parts import Parts
from simulator.promises import keep
from simulator.result import Complaint, Figures, RunResult, Verdict, figures_of
from simulator.script import Promise, Script
from simulator.world import World

LOOK_S = 0.5
"""Between looks at everybody, in virtual seconds."""
_BLOCK_LOOK_S = 5.0  # for blocks of flats, of which no line for each device is kept

T = TypeVar("T")

Progress = Callable[[float], None]
"""Told now and then how many virtual seconds have passed."""


def run_script(script: Script, parts: Parts | None = None, progress: Progress | None = None) -> RunResult:
    """Run a script to its end in virtual time.

    What goes wrong in a role is a complaint of the result. Raises BadSetting for a script that names what
    nobody knows.
    """
    shown = progress or _quiet

    async def lived(world: World) -> RunResult:
        await _live(world, shown)
        return _result_of(world)

    return in_world(script, parts or Parts(), lived)


def in_world(script: Script, parts: Parts, act: Callable[[World], Awaitable[T]]) -> T:
    """Make a script's household in virtual time, return what `act` made of it, and take it down.

    Nothing has begun when `act` is called. Raises what it raises, the first of several.
    """
    try:
        with _seldom_collecting(), asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(_in_world(script, parts, act))
    except* MeshError as group:
        raise first_of(group) from None


async def _in_world(script: Script, parts: Parts, act: Callable[[World], Awaitable[T]]) -> T:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    try:
        async with asyncio.TaskGroup() as tasks:
            world = World(script, parts, loop, tasks)
            loop.set_exception_handler(lambda _, context: _unawaited(world, context))
            with world.listening():
                result = await act(world)
                world.close()
            raise _Over
    except* _Over:
        pass
    return result


class _Over(Exception):
    """Ends the run's TaskGroup, and with it every device."""


async def _live(world: World, progress: Progress) -> None:
    """Let the household live until its time is over or an invariant breaks."""
    world.begin()
    async with asyncio.TaskGroup() as tasks:
        tending = tasks.create_task(_tend(world, progress))
        healing = tasks.create_task(_heal(world))
        await world.over.wait()
        tending.cancel()
        healing.cancel()


async def _tend(world: World, progress: Progress) -> None:
    """Look at everybody now and then; the run is over when its time is."""
    gap_s = LOOK_S if world.script.keeps_messages else _BLOCK_LOOK_S
    while (left_s := world.script.duration_s - world.loop.time()) > 0:
        await asyncio.sleep(min(gap_s, left_s))
        world.look()
        progress(world.loop.time())
    world.over.set()


async def _heal(world: World) -> None:
    """Undo everything at its time, then hold the mesh to its promises."""
    script = world.script
    if not script.eventually and script.healed_s >= script.duration_s:
        return
    await asyncio.sleep(script.healed_s)
    world.faults.heal()
    async with asyncio.TaskGroup() as tasks:
        for promise in script.eventually:
            tasks.create_task(_hold_to(promise, world))


async def _hold_to(promise: Promise, world: World) -> None:
    complaint = await keep(promise, world.household(), world.script.healed_s)
    if complaint is not None:
        world.complain(complaint)


def _unawaited(world: World, context: dict[str, object]) -> None:
    """Take note of an exception that no task of the mesh took up."""
    error = context.get("exception")
    if not isinstance(error, Exception):
        error = RuntimeError(str(context.get("message")))
    world.role_failed("some device", error)


def _result_of(world: World) -> RunResult:
    requests, devices, flows = world.request_records(), world.device_records(), world.flows()
    figures = figures_of(requests, devices, flows)
    complaints = (*world.complaints, *_over_budget(world.script, figures, world.loop.time()))
    return RunResult(
        script=world.script,
        verdict=verdict_of(world.script, complaints),
        complaints=complaints,
        digest=world.trace.digest,
        figures=figures,
        requests=requests,
        devices=devices,
        flows=flows,
        events=tuple(world.trace.events),
        ended_s=world.loop.time(),
    )


def verdict_of(script: Script, complaints: tuple[Complaint, ...]) -> Verdict:
    """What complaints of a run make of it."""
    if not complaints:
        return Verdict.HELD
    promised = {promise.name for promise in script.eventually}
    is_unmet = all(complaint.name in promised for complaint in complaints)
    return Verdict.UNMET if is_unmet else Verdict.BROKEN


def _over_budget(script: Script, figures: Figures, now_s: float) -> Iterator[Complaint]:
    known = {field.name for field in fields(Figures)}
    for budget in script.budgets:
        assert budget.figure in known, budget.figure
        value = getattr(figures, budget.figure)
        if value is None and figures.num_requests and budget.figure != "stall_max_s":
            text = f"{budget.figure} could not be measured: no token came"
            yield Complaint(budget.figure, now_s, text, cause="unmeasured")
        elif value is not None and value > budget.limit:
            text = f"{budget.figure} is {value:g}, the budget {budget.limit:g}"
            yield Complaint(budget.figure, now_s, text, cause="exceeded")


def _quiet(_: float) -> None:
    """Tell nobody."""


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Have the collector of cycles look seldom: a run makes few cycles and very many objects."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


__all__ = ["Deadlock", "Livelock", "Parts", "in_world", "run_script"]
