"""A run told in words, for a terminal.

Owns the choice of what matters before a complaint, and the few lines of a run that held. Pure: text out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator

from simulator.claims import MEANINGS
from simulator.report.sessions import requests_of_sessions, sessions_of
from simulator.report.words import clock, count, describe, duration, energy, number, size
from simulator.result import REAL_DIGEST, Complaint, RunResult, Verdict
from simulator.trace import Event, Kind

__all__ = ["describe", "replay_command", "sum_up", "tell"]

_MOST_LINES = 20
_SHARES = ((0, 3), (1, 6), (2, 5), (3, 3), (4, 3))
"""Lines kept for each rank of event at least, where there are so many. What one rank leaves, those in
_GROWING take; more of the others would say nothing more."""
_GROWING = (1, 2, 3)
_MESSAGES = 4

_UPHEAVALS = frozenset(
    (Kind.FAULT_BEGAN, Kind.FAULT_ENDED, Kind.HEALED, Kind.STOPPED, Kind.PAUSED, Kind.WOKEN, Kind.STARTED)
)
_Route = tuple[float, frozenset[str]]
"""When a session began to be computed, and by whom."""
_UPKEEP = ("heartbeat", "echo", "hello", "goodbye", "devices", "plan")
"""Messages that belong to no session, by the begin of their names on the wire."""
_QUIET_LEVELS = ("debug", "info")


def replay_command(result: RunResult) -> str:
    """Return the command that repeats a run."""
    return f"mesh-sim run {shlex.quote(result.script.scenario)} --seed {result.script.seed}"


def tell(result: RunResult, again: str | None = None) -> str:
    """Return what went wrong: the promise, what was seen, what came before, traceback, how to repeat it.

    A run that held is summed up instead. `again` is the command that repeats the run, where scenario and seed
    are not enough.
    """
    if not result.complaints:
        return sum_up(result)
    first, others = result.complaints[0], result.complaints[1:]
    parts = [_heading(result), _case(result, first), _before(result, first)]
    if first.traceback:
        parts.append(f"Traceback:\n{_indented(first.traceback)}")
    if others:
        also = "\n".join(f"  {clock(other.at_s)}  {other.name}: {other.text}" for other in others)
        parts.append(f"Also:\n{also}")
    parts.append(f"Run it again:\n  {again or replay_command(result)}")
    return "\n\n".join(part for part in parts if part)


def sum_up(result: RunResult) -> str:
    """Return the figures of a run in a few lines."""
    figures = result.figures
    rows = [
        ("requests", f"{_requests(result)}; {count(figures.num_tokens, 'token')}"),
        ("first token", _middle_and_most(figures.ttft_p50_s, figures.ttft_max_s)),
        ("per token", _middle_and_most(figures.tpot_p50_s, figures.tpot_max_s)),
        ("network", f"{count(figures.num_messages, 'message')}, {size(figures.num_bytes)}"),
        ("memory", _memory(figures.peak_memory_bytes)),
        ("energy", energy(figures.energy_j)),
        ("digest", result.digest),
    ]
    return "\n".join([_heading(result), *(f"  {name:<12} {said}" for name, said in rows)])


def _memory(peak_bytes: int) -> str:
    return f"at most {size(peak_bytes)} on one device" if peak_bytes else "not measured"


def _requests(result: RunResult) -> str:
    figures = result.figures
    parts = [f"{figures.num_requests:,} asked", f"{figures.num_answered:,} answered"]
    parts.append(f"{figures.num_failed:,} failed")
    under_way = figures.num_requests - figures.num_answered - figures.num_failed
    parts += [f"{under_way:,} still under way"] if under_way else []
    again = sum(request.num_attempts - 1 for request in result.requests)
    parts += [f"{again:,} asked again"] if again else []
    return ", ".join(parts)


def _heading(result: RunResult) -> str:
    words = {
        Verdict.HELD: "everything held",
        Verdict.BROKEN: "BROKEN",
        Verdict.UNMET: "a promise was NOT KEPT",
    }
    if result.digest == REAL_DIGEST:  # memory, budgets and exceptions in roles are not judged there
        words[Verdict.HELD] = "acted out by real agents, and all that is judged there held"
    ran = f"{count(len(result.script.devices), 'device')}, {clock(result.ended_s)} of virtual time"
    return f"{result.script.scenario}, seed {result.script.seed}: {words[result.verdict]} ({ran})"


def _middle_and_most(middle_s: float | None, most_s: float | None) -> str:
    return "none" if middle_s is None else f"median {duration(middle_s)}, at most {duration(most_s)}"


def _case(result: RunResult, complaint: Complaint) -> str:
    seen = f"Seen:      at {clock(complaint.at_s)}: {complaint.text}"
    return f"Promised:  {promised(result, complaint)}\n{seen}"


def promised(result: RunResult, complaint: Complaint) -> str:
    """Return what a complaint's name stands for: always, eventually or a budget."""
    for promise in result.script.eventually:
        if promise.name == complaint.name:
            healed = clock(result.script.healed_s)
            return f"{_meaning(promise.name)}, eventually: within {promise.within_s:g} s of {healed}"
    for budget in result.script.budgets:
        if budget.figure == complaint.name:
            return f"{budget.figure}, a budget: at most {budget.limit:g}"
    return f"{_meaning(complaint.name)}, always"


def _meaning(name: str) -> str:
    return f"{name} ({MEANINGS[name]})" if name in MEANINGS else name


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines())


