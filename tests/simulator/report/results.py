"""Runs as the simulator would report them, made by hand: a household, a broken one, a large one."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace

from simulator.result import (
    Complaint,
    DeviceRecord,
    Flow,
    RequestRecord,
    RunResult,
    Verdict,
    figures_of,
)
from simulator.script import (
    DeviceScript,
    Fault,
    FaultKind,
    LanScript,
    LinkScript,
    Promise,
    RequestScript,
    Script,
)
from simulator.trace import Event, Kind, Value

MODEL = "smollm2:135m"
TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "mesh/roles/worker.py", line 231, in _on_frame\n'
    "    cache.append(frame.payload)\n"
    "AssertionError: a frame from 12 on a cache of 9\n"
)

WIFI = LinkScript("wifi5", True, 240e6, 240e6, 0.0015, 0.001)
ETHERNET = LinkScript("ethernet", False, 940e6, 940e6, 0.0002)
DEVICES = (
    ("phone", "phone_flagship", WIFI, 1_500_000_000, 0.82),
    ("tv", "tv_mid", WIFI, 600_000_000, None),
    ("laptop", "laptop_thin", WIFI, 4_000_000_000, 0.64),
    ("hub", "hub_nas", ETHERNET, 2_000_000_000, None),
)


class Recorder:
    """A run under way: keeps the events by time and sums up what each device did."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"{seed}/results")
        self.noted: list[tuple[float, Kind, str, dict[str, Value]]] = []
        self.busy_s: dict[str, float] = {}
        self.flows: dict[tuple[str, str], tuple[int, int]] = {}
        self.requests: list[RequestRecord] = []

    def note(self, at_s: float, kind: Kind, device: str = "", /, **details: Value) -> None:
        self.noted.append((at_s, kind, device, details))

    def message(self, sent_s: float, source: str, target: str, what: str, num_bytes: int) -> float:
        at_s = sent_s + 0.0032 + self.rng.expovariate(1 / 0.0011) + num_bytes * 8 / 240e6
        self.note(at_s, Kind.MESSAGE, target, source=source, sent_s=sent_s, bytes=num_bytes, type=what)
        num, total = self.flows.get((source, target), (0, 0))
        self.flows[source, target] = (num + 1, total + num_bytes)
        return at_s

    def load(self, at_s: float, device: str, span: tuple[int, int]) -> float:
        num_bytes = (span[1] - span[0]) * 2_700_000
        end_s = at_s + num_bytes / 180e6
        details: dict[str, Value] = {"span_start": span[0], "span_end": span[1], "bytes": num_bytes}
        self.note(end_s, Kind.LOADED, device, began_s=at_s, model=MODEL, **details)
        return end_s

    def frame(self, at_s: float, stage: tuple[str, int, int], session: str, place: tuple[int, int]) -> float:
        device, start, end = stage
        position, rows = place
        rate_s = {"phone": 0.00045, "tv": 0.0016}.get(device.split("-")[-1], 0.0006)
        end_s = at_s + (end - start) * rate_s * (1 + 0.15 * (rows - 1)) * self.rng.uniform(0.9, 1.25)
        self.busy_s[device] = self.busy_s.get(device, 0.0) + end_s - at_s
        span: dict[str, Value] = {"span_start": start, "span_end": end, "position": position, "rows": rows}
        self.note(end_s, Kind.COMPUTED, device, began_s=at_s, session=session, **span)
        return end_s

    def answer(
        self,
        request: RequestScript,
        stages: tuple[tuple[str, int, int], ...],
        num_tokens: int,
        stops_s: float | None = None,
    ) -> float:
        """One request over stages that are loaded first; silent from `stops_s` on."""
        gateway, at_s = request.device, request.at_s
        session = f"{self.rng.getrandbits(64):016x}"
        self.note(at_s, Kind.ASKED, gateway, request=request.number, model=MODEL, attempt=1)
        ready_s = max(self.load(at_s + 0.01, device, (start, end)) for device, start, end in stages)
        times_s: list[float] = []
        at_s, position, rows = ready_s + 0.01, 0, 42
        for index in range(num_tokens):
            source = gateway
            for stage in stages:
                at_s = self.message(at_s, source, stage[0], "frame", 1_180 * rows)
                if stops_s is not None and at_s > stops_s:
                    self.requests.append(self._record(request, times_s, None))
                    return at_s
                at_s = self.frame(at_s, stage, session, (position, rows))
                source = stage[0]
            at_s = self.message(at_s, source, gateway, "token", 64)
            position, rows = position + rows, 1
            times_s.append(at_s)
            self.note(at_s, Kind.TOKEN, gateway, request=request.number, index=index, token=100 + index)
        self.note(at_s, Kind.ANSWERED, gateway, request=request.number, reason="length", tokens=num_tokens)
        self.requests.append(self._record(request, times_s, at_s))
        return at_s

    def _record(self, request: RequestScript, times_s: list[float], end_s: float | None) -> RequestRecord:
        return RequestRecord(
            request.number, request.device, request.at_s, tuple(times_s), end_s, None, 1, 42, 2
        )

    def sample(self, devices: tuple[DeviceScript, ...], end_s: float) -> None:
        for device in devices:
            level, degrees_c = device.battery_level, 24.0
            for step in range(int(end_s * 2)):
                is_busy = step > 3 and self.busy_s.get(device.name, 0) > 0
                degrees_c += (41.0 - degrees_c) * 0.06 if is_busy else 0.0
                level = None if level is None else max(0.0, level - (0.0012 if is_busy else 0.0001))
                used = int(device.memory_bytes * (0.1 + (0.35 if is_busy else 0) + 0.05 * self.rng.random()))
                self.note(
                    step / 2,
                    Kind.SAMPLED,
                    device.name,
                    memory_used_bytes=used,
                    battery=level,
                    degrees_c=round(degrees_c, 2),
                    sessions=int(is_busy),
                )

    def heartbeats(self, devices: tuple[DeviceScript, ...], end_s: float, every_s: float = 0.5) -> None:
        for step in range(int(end_s / every_s)):
            for source in devices:
                for target in devices:
                    if source is not target:
                        self.message(step * every_s, source.name, target.name, "heartbeat", 212)

    def result(self, script: Script, end_s: float, complaints: tuple[Complaint, ...] = ()) -> RunResult:
        kept = sorted((note for note in self.noted if note[0] <= end_s), key=lambda note: note[0])
        events = tuple(Event(*note) for note in kept)
        digest = hashlib.blake2b(repr(events).encode(), digest_size=16).hexdigest()
        flows = tuple(Flow(source, target, *sums) for (source, target), sums in self.flows.items())
        records = tuple(self._device(device, flows) for device in script.devices)
        promised = {promise.name for promise in script.eventually}
        unmet = any(complaint.name in promised for complaint in complaints)
        verdict = Verdict.UNMET if unmet else Verdict.BROKEN if complaints else Verdict.HELD
        return RunResult(
            script=script,
            verdict=verdict,
            complaints=complaints,
            digest=digest,
            figures=figures_of(self.requests, records, flows),
            requests=tuple(self.requests),
            devices=records,
            flows=flows,
            events=events,
            ended_s=end_s,
        )

    def _device(self, device: DeviceScript, flows: tuple[Flow, ...]) -> DeviceRecord:
        busy_s = self.busy_s.get(device.name, 0.0)
        sent = sum(flow.num_bytes for flow in flows if flow.source == device.name)
        came = sum(flow.num_bytes for flow in flows if flow.target == device.name)
        peak_bytes = int(device.memory_bytes * (0.5 if busy_s else 0.15))
        return DeviceRecord(device.name, busy_s, peak_bytes, 3 + busy_s * 9, device.battery_level, sent, came)


