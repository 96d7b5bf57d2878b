"""Small scripts for tests of runs."""

from __future__ import annotations

from dataclasses import replace

from simulator.claims import Invariant
from simulator.script import DeviceScript, Fault, LanScript, LinkScript, Promise, RequestScript, Script

MODEL = "smollm2:135m"
ROOMY = 400_000_000
TIGHT = 60_000_000
"""Three such devices hold the model together, none alone."""

WIFI = LinkScript("wifi6", is_shared=True, up_rate_bps=6e8, down_rate_bps=6e8, delay_s=0.001)


def a_device(name: str, memory_bytes: int = ROOMY, profile: str = "laptop_ryzen_ai_340") -> DeviceScript:
    return DeviceScript(name, profile, "home", "home", WIFI, memory_bytes, (MODEL,))


def a_request(number: int = 1, at_s: float = 2.0, device: str = "a", **changes: object) -> RequestScript:
    request = RequestScript(number, at_s, device, MODEL, "Say something nice.", max_tokens=20)
    return replace(request, **changes)  # type: ignore[arg-type]


def a_script(
    *devices: DeviceScript,
    requests: tuple[RequestScript, ...] = (),
    faults: tuple[Fault, ...] = (),
    promises: tuple[Promise, ...] = (),
    duration_s: float = 30.0,
    healed_s: float | None = None,
) -> Script:
    return Script(
        scenario="test",
        seed=1,
        duration_s=duration_s,
        healed_s=duration_s if healed_s is None else healed_s,
        lans=(LanScript("home", "home"),),
        devices=devices,
        requests=requests,
        faults=faults,
        always=tuple(Invariant),
        eventually=promises,
    )


def three(memory_bytes: int = TIGHT) -> tuple[DeviceScript, ...]:
    return tuple(a_device(name, memory_bytes) for name in "abc")
