"""How late each node was, as tables of heartbeats; what follows from silence is the membership's."""

from __future__ import annotations

import pytest

from mesh.config import Timing
from mesh.logic.pulse import Pulses
from mesh.types import NodeId

TIMING = Timing()
TV = NodeId("1" * 32)
QUICK_S = TIMING.quick_heartbeat_s


def beaten(*heard: tuple[float, float | None]) -> Pulses:
    """A node sighted at 0 that beat at these times with these promises."""
    pulses = Pulses(TIMING)
    pulses.sighted(TV, 0.0)
    for now, next_s in heard:
        pulses.heard(TV, now, next_s)
    return pulses


def extra_s(pulses: Pulses, heard_s: float) -> float:
    """How much longer than usual the silence of a quick node is borne."""
    return pulses.lost_s(TV, heard_s) - heard_s - TIMING.quick_lost_s


@pytest.mark.parametrize(
    ("heard", "late_s"),
    [
        ([(0.0, 0.2), (0.2, 0.2), (0.4, 0.2)], 0.0),
        ([(0.0, 0.2), (0.1, 0.2)], 0.0),  # early
        ([(0.0, 0.2), (1.3, 0.2)], 1.1),
        ([(0.0, 0.4), (1.3, 0.2)], 0.9),  # late by what the one before it promised
        ([(0.0, None), (1.3, 0.2)], 0.3),  # by the usual interval
        ([(0.0, 0.2), (2.9, 0.2)], 2.1),  # never borne longer than the usual silence
        ([(0.0, 0.2), (3.1, 0.2)], 0.0),  # so long it was away, not late
        ([(2.5, 0.2)], 0.0),  # it had promised nothing when it was sighted
        ([(0.0, 0.2), (1.3, 0.2), (2.0, 0.2)], 1.1),  # a smaller lateness adds nothing
        ([(0.0, 0.2), (1.3, 0.2), (31.3, 0.2)], 0.55),
    ],
)
def test_the_lateness_of_a_heartbeat_is_what_came_after_the_promised_time(
    heard: list[tuple[float, float | None]], late_s: float
) -> None:
    assert extra_s(beaten(*heard), heard[-1][0]) == pytest.approx(late_s, abs=0.02)


def test_lateness_halves_with_every_half_minute_of_good_behaviour() -> None:
    pulses, now = beaten((0.0, 0.2), (1.4, 0.2)), 1.4
    for late_s in (0.6, 0.3, 0.15):
        for _beat in range(150):
            now += QUICK_S
            pulses.heard(TV, now, QUICK_S)
        assert extra_s(pulses, now) == pytest.approx(late_s, rel=0.01)


def test_a_node_that_is_found_anew_keeps_its_lateness_and_starts_with_the_usual_deadlines() -> None:
    pulses = beaten((0.0, 0.2), (1.3, 0.2))
    pulses.sighted(TV, 1.5)
    assert pulses.lost_s(TV, 1.5) == 1.5 + TIMING.lost_after_s
    pulses.heard(TV, 9.0, QUICK_S)
    assert extra_s(pulses, 9.0) == pytest.approx(1.1, rel=0.2)


# meant to look at 0.2 s; a little late is no standstill
@pytest.mark.parametrize(("looked_s", "late_s"), [(None, 1.3), (0.25, 1.3), (0.5, 1.0), (1.5, 0.0)])
def test_what_we_stood_still_is_nobodys_lateness(looked_s: float | None, late_s: float) -> None:
    pulses = beaten((0.0, 0.2))
    if looked_s is not None:
        pulses.looked(0.2, looked_s)
    pulses.heard(TV, 1.5, QUICK_S)
    assert pulses.suspect_s(TV) - 1.5 == pytest.approx(TIMING.quick_suspect_s + late_s)


def test_nobody_is_lost_for_as_long_as_we_stood_still_up_to_the_usual_doubt() -> None:
    for stood_s, spare_s in ((0.05, 0.0), (0.7, 0.7), (50.0, 1.0)):
        pulses = beaten((0.0, 0.2))
        pulses.looked(10.0 - stood_s, 10.0)
        assert max(10.0, pulses.lost_s(TV, 0.5)) == pytest.approx(10.0 + spare_s)
