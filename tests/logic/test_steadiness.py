"""What counts as a going, how many are too many, and how long that is remembered."""

from __future__ import annotations

import pytest

from mesh.config import Timing
from mesh.logic import steadiness
from mesh.logic.membership import Change
from mesh.logic.steadiness import Steadiness
from mesh.types import Address, DeviceClass, NodeId, NodeRecord, NodeState, ProtocolVersion

JOINED, ALIVE, SUSPECT, LOST, LEFT = NodeState
TIMING = Timing(flap_window_s=60.0, flap_limit=2, kept_out_s=60.0)
TV = NodeId("1" * 32)


def change(
    before: NodeState | None = ALIVE,
    after: NodeState | None = LEFT,
    node_id: NodeId = TV,
) -> Change:
    address, version = Address("10.0.0.1", 7070), ProtocolVersion(1, 0)
    record = NodeRecord(node_id, "tv", DeviceClass.TV, address, "home", version, 1)
    return Change(record, before, after)


def gone(*times_s: float, timing: Timing = TIMING) -> Steadiness:
    known = Steadiness(timing)
    for now in times_s:
        known.note(change(), now)
    return known


@pytest.mark.parametrize(
    ("before", "after", "is_going"),
    [
        (ALIVE, LEFT, True),
        (ALIVE, JOINED, True),  # it started again, and nobody had missed it
        (SUSPECT, LOST, True),
        (SUSPECT, LEFT, True),
        (SUSPECT, JOINED, True),
        (ALIVE, SUSPECT, False),
        (SUSPECT, ALIVE, False),
        (JOINED, ALIVE, False),
        (JOINED, LOST, False),  # it was never there
        (JOINED, LEFT, False),
        (LOST, LEFT, False),  # counted when it was lost
        (LOST, JOINED, False),
        (LEFT, JOINED, False),
        (LOST, ALIVE, False),
        (LOST, None, False),
        (None, JOINED, False),
    ],
)
def test_a_going_is_the_end_of_a_presence(
    before: NodeState | None, after: NodeState | None, is_going: bool
) -> None:
    known = Steadiness(TIMING)
    for now in range(3):
        known.note(change(before, after), float(now))
    assert (known.reason(TV, 3.0) is not None) is is_going


@pytest.mark.parametrize(
    ("times_s", "now", "reason"),
    [
        ((), 0.0, None),
        ((0.0, 1.0), 2.0, None),
        ((0.0, 1.0, 2.0), 2.0, "left 3 times within 60 s; kept out for another 60 s"),
        ((0.0, 1.0, 2.0), 20.6, "left 3 times within 60 s; kept out for another 42 s"),
        ((0.0, 1.0, 2.0), 61.9, "left 3 times within 60 s; kept out for another 1 s"),
        ((0.0, 1.0, 2.0), 62.0, None),
        ((0.0, 1.0, 2.0, 40.0), 62.0, "left 4 times within 60 s; kept out for another 38 s"),
        ((0.0, 30.0, 60.0), 60.0, None),  # the first is out of the window
        ((0.0, 30.0, 59.0), 59.0, "left 3 times within 60 s; kept out for another 60 s"),
        ((0.0, 1.0, 2.0, 70.0), 70.0, None),  # it has served its time
    ],
)
def test_more_goings_than_the_limit_keep_a_node_out_until_a_while_after_the_last(
    times_s: tuple[float, ...], now: float, reason: str | None
) -> None:
    assert gone(*times_s).reason(TV, now) == reason


def test_another_going_while_kept_out_does_not_shorten_it() -> None:
    timing = Timing(flap_window_s=10.0, flap_limit=2, kept_out_s=60.0)
    known = gone(0.0, 1.0, 2.0, 30.0, timing=timing)
    assert known.reason(TV, 61.0) is not None
    assert known.reason(TV, 62.0) is None


def test_nodes_are_told_apart() -> None:
    known = gone(0.0, 1.0, 2.0)
    assert known.reason(NodeId("2" * 32), 2.0) is None


def test_the_memory_has_a_bound_in_nodes_goings_and_time() -> None:
    known = Steadiness(TIMING)
    for number in range(5_000):
        known.note(change(node_id=NodeId(f"{number:032x}")), 0.001 * number)
    assert len(known._goings) == steadiness._MOST_NODES
    for number in range(5_000):
        known.note(change(), 5.0 + 0.001 * number)
    assert len(known._goings[TV].times_s) == steadiness._MOST_GOINGS
    known.note(change(node_id=NodeId("2" * 32)), 1000.0)
    assert len(known._goings) == 1


def test_no_window_and_no_time_out_are_settings_too() -> None:
    known = gone(0.0, 0.0, 0.0, 5.0, timing=Timing(flap_window_s=0.0, flap_limit=0, kept_out_s=0.0))
    assert known.reason(TV, 5.0) is None
