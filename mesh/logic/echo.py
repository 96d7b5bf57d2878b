"""How long one way takes: the questions that a node asks another, and what it makes of their answers.

Owns which question is out, and the estimates. Pure: `now` in seconds of any monotonic clock. Must not know
lines, nor when it is time to ask.

A small question is followed by another as soon as it is answered, for the first one may find a radio or a
processor that sleeps, and a session's messages, one after the other, do not. The round trip is the least of
the last four: that is the network's own time, and what is above it was a scheduler, or another message in
the way.

The rate is what a padding brought about: its bytes over what its question took beyond the median of the last
three that followed another, the median of the last five. It is that of a message of this size, with what TCP
makes of it; where the network's own time changes from message to message by as much as the padding takes, it
says too little, on Wi-Fi half. A small padding goes ahead of the large one and tells whether that would be in
the way of what follows on the same line, heartbeats among it; on so slow a way the small one has to do.

What is told to others is rounded to steps of a fourth of an octave, and stays at its step until the estimate
is clearly beyond it: so it seldom changes, and is up to a third off.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import median, median_low

from mesh.messages import Echo
from mesh.types import LinkRecord, NodeId

TRIAL_BYTES = 2 * 2**10
PADDING_BYTES = 32 * 2**10
"""What a prompt's row takes at a hidden size of 16,384; on a quiet Wi-Fi one or two milliseconds."""

_NUM_ROUND_TRIPS = 4  # with two in 20 s the window is past in 40 s, and a way that got slower shows
_NUM_AWAKE = 3
_NUM_RATES = 5
_LONGEST_S = 0.25  # of a padding: two nodes that share a session bear 0.5 s of each other's silence
_LEAST_S = 1e-4  # of a round trip: nothing depends on less
_CHANCE_S = 1e-6  # a padding that took less says nothing: it took less than what comes and goes by chance
_MOST_RATE = 2.0**30  # bytes a second: on one computer
_STEPS = 4  # to an octave: 19 % each
_ROUND_TRIP_SLACK = 1.5  # steps from the one that was told: on Wi-Fi that is exceeded five times an hour
_RATE_SLACK = 2.0  # and that seven times


@dataclass(frozen=True, slots=True)
class _Question:
    """One that is out."""

    number: int
    padding_bytes: int
    at_s: float
    is_second: bool
    """Whether it followed another at once."""


class Gauge:
    """The way to one other node, as far as it was measured."""

    def __init__(self) -> None:
        self._question: _Question | None = None
        self._number = 0
        self._is_second = False
        """Whether the next question is to follow another at once."""
        self._is_for_rate = False
        self._round_trips_s: deque[float] = deque(maxlen=_NUM_ROUND_TRIPS)
        self._awake_s: deque[float] = deque(maxlen=_NUM_AWAKE)
        """Those of questions that followed another at once."""
        self._rates: deque[float] = deque(maxlen=_NUM_RATES)
        self._told_round_trip_s = _Rounded(_ROUND_TRIP_SLACK)
        self._told_rate = _Rounded(_RATE_SLACK)

    @property
    def has_answer(self) -> bool:
        """Whether the other one ever answered."""
        return bool(self._round_trips_s)

    def want_rate(self) -> None:
        """Have the next answers followed by questions for the rate."""
        self._is_for_rate = True

    def ask(self, padding_bytes: int, now: float) -> Echo:
        """Return the question to send now; one that is out still is given up."""
        self._number += 1
        self._question = _Question(self._number, padding_bytes, now, self._is_second)
        self._is_second = False
        return Echo(self._number, padding_bytes)

    def answered(self, number: int, now: float) -> int | None:
        """Take an answer; return the padding of the question to ask at once, None where that is none.

        An answer to anything but the question that is out is passed over.
        """
        asked = self._question
        if asked is None or asked.number != number:
            return None
        self._question = None
        took_s = now - asked.at_s
        if asked.padding_bytes == 0:
            return self._small_answered(asked, took_s)
        extra_s = took_s - median(self._awake_s)
        if asked.padding_bytes == TRIAL_BYTES and extra_s * PADDING_BYTES <= _LONGEST_S * TRIAL_BYTES:
            return PADDING_BYTES
        self._is_for_rate = False
        if extra_s > _CHANCE_S:
            self._rates.append(min(_MOST_RATE, asked.padding_bytes / extra_s))
        return None

    def _small_answered(self, asked: _Question, took_s: float) -> int | None:
        self._round_trips_s.append(took_s)
        if not asked.is_second:
            self._is_second = True
            return 0
        self._awake_s.append(took_s)
        return TRIAL_BYTES if self._is_for_rate else None

    def record(self, node_id: NodeId) -> LinkRecord | None:
        """Return what to tell others of the way; None while nothing was measured."""
        if not self._round_trips_s:
            return None
        round_trip_s = self._told_round_trip_s.of(max(_LEAST_S, min(self._round_trips_s)))
        rate = self._told_rate.of(median_low(self._rates)) if self._rates else None
        return LinkRecord(node_id, round_trip_s, rate)


class _Rounded:
    """A figure as it is told: a power of two to a multiple of a fourth."""

    def __init__(self, slack: float) -> None:
        self._slack = slack
        self._step: int | None = None

    def of(self, figure: float) -> float:
        """Round a positive figure: to what was told last, unless it is clearly beyond that."""
        exact = _STEPS * math.log2(figure)
        if self._step is None or abs(exact - self._step) > self._slack:
            self._step = round(exact)
        return float(2.0 ** (self._step / _STEPS))
