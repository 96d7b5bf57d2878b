"""What a run came to.

Owns the values that reports, sweeps and the command line read. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

from simulator.script import Script
from simulator.trace import Event

REAL_DIGEST = "real"
"""In place of a digest, of a run of real processes: no two are the same."""


class Verdict(StrEnum):
    """How a run ended."""

    HELD = "held"
    BROKEN = "broken"
    """An `always` invariant or a budget did not hold."""
    UNMET = "unmet"
    """An `eventually` promise never came."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """An invariant, budget or promise that did not hold."""

    name: str
    at_s: float
    text: str
    """One line that says what was seen and what should have been."""
    traceback: str | None = None
    """Of an exception inside a role."""
    cause: str = ""
    """What two failures of one name have in common, for instance the code of an error."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """What became of one request, over all its attempts."""

    number: int
    device: str
    asked_s: float
    """Start of the first attempt."""
    token_times_s: tuple[float, ...]
    """When each token of the last attempt came to the client."""
    ended_s: float | None
    """None where it was still under way at the end."""
    error: str | None
    """Code of the error that ended it; None where it was answered, or never ended."""
    num_attempts: int
    num_prompt_tokens: int = 0
    num_stages: int = 0
    tried_s: float = 0.0
    """Start of the last attempt."""
    num_recoveries: int = 0
    """How often the last attempt went on after devices were lost or had handed over."""
    stall_s: float | None = None
    """The longest pause that came of it; None where there was none."""

    @property
    def is_answered(self) -> bool:
        """Whether the whole answer came."""
        return self.ended_s is not None and self.error is None

    @property
    def ttft_s(self) -> float | None:
        """Seconds from the first asking to the first token of the last attempt: what somebody waited."""
        return self.token_times_s[0] - self.asked_s if self.token_times_s else None

    @property
    def tpot_s(self) -> float | None:
        """Mean seconds from a token to the next."""
        times_s = self.token_times_s
        return (times_s[-1] - times_s[0]) / (len(times_s) - 1) if len(times_s) > 1 else None


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """What one device did in the whole run."""

    name: str
    busy_s: float
    peak_memory_bytes: int
    energy_j: float
    battery_level: float | None
    sent_bytes: int
    received_bytes: int


@dataclass(frozen=True, slots=True)
class Flow:
    """What passed from one device to another."""

    source: str
    target: str
    num_messages: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Figures:
    """One number for each thing that can be said of a whole run; None where there was nothing to measure."""

    num_requests: int
    num_answered: int
    num_failed: int
    num_tokens: int
    ttft_p50_s: float | None
    ttft_max_s: float | None
    tpot_p50_s: float | None
    tpot_max_s: float | None
    num_recoveries: int
    stall_max_s: float | None
    num_messages: int
    num_bytes: int
    energy_j: float
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class RunResult:
    """One run, ended."""

    script: Script
    verdict: Verdict
    complaints: tuple[Complaint, ...]
    digest: str
    figures: Figures
    requests: tuple[RequestRecord, ...]
    devices: tuple[DeviceRecord, ...]
    flows: tuple[Flow, ...]
    events: tuple[Event, ...] = field(repr=False)
    ended_s: float = 0.0
    """Virtual seconds when it ended, early where an invariant broke."""


def figures_of(
    requests: Sequence[RequestRecord], devices: Sequence[DeviceRecord], flows: Sequence[Flow]
) -> Figures:
    """Sum up a run."""
    first_s = [r.ttft_s for r in requests if r.ttft_s is not None]
    next_s = [r.tpot_s for r in requests if r.tpot_s is not None]
    return Figures(
        num_requests=len(requests),
        num_answered=sum(r.is_answered for r in requests),
        num_failed=sum(r.error is not None for r in requests),
        num_tokens=sum(len(r.token_times_s) for r in requests),
        ttft_p50_s=median(first_s) if first_s else None,
        ttft_max_s=max(first_s, default=None),
        tpot_p50_s=median(next_s) if next_s else None,
        tpot_max_s=max(next_s, default=None),
        num_recoveries=sum(r.num_recoveries for r in requests),
        stall_max_s=max((r.stall_s for r in requests if r.stall_s is not None), default=None),
        num_messages=sum(flow.num_messages for flow in flows),
        num_bytes=sum(flow.num_bytes for flow in flows),
        energy_j=sum(device.energy_j for device in devices),
        peak_memory_bytes=max((device.peak_memory_bytes for device in devices), default=0),
    )
