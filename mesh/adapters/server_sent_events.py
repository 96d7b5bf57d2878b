"""Events of a stream over HTTP, found in bytes that are cut anywhere.

Owns the form of such a stream. Must not know what its events say. The network cuts in the middle of a
character too: bytes are split at line ends first, which no other character of UTF-8 contains, so whoever
reads an event has whole characters.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html (9.2.6).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream."""

    name: bytes
    """Empty where it has none."""
    data: bytes
    """Its lines of data, with line feeds between."""


class EventDecoder:
    """Finds events in bytes that come in pieces of any size. Lines end in CR, LF or both."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._is_first = True
        self._ended_in_cr = False
        self._name = b""
        self._data: list[bytes] = []
        self._num_data_bytes = 0

    @property
    def num_held_bytes(self) -> int:
        """Of the event that is not complete; whoever feeds it bounds them."""
        return len(self._line) + self._num_data_bytes

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Take more bytes; return the events that they complete, which must all be taken."""
        if not chunk:
            return
        if self._ended_in_cr:
            chunk = chunk.removeprefix(b"\n")
        self._ended_in_cr = chunk.endswith(b"\r")
        first, *others = _LINE_END.split(chunk)
        self._line += first
        for following in others:
            event = self._end_line(bytes(self._line))
            self._line = bytearray(following)
            if event:
                yield event

    def _end_line(self, line: bytes) -> Event | None:
        if self._is_first:
            line, self._is_first = line.removeprefix(_BYTE_ORDER_MARK), False
        if not line:
            return self._end_event()
        name, _, value = line.partition(b":")  # a comment has no name; servers send them to keep awake
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._num_data_bytes += len(value) + 1  # an empty line is held too
        elif name == b"event":
            self._name = value
        return None

    def _end_event(self) -> Event | None:
        event = Event(self._name, b"\n".join(self._data)) if self._data else None
        self._name, self._data, self._num_data_bytes = b"", [], 0
        return event
