"""One run in process mode, from a script to what it came to.

Owns the order of things: all meet, then the script's clock starts, and requests and faults come at their
times. Must not know how agents are started, faults carried out or paths shaped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from mesh.store.shelf import ModelStore
from simulator.asking import Asked, Asker
from simulator.real.clock import precise_loop
from simulator.real.control import EngineKind
from simulator.real.fates import Fates
from simulator.real.household import Household, ProcessOptions, running_household
from simulator.real.models import ModelFiles, default_data_dir
from simulator.real.weather import check_possible
from simulator.result import (
    REAL_DIGEST,
    Complaint,
    DeviceRecord,
    Flow,
    RequestRecord,
    RunResult,
    Verdict,
    figures_of,
)
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

    Ends when every request has ended, without waiting for the end of the script. Raises BadSetting for a
    script that processes cannot act out, or whose models are not on this machine, and MeshError where the
    agents cannot be started.
    """
    check_possible(script)
    if options.engine is EngineKind.TORCH:
        files = ModelFiles(ModelStore(options.data_dir))
        files.specs(tuple({model: None for device in script.devices for model in device.models}))
    async with running_household(script, options) as household:
        trace = Trace([device.name for device in script.devices], keeps_messages=False)
        run = _Run(household, Fates(household, script), asyncio.get_running_loop().time(), trace)
        requests = await run.play()
        ended_s = run.now_s()
    reports = [report for device in script.devices for report in household.reports(device.name)]
    return Acted(_result(run, requests, ended_s), sum(report.late_s for report in reports))


@dataclass(frozen=True, slots=True)
class _Run:
    household: Household
    fates: Fates
    began_s: float
    trace: Trace

    @property
    def script(self) -> Script:
        return self.household.script

    def now_s(self) -> float:
        return asyncio.get_running_loop().time() - self.began_s

    async def play(self) -> tuple[RequestRecord, ...]:
        """Do all that the script says, until the last request has ended."""
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(self._at(at_s, event)) for at_s, event in self._events()]
            everything = [Asked(request) for request in self.script.requests]
            asker = Asker(self.household.open_client, self.now_s, self.trace, self.script.duration_s)
            asking = [tasks.create_task(asker.ask(asked)) for asked in everything]
            for task in asking:
                await task
            for task in others:
                task.cancel()
        return tuple(asked.record() for asked in everything)

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
        await self.fates.begin(fault)
        if fault.for_s is not None:
            await asyncio.sleep(fault.for_s)
            if await self.fates.end(fault):
                self._note(Kind.FAULT_ENDED, fault)

    async def _heal(self) -> None:
        await self.fates.end_all()
        self.trace.add(self.now_s(), Kind.HEALED)

    def _note(self, kind: Kind, fault: Fault) -> None:
        whom = ", ".join(fault.devices) or fault.lan or "everybody"
        self.trace.add(self.now_s(), kind, kind=fault.kind.value, text=whom)


def _result(run: _Run, requests: Sequence[RequestRecord], ended_s: float) -> RunResult:
    complaints = tuple(
        Complaint("no_role_failed", record.ended_s or ended_s, f"request {record.number}: {record.error}")
        for record in requests
        if record.error in _BUGS
    )
    flows = tuple(
        Flow(path.source, path.target, path.num_pieces, path.num_bytes)
        for path in run.household.shaper.paths.values()
    )
    devices = tuple(_device(run.household, device.name, flows) for device in run.script.devices)
    return RunResult(
        script=run.script,
        verdict=Verdict.BROKEN if complaints else Verdict.HELD,
        complaints=complaints,
        digest=REAL_DIGEST,
        figures=figures_of(requests, devices, flows),
        requests=tuple(requests),
        devices=devices,
        flows=flows,
        events=tuple(run.trace.events),
        ended_s=ended_s,
    )


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
