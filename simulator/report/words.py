"""Figures and events in plain words.

Owns how seconds, bytes and shares are written, and one sentence for each kind of event. Must not know which
events matter (`story`) or where they are shown. Never fails: a detail that is missing is left out or shown
as a question mark.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from simulator.trace import Event, Kind, Value

_SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))

_STOPS = {
    "left": "leaves and says goodbye",
    "crashed": "crashes",
    "power_off": "loses its power without a word",
}


def duration(seconds: float | None) -> str:
    """Return a length of time in three digits or so: 850 µs, 12.3 ms, 1.25 s."""
    if seconds is None:
        return "none"
    if abs(seconds) >= 0.9995:
        return f"{seconds:.2f} s" if abs(seconds) < 100 else f"{seconds:,.0f} s"
    if abs(seconds) >= 0.9995e-3:
        return f"{_short(seconds * 1e3)} ms"
    return f"{seconds * 1e6:.0f} µs"


def clock(at_s: float) -> str:
    """Return a point in virtual time, to the millisecond: 12.482 s."""
    return f"{at_s:,.3f} s"


def size(num_bytes: float) -> str:
    """Return bytes in decimal units: 912 B, 4.25 kB, 98 MB."""
    for unit, name in _SIZES:
        if num_bytes >= unit:
            return f"{_short(num_bytes / unit)} {name}"
    return f"{num_bytes:.0f} B"


def energy(joules: float) -> str:
    """Return energy in joules, from 10 kJ on in watt hours."""
    return f"{_short(joules)} J" if joules < 10_000 else f"{joules / 3600:,.2f} Wh"


def share(part: float | None) -> str:
    """Return a part of one in percent."""
    return "none" if part is None else f"{part * 100:.0f} %"


def count(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: 1 token, 2,000 tokens."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def number(value: Value | None) -> float:
    """Return a detail as a number; 0 where it is none."""
    return float(value) if isinstance(value, int | float) else 0.0


def layers(event: Event) -> str:
    """Return the span of layers that an event is about: [0, 12)."""
    return f"[{_text(event, 'span_start')}, {_text(event, 'span_end')})"


def describe(event: Event) -> str:
    """Return one event as one short sentence; tokens are counted from 1."""
    match event.kind:
        case Kind.FAULT_BEGAN | Kind.FAULT_ENDED | Kind.HEALED | Kind.BROKEN:
            return _of_the_world(event)
        case Kind.ASKED | Kind.ROUTED | Kind.TOKEN | Kind.ANSWERED | Kind.FAILED:
            return _of_a_request(event)
        case Kind.STARTED | Kind.STOPPED | Kind.PAUSED | Kind.WOKEN | Kind.LOGGED | Kind.DRAINED:
            return _of_an_agent(event)
        case Kind.LOADED | Kind.COMPUTED | Kind.HEAT_CHANGED | Kind.SAMPLED | Kind.MESSAGE:
            return _WORK[event.kind](event)
    assert_never(event.kind)


def _of_the_world(event: Event) -> str:
    said = _text(event, "text", _text(event, "kind_of_fault"))
    if event.kind is Kind.HEALED:
        return "Everything is healed; from here on progress is demanded."
    if event.kind is Kind.BROKEN:
        return _stop(f"Broken: {_text(event, 'invariant')}: {_text(event, 'text')}")
    return _stop(f"{'Fault begins' if event.kind is Kind.FAULT_BEGAN else 'Fault ends'}: {said}")


def _of_a_request(event: Event) -> str:
    request = f"request {_text(event, 'request')}"
    if event.kind is Kind.ASKED:
        again = f" (attempt {_text(event, 'attempt')})" if number(event.details.get("attempt")) > 1 else ""
        return f"{event.device} is asked {request} of {_text(event, 'model')}{again}."
    if event.kind is Kind.ROUTED:
        return _routed(event, request)
    if event.kind is Kind.TOKEN:
        return f"Token {number(event.details.get('index')) + 1:.0f} of {request} comes to {event.device}."
    if event.kind is Kind.ANSWERED:
        tokens = count(int(number(event.details.get("tokens"))), "token")
        return f"R{request[1:]} is answered with {tokens} ({_text(event, 'reason')})."
    return _stop(f"R{request[1:]} fails with {_text(event, 'code')}: {_text(event, 'text')}")


def _routed(event: Event, request: str) -> str:
    way = f"session {_text(event, 'session')}, epoch {_text(event, 'epoch')}: {_text(event, 'devices')}"
    if not event.details.get("lost"):
        return f"R{request[1:]} goes by {way}."
    pause = duration(number(event.details.get("stall_s")))
    return f"R{request[1:]} goes on without {_text(event, 'lost')} after a pause of {pause}, by {way}."


def _of_an_agent(event: Event) -> str:
    if event.kind is Kind.STARTED:
        return f"{event.device} starts (incarnation {_text(event, 'incarnation')})."
    if event.kind is Kind.STOPPED:
        how = _text(event, "how")
        return f"{event.device} {_STOPS.get(how, f'stops ({how})')}."
    if event.kind is Kind.DRAINED:
        return _stop(f"{event.device} was drained: {_text(event, 'text')}")
    if event.kind is Kind.LOGGED:
        return _stop(f"{event.device} logs ({_text(event, 'level').lower()}): {_text(event, 'text')}")
    return f"{event.device} {'stands still' if event.kind is Kind.PAUSED else 'goes on'}."


def _loaded(event: Event) -> str:
    took = duration(event.at_s - number(event.details.get("began_s", event.at_s)))
    held = size(number(event.details.get("bytes")))
    return f"{event.device} has loaded layers {layers(event)} of {_text(event, 'model')} ({held}) in {took}."


def _computed(event: Event) -> str:
    rows = count(int(number(event.details.get("rows"))), "row")
    took = duration(event.at_s - number(event.details.get("began_s", event.at_s)))
    where = f"from position {_text(event, 'position')} through layers {layers(event)}"
    return f"{event.device} takes {rows} {where} of session {_text(event, 'session')} in {took}."


def _heat_changed(event: Event) -> str:
    return f"{event.device} is now {_text(event, 'state')} ({number(event.details.get('degrees_c')):.1f} °C)."


def _sampled(event: Event) -> str:
    said = [f"{size(number(event.details.get('memory_used_bytes')))} in use"]
    battery, degrees_c = event.details.get("battery"), event.details.get("degrees_c")
    if battery is not None:
        said.append(f"battery {share(number(battery))}")
    if degrees_c is not None:
        said.append(f"{number(degrees_c):.1f} °C")
    said.append(count(int(number(event.details.get("sessions"))), "session"))
    return f"{event.device}: {', '.join(said)}."


def _message(event: Event) -> str:
    took = duration(event.at_s - number(event.details.get("sent_s", event.at_s)))
    what = f"{_text(event, 'type')} ({size(number(event.details.get('bytes')))})"
    return f"{event.device} receives {what} from {_text(event, 'source')} after {took}."


_WORK: dict[Kind, Callable[[Event], str]] = {
    Kind.LOADED: _loaded,
    Kind.COMPUTED: _computed,
    Kind.HEAT_CHANGED: _heat_changed,
    Kind.SAMPLED: _sampled,
    Kind.MESSAGE: _message,
}


def _text(event: Event, name: str, otherwise: str = "?") -> str:
    value = event.details.get(name)
    return otherwise if value is None else " ".join(str(value).split())


def _stop(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _short(value: float) -> str:
    """Three digits or so, without an exponent."""
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"