def household_script(seed: int = 7) -> Script:
    devices = tuple(
        DeviceScript(name, profile, "home", "home", link, memory, (MODEL,), 0.0, None, battery)
        for name, profile, link, memory, battery in DEVICES
    )
    requests = tuple(
        RequestScript(number, at_s, device, MODEL, "Tell me a story.", tokens)
        for number, at_s, device, tokens in ((1, 1.2, "phone", 60), (2, 3.1, "laptop", 40))
    )
    faults = (
        Fault(2.6, FaultKind.SLOW, ("hub",), amount=2.0, for_s=1.5),
        Fault(6.0, FaultKind.LOSS, ("phone",), ("tv",), amount=0.05, for_s=1.0),
        Fault(7.2, FaultKind.PAUSE, ("laptop",), for_s=0.6),
    )
    return Script(
        scenario="evening_home",
        seed=seed,
        duration_s=10.0,
        healed_s=8.0,
        lans=(LanScript("home", "home"),),
        devices=devices,
        requests=requests,
        faults=faults,
        always=("no_internal_error", "streams_end"),
        eventually=(Promise("every_request_ends", 20.0),),
    )


def _begun(script: Script, end_s: float) -> Recorder:
    recorder = Recorder(script.seed)
    for device in script.devices:
        recorder.note(device.starts_s, Kind.STARTED, device.name, incarnation=1)
    for fault in script.faults:
        text = f"{fault.kind.value} on {', '.join(fault.devices) or fault.lan or 'all'}"
        recorder.note(fault.at_s, Kind.FAULT_BEGAN, "", kind_of_fault=fault.kind.value, text=text)
        if fault.for_s is not None:
            ended_s = fault.at_s + fault.for_s
            recorder.note(ended_s, Kind.FAULT_ENDED, "", kind_of_fault=fault.kind.value, text=text)
        if fault.kind is FaultKind.PAUSE:
            recorder.note(fault.at_s, Kind.PAUSED, fault.devices[0])
            recorder.note(fault.at_s + (fault.for_s or 1.0), Kind.WOKEN, fault.devices[0])
    recorder.note(min(script.healed_s, end_s), Kind.HEALED)
    return recorder


