"""A run as a trace for ui.perfetto.dev and chrome://tracing.

Owns the Trace Event Format (Google, "Trace Event Format", 2016): times in microseconds, one process for each
device with a thread for each stage, one process for the run itself. Slices of one thread never overlap.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from simulator.report.sessions import Attempt, attempts_of, requests_of_sessions, sessions_of
from simulator.report.states import absences
from simulator.report.story import replay_command
from simulator.report.words import describe, layers, number
from simulator.result import RunResult
from simulator.trace import Event, Kind, Value

Field = str | int | float | Mapping[str, Value]
TraceEvent = dict[str, Field]

_THE_RUN = 1
_FIRST_DEVICE = 2
_STATE, _LOG, _FIRST_STAGE = 1, 2, 10

_MOMENTS = {
    Kind.FAULT_BEGAN: ("fault", "g"),
    Kind.FAULT_ENDED: ("fault", "g"),
    Kind.HEALED: ("fault", "g"),
    Kind.BROKEN: ("invariant", "g"),
    Kind.STARTED: ("life", "p"),
    Kind.STOPPED: ("life", "p"),
    Kind.PAUSED: ("life", "p"),
    Kind.WOKEN: ("life", "p"),
    Kind.HEAT_CHANGED: ("heat", "p"),
    Kind.LOGGED: ("log", "t"),
}
"""Category and scope (global, process, thread) of what has no length."""


def write_trace(result: RunResult, path: Path | str, again: str | None = None) -> None:
    """Write a run as one JSON file, an event a line; an existing file is replaced."""
    about = {
        "scenario": result.script.scenario,
        "seed": result.script.seed,
        "verdict": result.verdict.value,
        "digest": result.digest,
        "command": again or replay_command(result),
    }
    with Path(path).open("w", encoding="utf-8") as file:
        file.write(f'{{"displayTimeUnit": "ms",\n"otherData": {json.dumps(about)},\n"traceEvents": [\n')
        file.write(",\n".join(json.dumps(event, ensure_ascii=False) for event in trace_events(result)))
        file.write("\n]}\n")


def trace_events(result: RunResult) -> Iterator[TraceEvent]:
    """Yield the events of a run's trace; names of processes and threads come last."""
    book = _Book(result)
    yield from _slices(result, book)
    yield from _hops(result, book)
    yield from _moments(result, book)
    yield from _counters(result, book)
    yield from _requests(result, book)
    yield from _messages(result, book)
    yield from book.names()


class _Book:
    """Numbers of processes and threads, given out as they are needed."""

    def __init__(self, result: RunResult) -> None:
        names = [device.name for device in result.script.devices]
        self.places: dict[int, int] = {}
        """Thread of each frame and load, by the identity of its event."""
        self._pids = {name: _FIRST_DEVICE + place for place, name in enumerate(names)}
        self._titles = {d.name: f"{d.name} ({d.profile}, {d.lan})" for d in result.script.devices}
        self._threads: dict[tuple[int, int], str] = {}
        self._tids: dict[tuple[int, str], int] = {}
        self._busy_until_s: dict[tuple[int, int], float] = {}

    def pid(self, device: str) -> int:
        """Return a device's process; the run's own where it concerns none."""
        if not device:
            return _THE_RUN
        return self._pids.setdefault(device, _FIRST_DEVICE + len(self._pids))

    def tid(self, pid: int, tid: int, name: str) -> int:
        """Return that thread, which has that name from now on."""
        self._threads[pid, tid] = name
        return tid

    def free_stage(self, pid: int, stage: str, began_s: float, ended_s: float) -> int:
        """Return a thread of a stage on which nothing lies in that time; frames come by their begin."""
        for copy in range(1, 1000):
            name = stage if copy == 1 else f"{stage} ({copy})"
            tid = self._tids.setdefault((pid, name), _FIRST_STAGE + len(self._tids))
            if self._busy_until_s.get((pid, tid), 0.0) <= began_s:
                break
        self._busy_until_s[pid, tid] = ended_s
        return self.tid(pid, tid, name)

    def names(self) -> Iterator[TraceEvent]:
        """Yield the metadata: what each process and thread is called, and in which order they stand."""
        for name, pid in (("", _THE_RUN), *self._pids.items()):
            title = self._titles.get(name, name) or "the run"
            yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": title}}
            yield {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
        for (pid, tid), name in self._threads.items():
            yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}


def _slices(result: RunResult, book: _Book) -> Iterator[TraceEvent]:
    owners = requests_of_sessions(result)
    work = [event for event in result.events if event.kind in (Kind.COMPUTED, Kind.LOADED)]
    for event in sorted(work, key=_began_s):
        yield _slice(event, book, owners)
    for gone in absences(result):
        pid = book.pid(gone.device)
        tid = book.tid(pid, _STATE, "state")
        yield _complete(pid, tid, gone.began_s, gone.ended_s) | {"name": gone.what, "cat": "state"}


def _slice(event: Event, book: _Book, owners: Mapping[str, int]) -> TraceEvent:
    pid, began_s = book.pid(event.device), _began_s(event)
    is_frame = event.kind is Kind.COMPUTED
    tid = book.free_stage(pid, f"{'stage' if is_frame else 'load'} {layers(event)}", began_s, event.at_s)
    owner = owners.get(str(event.details.get("session")))
    frame = f"{f'request {owner} ' if owner is not None else ''}from {event.details.get('position')}"
    name = frame if is_frame else f"load {event.details.get('model')} {layers(event)}"
    shown = {key: value for key, value in event.details.items() if key != "began_s"}
    book.places[id(event)] = tid
    labels: TraceEvent = {"name": name, "cat": "frame" if is_frame else "load", "args": shown}
    return _complete(pid, tid, began_s, event.at_s) | labels


