"""The data of the page's timeline and list of events, as plain JSON values.

Owns their layout, which `page.js` reads: rows of numbers in place of objects, because thousands of them go
into one page. Times are seconds to the microsecond.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.report.choice import kept_events, kept_frames
from simulator.report.sessions import attempts_of, requests_of_sessions
from simulator.report.states import absences, devices_of, end_of, is_moment, title_of
from simulator.report.words import describe, layers, number, size
from simulator.result import RunResult
from simulator.trace import Event, Kind

Row = list[float | int | str | None]


@dataclass(frozen=True, slots=True)
class PageData:
    """What the script of the page draws."""

    values: dict[str, object]
    notes: tuple[str, ...]
    """What was left out."""
    events_note: str


def page_data(result: RunResult, devices: tuple[str, ...]) -> PageData:
    """Return the data of a run, with a lane for each of the devices."""
    lanes = {name: place for place, name in enumerate(devices)}
    work = [e for e in result.events if e.kind is Kind.COMPUTED and e.device in lanes]
    frames = kept_frames(work)
    sessions: dict[str, int] = {}
    rows = [_frame(event, lanes, sessions) for event in frames.items]
    events = kept_events(result)
    values: dict[str, object] = {
        "end": _s(result.ended_s),
        "lanes": list(devices),
        "frames": rows,
        "sessions": _sessions(result, sessions),
        "loads": [_load(e, lanes) for e in result.events if e.kind is Kind.LOADED and e.device in lanes],
        "requests": _requests(result, lanes),
        "bands": [*_absences(result, lanes), *_bands(result, lanes)],
        "marks": _marks(result, lanes),
        "complaints": [_s(complaint.at_s) for complaint in result.complaints],
        **_events(events.items),
    }
    return PageData(values, (frames.note,) if frames.note else (), events.note)


def _s(seconds: float) -> float:
    return round(seconds, 6)


def _frame(event: Event, lanes: Mapping[str, int], sessions: dict[str, int]) -> Row:
    """Lane, began, ended, session, position, rows, span."""
    session = sessions.setdefault(str(event.details.get("session")), len(sessions))
    began_s = event.details.get("began_s", event.at_s)
    place = (int(number(event.details.get("position"))), int(number(event.details.get("rows"))))
    return [lanes[event.device], _s(number(began_s)), _s(event.at_s), session, *place, layers(event)]


def _sessions(result: RunResult, sessions: Mapping[str, int]) -> list[Row]:
    """Name and most likely request of each session, by its number."""
    owners = requests_of_sessions(result)
    return [[name, owners.get(name)] for name in sessions]


def _load(event: Event, lanes: Mapping[str, int]) -> Row:
    """Lane, began, ended, what."""
    what = f"{event.details.get('model')} {layers(event)}, {size(number(event.details.get('bytes')))}"
    began_s = number(event.details.get("began_s", event.at_s))
    return [lanes[event.device], _s(began_s), _s(event.at_s), what]


def _requests(result: RunResult, lanes: Mapping[str, int]) -> list[list[object]]:
    """Lane, asked, ended, request, how it ended, times of its tokens."""
    found: list[list[object]] = []
    for attempt in attempts_of(result):
        if attempt.device in lanes:
            ended = attempt.ended
            outcome = describe(ended) if ended else "still under way at the end"
            end_s = ended.at_s if ended else result.ended_s
            times_s = [_s(at_s) for at_s in attempt.token_times_s]
            found.append(
                [lanes[attempt.device], _s(attempt.asked_s), _s(end_s), attempt.request, outcome, times_s]
            )
    return found


def _absences(result: RunResult, lanes: Mapping[str, int]) -> list[Row]:
    """Lane, began, ended, title, kind of band: off or paused."""
    return [
        [lanes[gone.device], _s(gone.began_s), _s(gone.ended_s), gone.what, gone.what]
        for gone in absences(result)
        if gone.device in lanes
    ]


def _bands(result: RunResult, lanes: Mapping[str, int]) -> list[Row]:
    """The same for faults that last."""
    return [
        [lanes[name], _s(fault.at_s), _s(end_of(fault, result)), title_of(fault), "fault"]
        for fault in result.script.faults
        if not is_moment(fault) and fault.at_s <= result.ended_s
        for name in devices_of(fault, result)
        if name in lanes
    ]


def _marks(result: RunResult, lanes: Mapping[str, int]) -> list[Row]:
    """Lane, time, title of what is a moment."""
    return [
        [lanes[name], _s(fault.at_s), title_of(fault)]
        for fault in result.script.faults
        if is_moment(fault) and fault.at_s <= result.ended_s
        for name in devices_of(fault, result)
        if name in lanes
    ]


def _events(events: tuple[Event, ...]) -> dict[str, object]:
    """Time, number of the kind, number of the device, sentence."""
    kinds: dict[str, int] = {}
    devices: dict[str, int] = {}
    rows: list[Row] = [
        [
            _s(event.at_s),
            kinds.setdefault(event.kind.value, len(kinds)),
            devices.setdefault(event.device, len(devices)),
            describe(event),
        ]
        for event in events
    ]
    return {"events": rows, "kinds": list(kinds), "eventDevices": list(devices)}