def _before(result: RunResult, complaint: Complaint) -> str:
    chosen, num_left_out = what_mattered(result, complaint)
    if not chosen:
        return ""
    lines = [f"  {clock(at_s):>{_width(chosen)}}  {said}" for at_s, said in chosen]
    left_out = f" ({count(num_left_out, 'earlier line')} left out)" if num_left_out else ""
    return "\n".join([f"What came before{left_out}:", *lines])


def _width(lines: list[tuple[float, str]]) -> int:
    return max(len(clock(at_s)) for at_s, _ in lines)


def what_mattered(result: RunResult, complaint: Complaint) -> tuple[list[tuple[float, str]], int]:
    """Return the last events that matter up to a complaint, at most 20, and how many more there were.

    Tokens of one request that came without anything between them are one line.
    """
    concerned = _concerned(result, complaint)
    routes = _routes(result, concerned)
    ranked: list[tuple[int, Event]] = []
    for event in _without_first_starts(result.events):
        if event.at_s > complaint.at_s:
            break
        if (rank := _rank(event, concerned, routes)) is not None:
            ranked.append((rank, event))
    lines = _joined(ranked)
    kept = _kept([rank for rank, _, _ in lines])
    return [lines[place][1:] for place in kept], len(lines) - len(kept)


def _without_first_starts(events: Iterable[Event]) -> Iterator[Event]:
    """That every device starts once is no news."""
    known: set[str] = set()
    for event in events:
        if event.kind is not Kind.STARTED or event.device in known:
            yield event
        known.add(event.device if event.kind is Kind.STARTED else "")


def _concerned(result: RunResult, complaint: Complaint) -> frozenset[int]:
    """The requests that the complaint names, or else those under way or failed last."""
    named = {int(found) for found in re.findall(r"request #?(\d+)", complaint.text)}
    if not named:
        named = {r.number for r in result.requests if r.ended_s is None and r.asked_s <= complaint.at_s}
    if not named:
        failed = [r for r in result.requests if r.error and (r.ended_s or 0.0) <= complaint.at_s]
        named = {max(failed, key=lambda r: r.ended_s or 0.0).number} if failed else set()
    return frozenset(named)


def _routes(result: RunResult, requests: frozenset[int]) -> list[_Route]:
    owners = requests_of_sessions(result)
    sessions = [session for name, session in sessions_of(result).items() if owners.get(name) in requests]
    return [(session.began_s, frozenset(session.devices)) for session in sessions]


def _rank(event: Event, requests: frozenset[int], routes: list[_Route]) -> int | None:
    """How much an event matters, 0 most; None where it does not."""
    match event.kind:
        case Kind.BROKEN:
            return 0
        case kind if kind in _UPHEAVALS:
            return 1
        case Kind.ASKED:
            return 0 if number(event.details.get("request")) in requests else None
        case Kind.TOKEN | Kind.ANSWERED | Kind.FAILED:
            return 2 if number(event.details.get("request")) in requests else None
        case Kind.LOGGED:
            return None if str(event.details.get("level")).lower() in _QUIET_LEVELS else 3
        case Kind.MESSAGE:
            return _MESSAGES if _is_of_a_session(event, routes) else None
        case _:
            return None


def _is_of_a_session(event: Event, routes: list[_Route]) -> bool:
    """Whether a message may belong to one of the sessions: between its devices, while it was computed."""
    if str(event.details.get("type")).startswith(_UPKEEP):
        return False
    ends = (event.details.get("source"), event.device)
    return any(began_s <= event.at_s and any(end in devices for end in ends) for began_s, devices in routes)


def _joined(ranked: list[tuple[int, Event]]) -> list[tuple[int, float, str]]:
    """Events as lines; tokens with nothing of rank 0 to 3 between them become one."""
    lines: list[tuple[int, float, str]] = []
    run: list[Event] = []
    for rank, event in ranked:
        if event.kind is Kind.TOKEN and (not run or _request(run[-1]) == _request(event)):
            run.append(event)
            continue
        if rank < _MESSAGES and run:
            lines.append((2, run[-1].at_s, _tokens(run)))
            run = []
        if event.kind is Kind.TOKEN:
            run.append(event)
        else:
            lines.append((rank, event.at_s, describe(event)))
    if run:
        lines.append((2, run[-1].at_s, _tokens(run)))
    return sorted(lines, key=lambda line: line[1])


def _request(token: Event) -> float:
    return number(token.details.get("request"))


def _tokens(run: list[Event]) -> str:
    if len(run) == 1:
        return describe(run[0])
    first, last = (number(event.details.get("index")) + 1 for event in (run[0], run[-1]))
    since = duration(run[-1].at_s - run[0].at_s)
    return f"Tokens {first:.0f} to {last:.0f} of request {_request(run[0]):.0f} have come within {since}."


def _kept(ranks: list[int]) -> list[int]:
    """Places of at most 20 lines: the last few of every rank, then the most important that are left."""
    places = {rank: [p for p, found in enumerate(ranks) if found == rank] for rank, _ in _SHARES}
    kept = [place for rank, most in _SHARES for place in places[rank][-most:]]
    for rank, most in _SHARES:
        rest = places[rank][:-most]
        room = _MOST_LINES - len(kept) if rank in _GROWING else 0
        kept += rest[max(0, len(rest) - room) :]
    return sorted(kept)
