"""Which request a session answered.

Owns a guess, and says so: gateways draw the numbers of sessions by themselves, and no event ties one to a
request. Where several fit, it is the one whose tokens come soonest after the session's frames.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from simulator.report.words import number
from simulator.result import RunResult
from simulator.trace import Event, Kind

_MOST_TOKENS = 16
"""Tokens that are compared for one guess; wrong ones are far off within a few."""


@dataclass(slots=True)
class Session:
    """All frames of one session."""

    name: str
    frames: list[Event] = field(default_factory=list)
    """In the order in which they ended, and so never empty nor begun before the first."""

    @property
    def began_s(self) -> float:
        """When its first frame began to be computed."""
        return number(self.frames[0].details.get("began_s"))

    @property
    def devices(self) -> tuple[str, ...]:
        """Those that computed for it, in the order of their first frame."""
        return tuple(dict.fromkeys(frame.device for frame in self.frames))


@dataclass(slots=True, eq=False)
class Attempt:
    """One try to have a request answered."""

    request: int
    number: int
    device: str
    asked_s: float
    model: str = "?"
    token_times_s: list[float] = field(default_factory=list)
    ended: Event | None = None
    """Its ANSWERED or FAILED; None where it was still under way at the end."""


def sessions_of(result: RunResult) -> dict[str, Session]:
    """Return every session that was computed, by its name, in order of appearance."""
    found: dict[str, Session] = {}
    for event in result.events:
        if event.kind is Kind.COMPUTED:
            name = str(event.details.get("session"))
            found.setdefault(name, Session(name)).frames.append(event)
    return found


def attempts_of(result: RunResult) -> list[Attempt]:
    """Return every attempt at every request, in the order in which they were asked."""
    found: list[Attempt] = []
    latest: dict[int, Attempt] = {}
    for event in result.events:
        request = int(number(event.details.get("request")))
        if event.kind is Kind.ASKED:
            tried, model = int(number(event.details.get("attempt"))), str(event.details.get("model"))
            latest[request] = Attempt(request, tried, event.device, event.at_s, model)
            found.append(latest[request])
        elif request in latest and event.kind is Kind.TOKEN:
            latest[request].token_times_s.append(event.at_s)
        elif request in latest and event.kind in (Kind.ANSWERED, Kind.FAILED):
            latest[request].ended = event
    return found


def requests_of_sessions(result: RunResult) -> dict[str, int]:
    """Return the number of the request that each session most likely answered; some may be missing."""
    mesh_of = {device.name: device.mesh for device in result.script.devices}
    waiting: dict[str, list[Attempt]] = {}
    for attempt in attempts_of(result):
        waiting.setdefault(mesh_of.get(attempt.device, ""), []).append(attempt)
    owners: dict[str, int] = {}
    for session in sessions_of(result).values():
        attempts = waiting.get(mesh_of.get(session.frames[0].device, ""), [])
        fitting = [attempt for attempt in attempts if _fits(session, attempt)]
        if fitting:
            ends_s = [frame.at_s for frame in session.frames]
            best = min(fitting, key=lambda attempt: (_lag_s(ends_s, attempt), attempt.asked_s))
            owners[session.name] = best.request
            attempts.remove(best)
    return owners


def _fits(session: Session, attempt: Attempt) -> bool:
    ended_s = attempt.ended.at_s if attempt.ended else float("inf")
    return attempt.asked_s <= session.began_s <= ended_s


def _lag_s(ends_s: list[float], attempt: Attempt) -> float:
    """Mean seconds from the latest end of a frame to each token; 0 where no token came."""
    times_s = attempt.token_times_s[:_MOST_TOKENS]
    lags_s = [_since_s(ends_s, at_s) for at_s in times_s]
    return sum(lags_s) / len(lags_s) if lags_s else 0.0


def _since_s(ends_s: list[float], at_s: float) -> float:
    place = bisect_right(ends_s, at_s)
    return at_s - ends_s[place - 1] if place else 60.0  # a token before any frame: surely another's