def _hops(result: RunResult, book: _Book) -> Iterator[TraceEvent]:
    """Arrows from the end of a frame at one stage to its begin at the next."""
    link = 0
    for session in sessions_of(result).values():
        waiting: dict[tuple[Value, Value], Event] = {}
        for frame in session.frames:
            position = frame.details.get("position")
            before = waiting.pop((frame.details.get("span_start"), position), None)
            waiting[frame.details.get("span_end"), position] = frame
            if before is not None and before.at_s <= _began_s(frame):
                link += 1
                yield _end_of_arrow("s", link, before, book)
                yield _end_of_arrow("f", link, frame, book)


def _end_of_arrow(phase: str, link: int, frame: Event, book: _Book) -> TraceEvent:
    """An arrow hangs on the slice that encloses its time; `bp` e says so for its head."""
    inside_s = (_began_s(frame) + frame.at_s) / 2 if phase == "s" else _began_s(frame)
    end: TraceEvent = {"ph": phase, "name": "hop", "cat": "hop", "id": link, "ts": _us(inside_s)}
    end |= {"pid": book.pid(frame.device), "tid": book.places[id(frame)]}
    return end | {"bp": "e"} if phase == "f" else end


def _moments(result: RunResult, book: _Book) -> Iterator[TraceEvent]:
    for event in result.events:
        if event.kind in _MOMENTS:
            category, scope = _MOMENTS[event.kind]
            pid = book.pid(event.device)
            is_log = event.kind is Kind.LOGGED
            tid = book.tid(pid, _LOG, "log") if is_log else book.tid(pid, _STATE, "state")
            yield {
                "ph": "i",
                "name": describe(event),
                "cat": category,
                "ts": _us(event.at_s),
                "pid": pid,
                "tid": tid,
                "s": scope,
                "args": dict(event.details),
            }


def _counters(result: RunResult, book: _Book) -> Iterator[TraceEvent]:
    for event in result.events:
        if event.kind is Kind.SAMPLED:
            pid, details = book.pid(event.device), event.details
            yield _counter("memory MB", pid, event.at_s, number(details.get("memory_used_bytes")) / 1e6)
            yield _counter("sessions", pid, event.at_s, number(details.get("sessions")))
            if (battery := details.get("battery")) is not None:
                yield _counter("battery %", pid, event.at_s, number(battery) * 100)
            if (degrees_c := details.get("degrees_c")) is not None:
                yield _counter("temperature °C", pid, event.at_s, number(degrees_c))


def _counter(name: str, pid: int, at_s: float, value: float) -> TraceEvent:
    shown: Mapping[str, Value] = {"value": round(value, 3)}
    return {"ph": "C", "name": name, "cat": "state", "ts": _us(at_s), "pid": pid, "tid": 0, "args": shown}


def _requests(result: RunResult, book: _Book) -> Iterator[TraceEvent]:
    for attempt in attempts_of(result):
        yield from _request(attempt, result.ended_s, book)


def _request(attempt: Attempt, end_s: float, book: _Book) -> Iterator[TraceEvent]:
    pid = book.pid(attempt.device)
    again = f", attempt {attempt.number}" if attempt.number > 1 else ""
    line: TraceEvent = {
        "name": f"request {attempt.request}{again}",
        "cat": "request",
        "id": f"request/{attempt.request}/{attempt.asked_s}",
        "pid": pid,
        "tid": 0,
    }
    ended = attempt.ended
    last_s = ended.at_s if ended else max([end_s, attempt.asked_s, *attempt.token_times_s])
    outcome = dict(ended.details) if ended else {"reason": "still under way at the end"}
    yield {"ph": "b", "ts": _us(attempt.asked_s), **line, "args": {"model": attempt.model}}
    for place, at_s in enumerate(attempt.token_times_s):
        yield {"ph": "n", "ts": _us(at_s), **line, "args": {"token": place}}
    yield {"ph": "e", "ts": _us(last_s), **line, "args": outcome}


def _messages(result: RunResult, book: _Book) -> Iterator[TraceEvent]:
    for place, event in enumerate(result.events):
        if event.kind is Kind.MESSAGE:
            source = str(event.details.get("source") or "")
            line: TraceEvent = {
                "name": f"{event.details.get('type')} → {event.device}",
                "cat": "message",
                "id": f"message/{place}",
                "pid": book.pid(source),
                "tid": 0,
            }
            sent_s = min(number(event.details.get("sent_s")), event.at_s)
            yield {"ph": "b", "ts": _us(sent_s), **line, "args": {"bytes": event.details.get("bytes")}}
            yield {"ph": "e", "ts": _us(event.at_s), **line}


def _complete(pid: int, tid: int, began_s: float, ended_s: float) -> TraceEvent:
    began_us = _us(began_s)
    return {"ph": "X", "ts": began_us, "dur": round(_us(ended_s) - began_us, 3), "pid": pid, "tid": tid}


def _began_s(event: Event) -> float:
    began_s = event.details.get("began_s")
    return event.at_s if began_s is None else min(number(began_s), event.at_s)


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 3)
