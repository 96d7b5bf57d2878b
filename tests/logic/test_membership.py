"""Every arrow of the diagram, every rule about old news, as tables of events."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mesh.config import Timing
from mesh.logic.membership import Change, Membership
from mesh.types import (
    Address,
    DeviceClass,
    NodeId,
    NodeRecord,
    NodeState,
    NodeStatus,
    ProtocolVersion,
    Source,
)

JOINED, ALIVE, SUSPECT, LOST, LEFT = NodeState
MDNS, PEER, CONTACT = Source.MDNS, Source.PEER, Source.CONTACT
TIMING = Timing(suspect_after_s=1.5, lost_after_s=3.0, forget_after_s=120.0)
OWN = NodeId("f" * 32)
TV = NodeId("1" * 32)
STATUS = NodeStatus(memory_bytes=100, used_bytes=0)


def record(
    incarnation: int = 2, host: str = "10.0.0.1", node_id: NodeId = TV, name: str = "tv"
) -> NodeRecord:
    return NodeRecord(
        node_id, name, DeviceClass.TV, Address(host, 7070), "home", ProtocolVersion(1, 0), incarnation
    )


@dataclass(frozen=True, slots=True)
class Sighted:
    source: Source = MDNS
    incarnation: int = 2
    host: str = "10.0.0.1"


@dataclass(frozen=True, slots=True)
class Heard:
    pass


@dataclass(frozen=True, slots=True)
class Broken:
    pass


@dataclass(frozen=True, slots=True)
class Withdrawn:
    pass


@dataclass(frozen=True, slots=True)
class Goodbye:
    incarnation: int = 2


@dataclass(frozen=True, slots=True)
class Tick:
    pass


Event = Sighted | Heard | Broken | Withdrawn | Goodbye | Tick


def feed(membership: Membership, event: Event, now: float) -> list[Change]:
    match event:
        case Sighted(source, incarnation, host):
            return membership.sighted(record(incarnation, host), source, now)
        case Heard():
            return membership.heard(TV, STATUS, now)
        case Broken():
            return membership.broken(TV, now)
        case Withdrawn():
            return membership.withdrawn(TV, now)
        case Goodbye(incarnation):
            return membership.said_goodbye(TV, incarnation, now)
        case Tick():
            return membership.tick(now)


WAYS: dict[NodeState | None, list[tuple[float, Event]]] = {
    None: [],
    JOINED: [(0.0, Sighted())],
    ALIVE: [(0.0, Sighted()), (0.0, Heard())],
    SUSPECT: [(0.0, Sighted()), (0.0, Heard()), (0.0, Broken())],
    LOST: [(-4.0, Sighted(PEER)), (-3.0, Heard()), (-1.5, Tick()), (0.0, Tick())],
    LEFT: [(0.0, Sighted(PEER)), (0.0, Heard()), (0.0, Goodbye())],
}
"""How to bring an unknown node into each state by second 0, where it is silent since then (LOST: -3)."""


def brought_to(state: NodeState | None) -> Membership:
    membership = Membership(OWN, TIMING)
    for now, event in WAYS[state]:
        feed(membership, event, now)
    known = membership.get(TV)
    assert (known.state if known else None) is state
    return membership


@pytest.mark.parametrize(
    ("before", "now", "event", "after"),
    [
        # the arrows
        (None, 1.0, Sighted(MDNS), JOINED),
        (None, 1.0, Sighted(PEER), JOINED),
        (None, 1.0, Sighted(CONTACT), JOINED),
        (JOINED, 1.0, Heard(), ALIVE),
        (ALIVE, 1.0, Broken(), SUSPECT),
        (SUSPECT, 1.0, Heard(), ALIVE),
        (LOST, 1.0, Heard(), ALIVE),
        (LOST, 1.0, Sighted(MDNS), JOINED),
        (LOST, 1.0, Sighted(PEER), JOINED),
        (JOINED, 1.0, Goodbye(), LEFT),
        (ALIVE, 1.0, Goodbye(), LEFT),
        (SUSPECT, 1.0, Goodbye(), LEFT),
        (LOST, 1.0, Goodbye(), LEFT),
        (ALIVE, 1.0, Goodbye(3), LEFT),
        (JOINED, 1.0, Withdrawn(), LOST),
        (ALIVE, 1.0, Withdrawn(), SUSPECT),
        # a later incarnation is a new life, by whatever way it is known
        *[
            (state, 1.0, Sighted(source, incarnation=3), JOINED)
            for state in (ALIVE, SUSPECT, LOST, LEFT)
            for source in (MDNS, PEER, CONTACT)
        ],
        # silence, at its exact edges
        (ALIVE, 1.49, Tick(), ALIVE),
        (ALIVE, 1.5, Tick(), SUSPECT),
        (ALIVE, 9.0, Tick(), SUSPECT),
        (SUSPECT, 2.99, Tick(), SUSPECT),
        (SUSPECT, 3.0, Tick(), LOST),
        (JOINED, 2.99, Tick(), JOINED),
        (JOINED, 3.0, Tick(), LOST),
        (LOST, 119.99, Tick(), LOST),
        (LOST, 120.0, Tick(), None),
        (LEFT, 119.99, Tick(), LEFT),
        (LEFT, 120.0, Tick(), None),
        # what moves nothing
        (None, 1.0, Heard(), None),
        (None, 1.0, Broken(), None),
        (None, 1.0, Withdrawn(), None),
        (None, 1.0, Goodbye(), None),
        (JOINED, 1.0, Broken(), JOINED),
        (LOST, 1.0, Broken(), LOST),
        (LOST, 1.0, Withdrawn(), LOST),
        (SUSPECT, 1.0, Withdrawn(), SUSPECT),
        (LEFT, 1.0, Heard(), LEFT),
        (LEFT, 1.0, Withdrawn(), LEFT),
        (ALIVE, 1.0, Sighted(), ALIVE),
        # old news
        (ALIVE, 1.0, Sighted(MDNS, incarnation=1), ALIVE),
        (LOST, 1.0, Sighted(MDNS, incarnation=1), LOST),
        (LOST, 1.0, Sighted(CONTACT), LOST),
        *[(LEFT, 1.0, Sighted(source), LEFT) for source in (MDNS, PEER, CONTACT)],
        (ALIVE, 1.0, Goodbye(1), ALIVE),
        (LEFT, 1.0, Sighted(MDNS, incarnation=1), LEFT),
    ],
)
def test_one_event_moves_a_node_as_drawn(
    before: NodeState | None, now: float, event: Event, after: NodeState | None
) -> None:
    membership = brought_to(before)
    changes = feed(membership, event, now)
    known = membership.get(TV)
    assert (known.state if known else None) is after
    moves = [(change.before, change.after) for change in changes]
    is_new_life = isinstance(event, Sighted) and event.incarnation == 3
    assert moves == ([(before, after)] if before is not after or is_new_life else [])


def test_a_heartbeat_ends_the_silence_and_brings_the_status() -> None:
    membership = brought_to(ALIVE)
    newer = replace(STATUS, used_bytes=7)
    assert membership.heard(TV, newer, 1.4) == []
    assert membership.tick(2.8) == []
    member = membership.get(TV)
    assert member is not None
    assert member.status == newer
    assert member.device.status == newer


def test_silence_counts_from_the_last_heartbeat_not_from_the_suspicion() -> None:
    membership = brought_to(ALIVE)
    membership.broken(TV, 1.0)
    assert membership.tick(2.99) == []
    assert [change.after for change in membership.tick(3.0)] == [LOST]


def test_a_clock_that_stood_still_suspects_before_it_loses() -> None:
    membership = brought_to(ALIVE)
    assert [change.after for change in membership.tick(60.0)] == [SUSPECT]
    assert [change.after for change in membership.heard(TV, STATUS, 60.0)] == [ALIVE]


def test_after_it_stood_still_a_node_waits_for_signs_of_life_before_it_gives_up() -> None:
    membership = brought_to(ALIVE)
    membership.tick(60.0)
    assert membership.tick(61.49) == []
    assert [change.after for change in membership.tick(61.5)] == [LOST]


def test_a_heartbeat_without_a_status_leaves_it_as_it_was() -> None:
    membership = brought_to(ALIVE)
    assert membership.heard(TV, None, 1.4) == []
    assert membership.tick(2.8) == []
    member = membership.get(TV)
    assert member is not None
    assert member.status == STATUS


QUICK_S = TIMING.quick_heartbeat_s


def promised(*heard_s: float, last: float | None = QUICK_S) -> Membership:
    """A node that beat quickly at these times, and was alive before."""
    membership = brought_to(ALIVE)
    for now in heard_s[:-1]:
        membership.heard(TV, None, now, QUICK_S)
    membership.heard(TV, None, heard_s[-1], last)
    return membership


def walk(membership: Membership, from_s: float, until_s: float) -> list[tuple[float, NodeState | None]]:
    """Tick whenever it is due, as a node does that is awake; return when what changed."""
    told: list[tuple[float, NodeState | None]] = []
    now = from_s
    while now <= until_s:
        told += [(round(now, 3), change.after) for change in membership.tick(now, now + 1.0)]
        now = membership.next_s
    return told


def test_the_silence_of_a_node_that_promised_to_speak_soon_counts_by_that_promise() -> None:
    membership = promised(1.0)
    assert walk(membership, 1.0, 3.0) == [(1.5, SUSPECT), (1.9, LOST)]


def test_before_the_first_quick_promise_and_after_it_is_taken_back_silence_counts_as_usual() -> None:
    before, after = brought_to(ALIVE), promised(0.0, 1.0, last=None)
    assert walk(before, 0.0, 4.0) == [(1.5, SUSPECT), (3.0, LOST)]
    assert walk(after, 1.0, 5.0) == [(2.5, SUSPECT), (4.0, LOST)]


def test_a_first_quick_promise_brings_the_next_tick_nearer() -> None:
    membership = brought_to(ALIVE)
    membership.heard(TV, None, 0.9)
    membership.tick(0.9, 1.9)
    assert membership.next_s == 1.9
    membership.heard(TV, None, 1.0, QUICK_S)
    assert membership.next_s == 1.5


@pytest.mark.parametrize(
    ("next_s", "suspect_s", "lost_s"),
    [
        (0.2, 0.5, 0.9),
        (0.3, 0.75, 1.35),  # in proportion
        (0.01, 0.5, 0.9),  # never less than outlasts retransmissions
        (0.0, 0.5, 0.9),
        (0.6, 1.5, 2.7),
        (60.0, 1.5, 3.0),  # never more than usual
    ],
)
def test_deadlines_are_in_proportion_to_the_promise_within_limits(
    next_s: float, suspect_s: float, lost_s: float
) -> None:
    membership = promised(1.0, last=next_s)
    assert walk(membership, 1.0, 5.0) == [(1.0 + suspect_s, SUSPECT), (1.0 + lost_s, LOST)]


@pytest.mark.parametrize(("broken_s", "lost_s"), [(1.0, 1.9), (1.2, 1.9), (1.49, 1.9)])
def test_a_broken_channel_under_a_quick_promise_is_lost_after_quick_silence(
    broken_s: float, lost_s: float
) -> None:
    membership = promised(1.0)
    assert [change.after for change in membership.broken(TV, broken_s)] == [SUSPECT]
    assert walk(membership, broken_s, 3.0) == [(lost_s, LOST)]


def test_a_node_that_was_late_is_waited_for_that_much_longer() -> None:
    membership = promised(1.0)
    assert walk(membership, 1.0, 1.8) == [(1.5, SUSPECT)]
    membership.heard(TV, None, 1.8, QUICK_S)  # 0.6 s late
    assert walk(membership, 1.8, 5.0) == [(2.9, SUSPECT), (3.3, LOST)]


def test_a_slow_link_is_not_declared_dead_and_back_again_and_again() -> None:
    membership, now, lost_s = promised(1.0), 1.0, []
    for _round in range(20):
        for gap_s in (QUICK_S,) * 10 + (1.3,):
            lost_s += [at_s for at_s, after in walk(membership, now, now + gap_s - 0.01) if after is LOST]
            now += gap_s
            membership.heard(TV, None, now, QUICK_S)
    assert len(lost_s) == 1


def test_after_our_own_standstill_nobody_is_late_and_nobody_is_lost_at_once() -> None:
    """Heartbeats that waited are read before the clock is looked at, after it, or come a little later."""
    for first in ("heard", "tick", "tick and a while"):
        membership = promised(0.0, 0.2, 0.4)
        membership.tick(0.5, 0.7)
        if first != "heard":
            assert [change.after for change in membership.tick(3.0, 3.2)] == [SUSPECT]
        now = 3.2 if first == "tick and a while" else 3.0
        membership.heard(TV, None, now, QUICK_S)
        told = walk(membership, now, 8.0)
        assert [after for _, after in told] == [SUSPECT, LOST]
        assert now + 0.5 <= told[0][0] <= now + 0.71  # it may be late since we woke


def test_one_that_was_suspect_before_our_standstill_gets_time_to_speak_after_it() -> None:
    membership = promised(1.0)
    membership.broken(TV, 1.1)
    membership.tick(1.1, 1.3)
    assert membership.tick(20.0, 20.2) == []
    assert walk(membership, 20.0, 30.0) == [(21.5, LOST)]


def test_a_short_standstill_gives_no_more_time_than_it_took() -> None:
    membership = promised(1.0)
    membership.broken(TV, 1.1)
    membership.tick(1.1, 1.3)
    assert walk(membership, 2.0, 30.0) == [(2.7, LOST)]


@pytest.mark.parametrize(
    ("state", "next_s"), [(None, math.inf), (JOINED, 3.0), (ALIVE, 1.5), (SUSPECT, 3.0), (LEFT, 120.0)]
)
def test_it_says_when_silence_has_its_next_effect(state: NodeState | None, next_s: float) -> None:
    membership = brought_to(state)
    assert membership.tick(0.5) == []
    assert membership.next_s == next_s
    if state is not None:
        assert membership.tick(math.nextafter(next_s, 0)) == []
        assert len(membership.tick(next_s)) == 1


def test_those_alive_are_told_apart_from_the_others_with_every_change() -> None:
    membership = brought_to(JOINED)
    assert membership.alive() == ()
    membership.heard(TV, STATUS, 1.0)
    assert membership.alive() == (record(),)
    assert membership.alive() is membership.alive()
    membership.sighted(record(host="10.0.0.2"), MDNS, 1.0)
    assert membership.alive() == (record(host="10.0.0.2"),)
    membership.broken(TV, 1.0)
    assert membership.alive() == ()


@pytest.mark.parametrize(
    ("state", "event", "host"),
    [
        (ALIVE, Sighted(MDNS, host="10.0.0.2"), "10.0.0.2"),
        (ALIVE, Sighted(PEER, host="10.0.0.2"), "10.0.0.2"),
        (JOINED, Sighted(MDNS, host="10.0.0.2"), "10.0.0.2"),
        (LOST, Sighted(MDNS, host="10.0.0.2"), "10.0.0.2"),
        (ALIVE, Sighted(CONTACT, incarnation=3, host="10.0.0.2"), "10.0.0.2"),
        (ALIVE, Sighted(CONTACT, host="10.0.0.2"), "10.0.0.1"),  # a peer's knowledge may be older than ours
        (ALIVE, Sighted(MDNS, incarnation=1, host="10.0.0.2"), "10.0.0.1"),
        (LEFT, Sighted(MDNS, host="10.0.0.2"), "10.0.0.1"),
    ],
)
def test_a_changed_address_is_followed_unless_the_news_is_old(
    state: NodeState, event: Event, host: str
) -> None:
    membership = brought_to(state)
    feed(membership, event, 1.0)
    known = membership.get(TV)
    assert known is not None
    assert known.record.address.host == host


@pytest.mark.parametrize(
    ("sources", "kept"),
    [([MDNS, CONTACT], MDNS), ([PEER, CONTACT], PEER), ([CONTACT, MDNS], MDNS), ([CONTACT, PEER], PEER)],
)
def test_hearsay_does_not_hide_how_a_node_was_found(sources: list[Source], kept: Source) -> None:
    membership = Membership(OWN, TIMING)
    for source in sources:
        feed(membership, Sighted(source), 0.0)
    known = membership.get(TV)
    assert known is not None
    assert known.source is kept


def test_a_goodbye_of_a_later_life_than_known_silences_that_life_too() -> None:
    membership = brought_to(ALIVE)
    feed(membership, Goodbye(3), 1.0)
    assert feed(membership, Sighted(MDNS, incarnation=3), 2.0) == []
    assert feed(membership, Sighted(MDNS, incarnation=4), 3.0) != []


def test_a_new_life_starts_without_the_status_of_the_old() -> None:
    membership = brought_to(ALIVE)
    feed(membership, Sighted(MDNS, incarnation=3), 1.0)
    known = membership.get(TV)
    assert known is not None
    assert known.status is None


def test_a_lost_node_that_is_still_announced_is_kept_until_it_is_withdrawn() -> None:
    """Discovery tells only of changes: forgotten, it would never be found again when it comes back."""
    membership = brought_to(LOST)
    feed(membership, Sighted(MDNS), 1.0)
    feed(membership, Tick(), 4.0)
    assert feed(membership, Tick(), 1000.0) == []
    feed(membership, Withdrawn(), 1001.0)
    assert [change.after for change in feed(membership, Tick(), 1001.0)] == [None]


def test_we_are_no_member_of_our_own_list() -> None:
    membership = Membership(OWN, TIMING)
    assert membership.sighted(record(node_id=OWN), MDNS, 0.0) == []
    assert membership.members() == ()


def test_members_of_one_name_stay_two_and_come_in_order() -> None:
    membership = Membership(OWN, TIMING)
    for number, name in ((3, "tv"), (1, "tv"), (2, "car")):
        membership.sighted(record(node_id=NodeId(f"{number:032x}"), name=name), MDNS, 0.0)
    listed = [(member.record.name, int(member.record.node_id, 16)) for member in membership.members()]
    assert listed == [("car", 2), ("tv", 1), ("tv", 3)]


ARROWS = {
    (None, JOINED),
    (JOINED, ALIVE),
    (ALIVE, SUSPECT),
    (SUSPECT, ALIVE),
    (LOST, ALIVE),
    (SUSPECT, LOST),
    (JOINED, LOST),
    (LOST, JOINED),
    (LOST, None),
    (LEFT, None),
    *((state, LEFT) for state in (JOINED, ALIVE, SUSPECT, LOST)),
}

NODES = st.sampled_from([NodeId(f"{number}" * 32) for number in range(3)])
LIVES = st.integers(min_value=1, max_value=3)


class AnyEvents(RuleBasedStateMachine):
    """Whatever comes in whatever order, the rules hold."""

    def __init__(self) -> None:
        super().__init__()
        self.membership = Membership(OWN, TIMING)
        self.now = 0.0
        self.states: dict[NodeId, NodeState] = {}
        self.lives: dict[NodeId, int] = {}
        self.left_in: dict[NodeId, int] = {}

    def note(self, changes: list[Change]) -> None:
        for change in changes:
            node_id, life = change.record.node_id, change.record.incarnation
            assert self.states.get(node_id) is change.before
            is_new_life = change.after is JOINED and life > self.lives.get(node_id, 0)
            assert is_new_life or (change.before, change.after) in ARROWS
            if change.after is LEFT:
                self.left_in[node_id] = life
            elif change.after is None:
                self.left_in.pop(node_id, None)
                del self.states[node_id]
                del self.lives[node_id]
                continue
            else:
                assert life > self.left_in.get(node_id, 0)
            self.states[node_id] = change.after
            self.lives[node_id] = life

    @rule(
        node_id=NODES, life=LIVES, source=st.sampled_from([MDNS, PEER, CONTACT]), host=st.sampled_from("ab")
    )
    def sighted(self, node_id: NodeId, life: int, source: Source, host: str) -> None:
        self.note(self.membership.sighted(record(life, host, node_id, node_id[:1]), source, self.now))

    @rule(node_id=NODES, next_s=st.sampled_from([None, 0.0, 0.2, 5.0]))
    def heard(self, node_id: NodeId, next_s: float | None) -> None:
        self.note(self.membership.heard(node_id, STATUS, self.now, next_s))

    @rule(node_id=NODES)
    def broken(self, node_id: NodeId) -> None:
        self.note(self.membership.broken(node_id, self.now))

    @rule(node_id=NODES)
    def withdrawn(self, node_id: NodeId) -> None:
        self.note(self.membership.withdrawn(node_id, self.now))

    @rule(node_id=NODES, life=LIVES)
    def said_goodbye(self, node_id: NodeId, life: int) -> None:
        self.note(self.membership.said_goodbye(node_id, life, self.now))

    @rule(passed_s=st.sampled_from([0.0, 0.25, 1.5, 3.0, 120.0]))
    def time_passes(self, passed_s: float) -> None:
        self.now += passed_s
        self.note(self.membership.tick(self.now, self.now + 1.0))
        assert self.now < self.membership.next_s <= self.now + 1.0

    @invariant()
    def members_are_sorted_and_in_the_states_that_were_told(self) -> None:
        members = self.membership.members()
        assert list(members) == sorted(members, key=lambda m: (m.record.name, m.record.node_id))
        assert {member.record.node_id: member.state for member in members} == self.states


AnyEvents.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAnyEvents = pytest.mark.slow(AnyEvents.TestCase)
