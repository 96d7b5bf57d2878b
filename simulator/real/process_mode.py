"""One run in process mode, from a script to what it came to.

Owns the order of things: all meet, then the script's clock starts, and requests and faults come at their
times; when all is healed the promises are waited for. Must not know how agents are started, faults carried
out, paths shaped or answers judged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from mesh.now import now_s
from mesh.store.shelf import ModelStore
from simulator.asking import Asked, Asker
from simulator.claims import Invariant
from simulator.promises import keep
from simulator.real.clock import precise_loop
from simulator.real.control import EngineKind
from simulator.real.fates import Fates
from simulator.real.household import Household, ProcessOptions, running_household
from simulator.real.judging import Patience, RealHousehold, Witness, judge_answers, parts_of
from simulator.real.models import ModelFiles, default_data_dir
from simulator.real.weather import check_possible
from simulator.result import (
    REAL_DIGEST,
    Complaint,
    DeviceRecord,
    Flow,
    RequestRecord,
    RunResult,
    figures_of,
)
from simulator.run import LOOK_S, verdict_of
from simulator.script import Fault, Script
from simulator.trace import Kind, Trace

_BUGS = ("internal", "malformed_message")
"""Errors that no fault excuses."""


def run_with(script: Script, maths: str) -> RunResult:
    """Act a script out with 'token' or 'real' mathematics, all as slow as the script says; see `act_out`."""
    engine = EngineKind.TORCH if maths == "real" else EngineKind.TOKENS
    return run_script(script, ProcessOptions(default_data_dir(), engine))


def run_script(script: Script, options: ProcessOptions) -> RunResult:
    """Act a script out; see `act_out`."""
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        return runner.run(act_out(script, options)).result


@dataclass(frozen=True, slots=True)
class Acted:
    """A script acted out."""

    result: RunResult
    """Its digest is 'real'."""
    late_s: float
    """Seconds by which this machine was slower than the devices, all of them together."""


async def act_out(script: Script, options: ProcessOptions) -> Acted:
    """Act a script out.

    Ends when every request has ended and every promise is met or broken, without waiting for the end of the
    script; earlier where a request hears nothing for too long. Of the invariants exact_tokens and one_end are
    judged, where the script names them; budgets are not. Raises BadSetting for a script that processes cannot
    act out, or whose models are not on this machine, and MeshError where the agents cannot be started.
    """
    check_possible(script)
    if options.engine is EngineKind.TORCH:
        files = ModelFiles(ModelStore(options.data_dir))
        files.specs(tuple({model: None for device in script.devices for model in device.models}))
    async with running_household(script, options) as household:
        trace = Trace([device.name for device in script.devices], keeps_messages=False)
        run = _Run(household, Fates(household, script), now_s(), trace)
        await run.play()
        ended_s = run.now_s()
    run.complaints += judge_answers(script, parts_of(options), run.witness.attempts)
    reports = [report for device in script.devices for report in household.reports(device.name)]
    return Acted(_result(run, ended_s), sum(report.late_s for report in reports))


class _Run:
    def __init__(self, household: Household, fates: Fates, began_s: float, trace: Trace) -> None:
        self.household = household
        self.script = household.script
        self.trace = trace
        self.witness = Witness()
        self.requests = [Asked(request) for request in self.script.requests]
        self.complaints: list[Complaint] = []
        self._fates = fates
        self._healed = asyncio.Event()
        self._began_s = began_s

    def now_s(self) -> float:
        return now_s() - self._began_s

    async def play(self) -> None:
        """Do all that the script says, until the last request has ended and the last promise is decided."""
        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(self._at(at_s, event)) for at_s, event in self._events()]
            work.append(tasks.create_task(self._until_done(over)))
            work.append(tasks.create_task(self._until_too_silent(over)))
            await over.wait()
            for task in work:
                task.cancel()

    async def _until_done(self, over: asyncio.Event) -> None:
        asker = Asker(self.household.open_app, self.now_s, self.trace, self.script.duration_s, self.witness)
        async with asyncio.TaskGroup() as tasks:
            for asked in self.requests:
                tasks.create_task(asker.ask(asked))
            if self.script.eventually:
                tasks.create_task(self._keep_promises())
        over.set()

    async def _until_too_silent(self, over: asyncio.Event) -> None:
        patience = Patience(self.script, self.now_s)
        while True:
            await asyncio.sleep(LOOK_S)
            if patience.is_over(self.requests):
                self.complaints += patience.complaints
                return over.set()

    async def _keep_promises(self) -> None:
        await self._healed.wait()
        household = RealHousehold(self.household, self.requests, self.now_s)
        from_s = self.now_s()
        async with asyncio.TaskGroup() as tasks:
            keeping = [tasks.create_task(keep(p, household, from_s)) for p in self.script.eventually]
        self.complaints += [complaint for task in keeping if (complaint := task.result())]

    def _events(self) -> Iterator[tuple[float, Callable[[], Awaitable[None]]]]:
        """All that is to happen beside the requests, each with its time."""
        for fault in self.script.faults:
            yield fault.at_s, partial(self._befall, fault)
        for device in self.script.devices:
            if device.starts_s > 0:
                yield device.starts_s, partial(self.household.start, device.name)
        yield self.script.healed_s, self._heal

    async def _at(self, at_s: float, event: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(at_s - self.now_s())
        await event()

    async def _befall(self, fault: Fault) -> None:
        self._note(Kind.FAULT_BEGAN, fault)
        await self._fates.begin(fault)
        if fault.for_s is not None:
            await asyncio.sleep(fault.for_s)
            if await self._fates.end(fault):
                self._note(Kind.FAULT_ENDED, fault)

    async def _heal(self) -> None:
        await self._fates.end_all()
        self.trace.add(self.now_s(), Kind.HEALED)
        self._healed.set()

    def _note(self, kind: Kind, fault: Fault) -> None:
        whom = ", ".join(fault.devices) or fault.lan or "everybody"
        self.trace.add(self.now_s(), kind, kind=fault.kind.value, text=whom)


def _result(run: _Run, ended_s: float) -> RunResult:
    requests = tuple(asked.record() for asked in run.requests if asked.num_attempts)
    complaints = (*run.complaints, *_failures(requests, ended_s))
    flows = tuple(
        Flow(path.source, path.target, path.num_pieces, path.num_bytes)
        for path in run.household.shaper.paths.values()
    )
    devices = tuple(_device(run.household, device.name, flows) for device in run.script.devices)
    return RunResult(
        script=run.script,
        verdict=verdict_of(run.script, complaints),
        complaints=complaints,
        digest=REAL_DIGEST,
        figures=figures_of(requests, devices, flows),
        requests=requests,
        devices=devices,
        flows=flows,
        events=tuple(run.trace.events),
        ended_s=ended_s,
    )


def _failures(requests: Sequence[RequestRecord], ended_s: float) -> Iterator[Complaint]:
    """What clients were told that only a bug can cause."""
    for record in requests:
        if record.error in _BUGS:
            text = f"request {record.number}: {record.error}"
            yield Complaint(Invariant.NO_ROLE_FAILED, record.ended_s or ended_s, text)


def _device(household: Household, name: str, flows: Sequence[Flow]) -> DeviceRecord:
    """What is known of a device; of lives that were killed nothing is, nor of memory."""
    reports = household.reports(name)
    return DeviceRecord(
        name=name,
        busy_s=sum(report.busy_s for report in reports),
        peak_memory_bytes=0,
        energy_j=sum(report.energy_j for report in reports),
        battery_level=reports[-1].battery_level if reports else None,
        sent_bytes=sum(flow.num_bytes for flow in flows if flow.source == name),
        received_bytes=sum(flow.num_bytes for flow in flows if flow.target == name),
    )
