"""Scripts and runs without a simulator: a run is a function of its script, quick and easy to break.

Functions of this module travel to the workers of a sweep.
"""

from __future__ import annotations

import os
import random
import signal
from dataclasses import replace

from simulator.result import Complaint, RunResult, Verdict, figures_of
from simulator.script import (
    DeviceScript,
    Fault,
    FaultKind,
    LanScript,
    LinkScript,
    PathScript,
    Promise,
    RequestScript,
    Script,
)
from simulator.trace import Kind, Trace

NAMES = ("phone", "tv", "laptop", "fridge", "watch", "hub", "car", "speaker")
LINK = LinkScript("wifi5", True, 1e8, 1e8, 0.002)


def script_of(seed: int) -> Script:
    """Eight devices in two networks, six requests, nine faults."""
    rng = random.Random(f"{seed}/faults")
    return Script(
        scenario="fake_home",
        seed=seed,
        duration_s=20.0,
        healed_s=12.0,
        lans=(LanScript("home", "home"), LanScript("garage", "garage")),
        devices=tuple(
            DeviceScript(name, name, "home", "garage" if name == "car" else "home", LINK, 10**9, ("tiny",))
            for name in NAMES
        ),
        requests=tuple(
            RequestScript(number, float(number), NAMES[number % 3], "tiny", "hello there", 16)
            for number in range(6)
        ),
        faults=(
            Fault(1.0, FaultKind.PARTITION, ("tv", "fridge"), ("laptop",), for_s=4.0),
            Fault(2.0, FaultKind.CRASH, ("laptop",), for_s=8.0),
            Fault(3.0, FaultKind.ROUTER_OFF, lan="garage", for_s=1.0),
            *(Fault(rng.uniform(4, 10), FaultKind.SLOW, (rng.choice(NAMES),), amount=2.0) for _ in range(6)),
        ),
        paths=(PathScript("tv", "car", 1e6, 0.1),),
        eventually=(Promise("answers come", 5.0),),
    )


def run(script: Script) -> RunResult:
    """Everything holds."""
    return ended(script, [])


def run_with_bug(script: Script) -> RunResult:
    """Breaks where the tv asks or hears of a request while the laptop is gone."""
    names = {device.name for device in script.devices}
    crash = next((f for f in script.faults if f.kind is FaultKind.CRASH and "laptop" in f.devices), None)
    asked = [r for r in script.requests if r.device == "tv" and r.max_tokens > 2]
    if not ({"tv", "laptop"} <= names and crash and (crash.for_s or 9) >= 0.5 and asked):
        return run(script)
    at_s = crash.at_s + 0.5
    if at_s > script.duration_s:
        return run(script)
    return ended(script, [Complaint("no token twice", at_s, "request #1 got its token 3 twice")])


def run_with_rare_bug(script: Script) -> RunResult:
    """Breaks for seeds 7, 17, 27 and so on."""
    return run_with_bug(script) if script.seed % 10 == 7 else run(script)


def run_never_kept(script: Script) -> RunResult:
    """Breaks its promise always."""
    complaint = Complaint("answers come", script.duration_s, "request #0 has no answer after 5 s")
    return replace(ended(script, [complaint]), verdict=Verdict.UNMET)


def run_raising(script: Script) -> RunResult:
    """A bug of the simulator at seed 3."""
    if script.seed == 3:
        raise ValueError("no such\nvalue")
    return run(script)


def run_dying(script: Script) -> RunResult:
    """A worker that is killed at seed 5."""
    if script.seed == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return run(script)


def run_endless(script: Script) -> RunResult:
    """Ends only when it is killed."""
    while True:
        signal.pause()


def ended(script: Script, complaints: list[Complaint]) -> RunResult:
    """A run of some events, the last of which depends on the seed."""
    trace = Trace([device.name for device in script.devices], keeps_messages=True)
    for device in script.devices:
        trace.add(device.starts_s, Kind.STARTED, device.name, incarnation=1)
    for request in script.requests:
        trace.add(request.at_s, Kind.ASKED, request.device, request=request.number, model="tiny", attempt=1)
    trace.add(script.duration_s, Kind.TOKEN, "phone", request=0, index=0, token=script.seed)
    return RunResult(
        script=script,
        verdict=Verdict.BROKEN if complaints else Verdict.HELD,
        complaints=tuple(complaints),
        digest=trace.digest,
        figures=figures_of([], [], []),
        requests=(),
        devices=(),
        flows=(),
        events=tuple(trace.events),
        ended_s=script.duration_s,
    )
