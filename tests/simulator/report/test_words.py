"""Figures and events read as plain words."""

from __future__ import annotations

import pytest

from simulator.report import words
from simulator.trace import Event, Kind, Value


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "none"),
        (0.0, "0 µs"),
        (850e-6, "850 µs"),
        (1.2345e-3, "1.23 ms"),
        (0.0414, "41.4 ms"),
        (0.99949, "999 ms"),
        (0.9996, "1.00 s"),
        (12.5, "12.50 s"),
        (3600.0, "3,600 s"),
    ],
)
def test_a_length_of_time_is_said_in_three_digits_and_a_fitting_unit(
    seconds: float | None, said: str
) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("num_bytes", "said"),
    [(0, "0 B"), (999, "999 B"), (4_250, "4.25 kB"), (98e6, "98.0 MB"), (2.1e9, "2.10 GB")],
)
def test_bytes_are_said_in_decimal_units(num_bytes: float, said: str) -> None:
    assert words.size(num_bytes) == said


SENTENCES: list[tuple[Kind, dict[str, Value], str]] = [
    (
        Kind.FAULT_BEGAN,
        {"kind_of_fault": "slow", "text": "tv is slower"},
        "Fault begins: tv is slower.",
    ),
    (Kind.FAULT_ENDED, {"kind_of_fault": "slow"}, "Fault ends: slow."),
    (Kind.HEALED, {}, "Everything is healed; from here on progress is demanded."),
    (Kind.STARTED, {"incarnation": 2}, "tv starts (incarnation 2)."),
    (Kind.STOPPED, {"how": "power_off"}, "tv loses its power without a word."),
    (Kind.PAUSED, {}, "tv stands still."),
    (Kind.WOKEN, {}, "tv goes on."),
    (Kind.LOGGED, {"level": "WARNING", "text": "late\nnews"}, "tv logs (warning): late news."),
    (
        Kind.LOADED,
        {"began_s": 1.5, "model": "tiny", "span_start": 0, "span_end": 4, "bytes": 2_000_000},
        "tv has loaded layers [0, 4) of tiny (2.00 MB) in 500 ms.",
    ),
    (
        Kind.COMPUTED,
        {"began_s": 1.99, "session": "ab", "span_start": 0, "span_end": 4, "position": 7, "rows": 1},
        "tv takes 1 row from position 7 through layers [0, 4) of session ab in 10.0 ms.",
    ),
    (Kind.ASKED, {"request": 3, "model": "tiny", "attempt": 2}, "tv is asked request 3 of tiny (attempt 2)."),
    (
        Kind.ROUTED,
        {"request": 3, "session": "ab", "epoch": 0, "devices": "tv, hub", "lost": "", "stall_s": 0.0},
        "Request 3 goes by session ab, epoch 0: tv, hub.",
    ),
    (Kind.DRAINED, {"text": "it holds nothing any more"}, "tv was drained: it holds nothing any more."),
    (Kind.TOKEN, {"request": 3, "index": 0, "token": 9}, "Token 1 of request 3 comes to tv."),
    (
        Kind.ANSWERED,
        {"request": 3, "reason": "stop", "tokens": 12},
        "Request 3 is answered with 12 tokens (stop).",
    ),
    (
        Kind.FAILED,
        {"request": 3, "code": "stage_lost", "text": "hub is gone"},
        "Request 3 fails with stage_lost: hub is gone.",
    ),
    (Kind.HEAT_CHANGED, {"state": "throttled", "degrees_c": 44.04}, "tv is now throttled (44.0 °C)."),
    (
        Kind.SAMPLED,
        {"memory_used_bytes": 5_000_000, "battery": 0.5, "degrees_c": None, "sessions": 1},
        "tv: 5.00 MB in use, battery 50 %, 1 session.",
    ),
    (
        Kind.MESSAGE,
        {"source": "hub", "sent_s": 1.996, "bytes": 512, "type": "frame"},
        "tv receives frame (512 B) from hub after 4.00 ms.",
    ),
    (Kind.BROKEN, {"invariant": "streams_end", "text": "no end"}, "Broken: streams_end: no end."),
]


@pytest.mark.parametrize(("kind", "details", "said"), SENTENCES)
def test_an_event_is_one_plain_sentence(kind: Kind, details: dict[str, Value], said: str) -> None:
    assert words.describe(Event(2.0, kind, "tv", details)) == said


def test_every_kind_of_event_has_its_sentence() -> None:
    assert {kind for kind, _, _ in SENTENCES} == set(Kind)


@pytest.mark.parametrize("kind", list(Kind))
def test_missing_details_never_fail(kind: Kind) -> None:
    assert words.describe(Event(2.0, kind, "", {})).endswith((".", "?"))
