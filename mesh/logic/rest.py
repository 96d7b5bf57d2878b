"""When a device's owner lets it rest: times of the day, in minutes of the clock on the wall.

Owns how such times are written, whether a minute lies within one, and when that changes next. Pure. Must not
know what time it is, nor what a device does while it rests.

A time is half open: from 22:00 to 07:00 the device rests at 22:00 and works at 07:00. Only what the clock
shows counts, so a clock that is set, or that skips an hour in spring, needs nothing but another look.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mesh.errors import BadSetting

DAY_MINUTES = 24 * 60

_TIMES = re.compile(r"\s*([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class RestTime:
    """A part of each day, in minutes since midnight; over midnight where it ends no later than it starts."""

    start_minute: int
    """From 0 to 1439."""
    end_minute: int
    """The first minute after it, from 0 to 1440; never the start."""

    def is_within(self, minute_of_day: int) -> bool:
        """Whether the device rests at that minute."""
        if self.start_minute < self.end_minute:
            return self.start_minute <= minute_of_day < self.end_minute
        return minute_of_day >= self.start_minute or minute_of_day < self.end_minute

    def __str__(self) -> str:
        return f"{_clock(self.start_minute)}-{_clock(self.end_minute)}"


def parse_rest_time(text: str) -> RestTime:
    """Read '22:00-07:00'; 24:00 is the end of a day, so that '00:00-24:00' is all of it.

    Raises BadSetting naming the text for what is no such time, and for one without length.
    """
    found = _TIMES.fullmatch(text)
    start, end = (_minute(found[1], found[2]), _minute(found[3], found[4])) if found else (None, None)
    if start is None or end is None or start == DAY_MINUTES:
        raise BadSetting(f"{text[:80]!r} is no time of the day to rest; write for instance 22:00-07:00")
    if start == end:
        raise BadSetting(f"{text[:80]!r} ends as it starts; write 00:00-24:00 for the whole day")
    return RestTime(start, end)


def is_within(times: Sequence[RestTime], minute_of_day: int) -> bool:
    """Whether the device rests at that minute by any of the times."""
    return any(time.is_within(minute_of_day) for time in times)


def next_change(times: Sequence[RestTime], minute_of_day: int) -> int | None:
    """Return the minute of the day at which rest begins or ends next; None where it never does.

    Times that meet or overlap are one.
    """
    now = is_within(times, minute_of_day)
    edges = {edge % DAY_MINUTES for time in times for edge in (time.start_minute, time.end_minute)}
    ahead = sorted(edges, key=lambda edge: (edge - minute_of_day) % DAY_MINUTES)
    return next((edge for edge in ahead if is_within(times, edge) != now), None)


def resting_until(times: Sequence[RestTime], minute_of_day: int) -> str | None:
    """Say until when the device rests, such as '07:00'; None where it does not rest at that minute."""
    if not is_within(times, minute_of_day):
        return None
    end = next_change(times, minute_of_day)
    return "further notice" if end is None else _clock(end)


def _clock(minute_of_day: int) -> str:
    return f"{minute_of_day // 60:02d}:{minute_of_day % 60:02d}"


def _minute(hours: str, minutes: str) -> int | None:
    """The minute of the day; None where there is none such."""
    minute = int(hours) * 60 + int(minutes)
    return minute if int(minutes) < 60 and minute <= DAY_MINUTES else None
