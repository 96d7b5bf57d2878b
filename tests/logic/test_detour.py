"""The next route keeps what works, however often a replacement fails, and lets go only where all wait."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesh.errors import Busy, CapacityLost, StageLost
from mesh.logic.capacity import Candidate, Demand, held_bytes
from mesh.logic.detour import Detour
from mesh.logic.interruption import Interruption
from mesh.logic.partition import spread
from mesh.messages import PROTOCOL
from mesh.types import Address, DeviceClass, NodeId, NodeRecord, Plan, Precision
from simulator.library import TINY

DEMAND = Demand(TINY, Precision.INT4, 1024)
ROOM = 10_000_000


def node(name: str) -> NodeRecord:
    at = Address("10.0.0.1", 7000 + len(name))
    return NodeRecord(NodeId(name), name, DeviceClass.TV, at, "home", PROTOCOL, 1)


HOUSE = {name: Candidate(node(name), ROOM) for name in ("phone", "car", "tv", "desktop")}
BASE = spread(DEMAND, [HOUSE["phone"], HOUSE["car"], HOUSE["tv"]])
HELD = {stage.node.name: held_bytes(stage) for stage in BASE.stages}
"""Memory of devices that have room for what they hold, and for no more."""


def full_house() -> list[Candidate]:
    return [replace(HOUSE[name], memory_bytes=held, used_bytes=held) for name, held in HELD.items()]


def those(*names: str) -> list[Candidate]:
    return [HOUSE[name] for name in names]


def lost(name: str) -> Interruption:
    return Interruption(StageLost("gone"), (NodeId(name),), (NodeId(name),))


def slow(name: str) -> Interruption:
    return replace(lost(name), is_slow=True)


def refused(name: str) -> Interruption:
    return Interruption(Busy("full"), (NodeId(name),), (NodeId(name),))


def names(plan: Plan) -> list[str]:
    return [stage.node.name for stage in plan.stages]


def kept(plan: Plan) -> list[str]:
    """Nodes whose stages are those of the route before."""
    return [stage.node.name for stage in plan.stages if stage in BASE.stages]


def test_a_lost_stage_is_replaced_and_the_others_stay() -> None:
    detour = Detour(DEMAND, BASE, is_settled=True)
    detour.interrupted(lost("tv"), 0.0)
    plan = detour.next(those("phone", "car", "desktop"), 0.0)
    assert kept(plan) == [name for name in names(BASE) if name != "tv"]


def test_a_replacement_that_is_lost_as_well_takes_nothing_from_those_that_live() -> None:
    detour = Detour(DEMAND, BASE, is_settled=True)
    detour.interrupted(lost("tv"), 0.0)
    detour.interrupted(lost("desktop"), 1.0)
    plan = detour.next(those("phone", "car"), 1.0)
    assert kept(plan) == [name for name in names(BASE) if name != "tv"]
    assert set(names(plan)) == {"phone", "car"}


def test_a_slow_node_is_replaced_where_somebody_has_room() -> None:
    detour = Detour(DEMAND, BASE, is_settled=True)
    detour.interrupted(slow("tv"), 0.0)
    assert "tv" not in names(detour.next(those("phone", "car", "tv", "desktop"), 0.0))


def test_where_nobody_has_room_a_slow_node_is_better_than_none_after_longer_and_longer_pauses() -> None:
    detour, house = Detour(DEMAND, BASE, is_settled=True), full_house()
    blamed_s = 0.0
    for pause_s in (0.0, 1.0, 2.0, 4.0, 8.0, 8.0):
        detour.interrupted(slow("tv"), blamed_s)
        if pause_s:
            with pytest.raises(CapacityLost):
                detour.next(house, blamed_s + pause_s - 0.1)
        assert detour.next(house, blamed_s + pause_s).stages == BASE.stages
        blamed_s += pause_s


def test_a_slow_node_that_is_lost_in_the_end_is_not_waited_for() -> None:
    detour = Detour(DEMAND, BASE, is_settled=True)
    detour.interrupted(slow("tv"), 0.0)
    detour.interrupted(lost("tv"), 0.5)
    with pytest.raises(CapacityLost):
        detour.next([one for one in full_house() if one.node.name != "tv"], 9.0)


def test_a_node_that_refuses_keeps_what_it_holds_and_is_given_no_more_for_a_while() -> None:
    detour = Detour(DEMAND, BASE, is_settled=True)
    detour.interrupted(lost("tv"), 0.0)
    detour.interrupted(refused("car"), 0.0)
    soon, later = (detour.next(those("phone", "car"), now) for now in (1.0, 3.0))
    assert names(soon).count("car") == 1
    assert "car" in kept(soon)
    assert {*names(soon), *names(later)} == {"phone", "car"}


def test_where_everybody_has_refused_there_is_no_route_until_some_time_has_passed() -> None:
    detour = Detour(DEMAND, BASE, is_settled=True)
    detour.interrupted(lost("tv"), 0.0)
    for name in ("phone", "car"):
        detour.interrupted(refused(name), 0.0)
    with pytest.raises(CapacityLost):
        detour.next(those("phone", "car"), 1.0)
    assert kept(detour.next(those("phone", "car"), 3.0)) == [n for n in names(BASE) if n != "tv"]


def test_an_answer_that_has_not_begun_does_not_wait_for_those_who_refused() -> None:
    detour = Detour(DEMAND, BASE, is_settled=False)
    for name in ("phone", "car", "tv"):
        detour.interrupted(refused(name), 0.0)
    with pytest.raises(CapacityLost):
        detour.next(those("phone", "car", "tv"), 60.0)


def test_an_answer_that_lets_go_begins_anew_on_whoever_has_room() -> None:
    detour = Detour(DEMAND, BASE, is_settled=True)
    detour.interrupted(lost("tv"), 0.0)
    for name in ("phone", "car"):
        detour.interrupted(refused(name), 0.0)
    detour.let_go()
    assert names(detour.next(those("phone", "car", "desktop"), 1.0)) == ["desktop"] * 3


def test_a_token_makes_the_route_by_which_it_came_the_one_to_keep() -> None:
    detour = Detour(DEMAND, BASE, is_settled=True)
    detour.interrupted(lost("tv"), 0.0)
    plan = detour.next(those("phone", "car", "desktop"), 0.0)
    detour.token_came(plan)
    assert detour.next(those("phone", "car", "desktop"), 0.0).stages == plan.stages
