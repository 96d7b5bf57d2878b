"""Which beat is due when."""

from __future__ import annotations

import math

from mesh.config import Timing
from mesh.logic.rhythm import Beat, Rhythm

TIMING = Timing(heartbeat_interval_s=1.0, quick_heartbeat_s=0.2)
USUAL, QUICK = Beat.USUAL, Beat.QUICK


def beats(rhythm: Rhythm, until_s: float) -> list[tuple[float, Beat | None]]:
    """Look whenever it is due."""
    made: list[tuple[float, Beat | None]] = []
    now = max(0.0, rhythm.next_s)
    while now < until_s:
        made.append((round(now, 2), rhythm.due(now)))
        now = rhythm.next_s
    return made


def test_the_usual_beat_is_due_at_once_and_then_in_equal_intervals() -> None:
    assert beats(Rhythm(TIMING), 3.5) == [(0.0, USUAL), (1.0, USUAL), (2.0, USUAL), (3.0, USUAL)]


def test_quick_beats_fill_the_time_between_usual_ones_and_fall_together_with_them() -> None:
    rhythm = Rhythm(TIMING)
    rhythm.due(0.0)
    rhythm.quicken(0.3)
    made = beats(rhythm, 1.5)
    assert made == [(0.5, QUICK), (0.7, QUICK), (0.9, QUICK), (1.0, USUAL), (1.2, QUICK), (1.4, QUICK)]


def test_to_quicken_again_delays_nothing_and_to_relax_ends_it() -> None:
    rhythm = Rhythm(TIMING)
    rhythm.due(0.0)
    rhythm.quicken(0.0)
    rhythm.quicken(0.1)
    assert rhythm.next_s == 0.2
    rhythm.relax()
    assert rhythm.next_s == 1.0


def test_nothing_is_due_in_between_but_a_timer_may_come_a_little_early() -> None:
    rhythm = Rhythm(TIMING)
    rhythm.due(0.0)
    assert rhythm.due(0.5) is None
    assert rhythm.due(0.98) is None
    assert rhythm.due(math.nextafter(1.0, 0)) is USUAL
