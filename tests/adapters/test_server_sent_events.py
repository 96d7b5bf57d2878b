"""Events are the same wherever the network cuts their bytes."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import repeat

import pytest

from mesh.adapters.server_sent_events import Event, EventDecoder


def decoded(data: bytes, sizes: Iterable[int]) -> list[Event]:
    """Return what a decoder finds in bytes that come in pieces of these sizes."""
    decoder = EventDecoder()
    events: list[Event] = []
    for size in sizes:
        if not data:
            break
        events += decoder.feed(data[:size])
        data = data[size:]
    return events


TRICKY = (
    b"\xef\xbb\xbfdata: one\n"
    b": hello\n\n"
    b": keep-alive\n\n"
    b"event: error\ndata:two\nid: 7\nretry: 10\ndata:  lines\n\n"
    b"data\n\n"
    b"\n\n\nnonsense: x\n\n" + "data: Grüße, 世界 🌍: und mehr\n\n".encode()
)
EXPECTED = [
    Event(b"", b"one"),
    Event(b"error", b"two\n lines"),
    Event(b"", b""),
    Event(b"", "Grüße, 世界 🌍: und mehr".encode()),
]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_events_are_found_wherever_their_bytes_are_cut(line_end: bytes) -> None:
    data = TRICKY.replace(b"\n", line_end)
    for size in (1, 2, 3, len(data)):
        assert decoded(data, repeat(size)) == EXPECTED
    for seed in range(200):
        draw = random.Random(seed)
        assert decoded(data, (draw.randint(1, 12) for _ in data)) == EXPECTED


def test_an_event_is_whole_as_soon_as_its_blank_line_is() -> None:
    decoder = EventDecoder()
    assert list(decoder.feed(b"data: a\r\n\r")) == [Event(b"", b"a")]
    assert list(decoder.feed(b"")) == []
    assert list(decoder.feed(b"\ndata: b\n")) == []
    assert list(decoder.feed(b"\n")) == [Event(b"", b"b")]


def test_what_an_event_holds_is_counted_in_its_unfinished_line_and_its_lines_of_data() -> None:
    decoder = EventDecoder()
    assert list(decoder.feed(b"data: 12345\ndata\ndata: 12")) == []
    assert decoder.num_held_bytes == 6 + 1 + len(b"data: 12")
    assert len(list(decoder.feed(b"\n\n"))) == 1
    assert decoder.num_held_bytes == 0