def household(seed: int = 7) -> RunResult:
    """Two split answers at the same time, three faults; everything held."""
    script = household_script(seed)
    recorder = _begun(script, 10.0)
    recorder.answer(script.requests[0], (("phone", 0, 12), ("tv", 12, 30)), 60)
    recorder.answer(script.requests[1], (("laptop", 0, 16), ("hub", 16, 30)), 40)
    recorder.note(4.0, Kind.HEAT_CHANGED, "phone", state="warm", degrees_c=38.2)
    recorder.note(7.4, Kind.LOGGED, "hub", level="WARNING", logger="mesh.roles.roster", text="laptop is late")
    recorder.sample(script.devices, 10.0)
    recorder.heartbeats(script.devices, 10.0)
    return recorder.result(script, 10.0)


def broken_household(seed: int = 42) -> RunResult:
    """The television crashes in the middle of an answer and the phone's worker dies of an assertion."""
    crash = Fault(2.5, FaultKind.CRASH, ("tv",), for_s=0.4)
    script = replace(household_script(seed), scenario="tv_off_mid_answer", faults=(crash,))
    recorder = _begun(script, 4.0)
    recorder.note(2.5, Kind.STOPPED, "tv", how="crashed")
    recorder.note(2.9, Kind.STARTED, "tv", incarnation=2)
    text = "stage on tv is lost: the channel broke"
    recorder.note(2.52, Kind.LOGGED, "phone", level="WARNING", logger="mesh.roles.worker", text=text)
    recorder.answer(script.requests[0], (("phone", 0, 12), ("tv", 12, 30)), 60, stops_s=2.5)
    recorder.answer(script.requests[1], (("laptop", 0, 16), ("hub", 16, 30)), 40, stops_s=3.4)
    said = "request 1: AssertionError in a role of phone: a frame from 12 on a cache of 9"
    recorder.note(3.4, Kind.BROKEN, "phone", invariant="no_internal_error", text=said)
    recorder.sample(script.devices, 3.4)
    recorder.heartbeats(script.devices, 3.4)
    complaints = (
        Complaint("no_internal_error", 3.4, said, TRACEBACK),
        Complaint("streams_end", 3.4, "request 1 has neither an end nor an error", None),
    )
    return recorder.result(script, 3.4, complaints)


def unmet_household(seed: int = 3) -> RunResult:
    """A promise that never came."""
    script = household_script(seed)
    recorder = _begun(script, 28.0)
    recorder.answer(script.requests[0], (("phone", 0, 12), ("tv", 12, 30)), 60, stops_s=3.0)
    text = "request 1 has not ended 20 s after everything was healed"
    return recorder.result(script, 28.0, (Complaint("every_request_ends", 28.0, text),))


def block(num_lans: int, per_lan: int = 8, num_requests: int = 60, num_tokens: int = 40) -> RunResult:
    """Many households, each a mesh of its own; a device of every tenth one is slow for a while."""
    kinds = ("phone", "tv", "laptop", "hub", "speaker", "fridge", "desktop", "car")
    devices = tuple(
        DeviceScript(
            f"h{lan:03d}-{kinds[place % 8]}",
            kinds[place % 8],
            f"h{lan:03d}",
            f"h{lan:03d}",
            ETHERNET if place % 8 in (3, 6) else WIFI,
            800_000_000,
            (MODEL,),
            0.0,
            None,
            0.7 if place % 8 == 0 else None,
        )
        for lan in range(num_lans)
        for place in range(per_lan)
    )
    asked = tuple(
        RequestScript(n, 0.5 + n * 0.12, devices[(n * per_lan) % len(devices)].name, MODEL, "Hi", num_tokens)
        for n in range(num_requests)
    )
    faults = tuple(
        Fault(3.0 + lan * 0.05, FaultKind.SLOW, (devices[lan * per_lan + 1].name,), amount=3.0, for_s=2.0)
        for lan in range(0, num_lans, 10)
    )
    script = Script(
        scenario="apartment_block",
        seed=7,
        duration_s=20.0,
        healed_s=15.0,
        lans=tuple(LanScript(f"h{lan:03d}", "block") for lan in range(num_lans)),
        devices=devices,
        requests=asked,
        faults=faults,
    )
    recorder = _begun(script, 20.0)
    for request in asked:
        home = request.device.split("-", maxsplit=1)[0]
        recorder.answer(request, ((f"{home}-phone", 0, 12), (f"{home}-tv", 12, 30)), num_tokens)
    recorder.sample(devices[:800], 20.0)
    return recorder.result(script, 20.0)
