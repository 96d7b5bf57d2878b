"""What is judged of real households: their answers, their ends, and what was promised for afterwards.

Owns how the judges of virtual time see a real run. Memory, caches in mid-run and exceptions in roles cannot
be seen from outside a process. Answers are judged when all is over, because to compute what they should have
been takes the processors on which the agents run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from mesh.types import SessionId, Summary
from simulator.asking import Asked
from simulator.invariants import Invariants
from simulator.parts import Parts
from simulator.promises import seen_alive
from simulator.real.control import EngineKind
from simulator.real.household import Household, ProcessOptions
from simulator.result import Complaint
from simulator.script import RequestScript, Script


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of asking once."""

    script: RequestScript
    tokens: tuple[int, ...]
    summary: Summary | None
    """None where it ended with an error."""
    ended_s: float


class Witness:
    """A judge who only remembers; see `simulator.asking.Judge`."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []

    def routed(self, asked: Asked, session_id: SessionId) -> None:
        """Nobody can see whether this session is left over."""

    def token(self, asked: Asked, token: int) -> None:
        """The attempt has it."""

    def ended(self, asked: Asked, summary: Summary | None) -> None:
        """Remember the attempt."""
        self.attempts.append(Attempt(asked.script, tuple(asked.tokens), summary, asked.ended_s or 0.0))


def parts_of(options: ProcessOptions) -> Parts:
    """What the undivided model consists of. The real one is imported here and not before."""
    if options.engine is EngineKind.TOKENS:
        return Parts()
    parts: Parts = import_module("simulator.real.maths").parts(options.data_dir)
    return parts


def judge_answers(script: Script, parts: Parts, attempts: Iterable[Attempt]) -> tuple[Complaint, ...]:
    """Hold every answer, whole or not, against the undivided model; return what was wrong."""
    judging = _Judging(script, parts)
    for attempt in attempts:
        judging.judge(attempt)
    return tuple(judging.complaints)


class _Judging:
    """Shows attempts to the invariants as if they came now."""

    def __init__(self, script: Script, parts: Parts) -> None:
        self.complaints: list[Complaint] = []
        self._at_s = 0.0
        self._invariants = Invariants(script, parts, lambda: self._at_s, self.complaints.append)

    def judge(self, attempt: Attempt) -> None:
        self._at_s = attempt.ended_s
        asked = Asked(attempt.script)
        for token in attempt.tokens:
            asked.tokens.append(token)
            self._invariants.token(asked, token)
        self._invariants.ended(asked, attempt.summary)


class Patience:
    """Who waits for the end of every request, and complains of one that never comes."""

    def __init__(self, script: Script, now_s: Callable[[], float]) -> None:
        self.complaints: list[Complaint] = []
        self._invariants = Invariants(script, Parts(), now_s, self.complaints.append)

    def is_over(self, requests: list[Asked]) -> bool:
        """Look at all requests; True where one has been silent for too long."""
        self._invariants.look(requests, [])
        return bool(self.complaints)


@dataclass(frozen=True, slots=True)
class RealHousehold:
    """A real household as promises look at it; see `simulator.promises.Promised`."""

    household: Household
    requests: Sequence[Asked]
    clock: Callable[[], float]

    def now_s(self) -> float:
        """Seconds of the run."""
        return self.clock()

    def circles(self) -> Mapping[str, frozenset[str]]:
        """For each device that runs, those whom it should see alive."""
        names = [device.name for device in self.household.script.devices]
        running = [name for name in names if self.household.running(name) is not None]
        return {
            name: frozenset(other for other in running if self.household.can_meet(name, other))
            for name in running
        }

    async def seen_alive(self, name: str) -> frozenset[str]:
        """Whom a device sees alive."""
        return await seen_alive(await self.household.open_client(name))

    async def num_held(self, name: str) -> int:
        """How many sessions a device says that it holds."""
        client = await self.household.open_client(name)
        devices = await client.devices()
        return sum(d.status.num_sessions for d in devices if d.record.name == name and d.status is not None)
