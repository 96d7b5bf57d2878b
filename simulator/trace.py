"""What happened in a run, in order, and the digest of it.

Owns the record. Two runs are the same when their digests are: every event and every message, with its bytes,
goes into it in the order in which it happened. Must not know what any event means.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mesh.wire.envelope_pb2 import Envelope

Value = str | int | float | bool | None

_STAMP = struct.Struct("<dII")


class Kind(StrEnum):
    """What an event is about; the details that come with it are named here."""

    FAULT_BEGAN = "fault_began"
    """kind_of_fault, and in words: text"""
    FAULT_ENDED = "fault_ended"
    """kind_of_fault, text"""
    HEALED = "healed"
    STARTED = "started"
    """A device's agent runs: incarnation"""
    STOPPED = "stopped"
    """how: left, crashed or power_off"""
    PAUSED = "paused"
    WOKEN = "woken"
    LOGGED = "logged"
    """What a role said: level, logger, text"""
    LOADED = "loaded"
    """A span is in memory: began_s, model, span_start, span_end, bytes"""
    COMPUTED = "computed"
    """A frame went through a stage: began_s, session, span_start, span_end, position, rows"""
    ASKED = "asked"
    """On the device whose gateway is asked: request, model, attempt"""
    ROUTED = "routed"
    """The way that an answer takes now: request, session, epoch, devices; after a loss: lost, stall_s"""
    TOKEN = "token"
    """request, index, token"""
    ANSWERED = "answered"
    """request, reason, tokens"""
    FAILED = "failed"
    """request, code, text"""
    DRAINED = "drained"
    """A command that drained the device is over: text"""
    HEAT_CHANGED = "heat_changed"
    """state, degrees_c"""
    SAMPLED = "sampled"
    """State of a device, twice a virtual second: memory_used_bytes, battery, degrees_c, sessions"""
    MESSAGE = "message"
    """One message arrived at the device: source, sent_s, bytes, type"""
    BROKEN = "broken"
    """An invariant does not hold: invariant, text"""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    at_s: float
    kind: Kind
    device: str
    """Empty where it concerns no single device."""
    details: dict[str, Value]


class Trace:
    """The record of one run."""

    def __init__(self, device_names: Sequence[str], *, keeps_messages: bool) -> None:
        self._names = device_names
        self.events: list[Event] = []
        self._keeps_messages = keeps_messages
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, at_s: float, kind: Kind, device: str = "", /, **details: Value) -> None:
        """Record an event."""
        self.events.append(Event(at_s, kind, device, details))
        self._hash.update(repr((at_s, kind.value, device, details)).encode())

    def message(self, at_s: float, sent_s: float, ends: tuple[int, int], data: bytes) -> None:
        """Record that a message arrived; `ends` are the places of sender and receiver among the devices."""
        self._hash.update(_STAMP.pack(at_s, *ends))
        self._hash.update(data)
        if self._keeps_messages:
            source, target = (self._names[end] for end in ends)
            kind = _message_type(data)
            details: dict[str, Value] = {"source": source, "sent_s": sent_s, "bytes": len(data), "type": kind}
            self.events.append(Event(at_s, Kind.MESSAGE, target, details))

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that stand for all that happened so far."""
        return self._hash.hexdigest()


_TYPES = {field.number: field.name for field in Envelope.DESCRIPTOR.fields}


def _message_type(data: bytes) -> str:
    """Name the message in an envelope's bytes: the field that its first key says (protobuf's wire format)."""
    number, shift = 0, 0
    for byte in data[:2]:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return _TYPES.get(number >> 3, "unknown")
