"""Each listener is told everything once, and then what changed."""

from __future__ import annotations

from dataclasses import replace

from mesh.logic.news import NOTHING, News
from mesh.messages import Heartbeat
from mesh.types import Address, DeviceClass, NodeId, NodeRecord, NodeStatus, ProtocolVersion

STATUS = NodeStatus(memory_bytes=100, used_bytes=0)
BUSY = replace(STATUS, used_bytes=7)
TV = NodeRecord(
    NodeId("1" * 32), "tv", DeviceClass.TV, Address("10.0.0.1", 7070), "home", ProtocolVersion(1, 0), 1
)
CAR = replace(TV, node_id=NodeId("2" * 32), name="car")


def test_a_new_listener_is_told_everything_and_then_nothing() -> None:
    news = News()
    news.update(STATUS, (CAR, TV))
    assert news.since(NOTHING) == Heartbeat(STATUS, (CAR, TV))
    told = news.now
    news.update(replace(STATUS), (CAR, TV))
    assert news.since(told) == Heartbeat()


def test_only_what_changed_is_told() -> None:
    news = News()
    news.update(STATUS, (TV,))
    told = news.now
    news.update(BUSY, (TV,))
    assert news.since(told) == Heartbeat(BUSY)
    news.update(STATUS, (CAR, TV))
    assert news.since(told) == Heartbeat(None, (CAR,))


def test_a_neighbour_with_another_address_or_a_new_life_is_news() -> None:
    for changed in (TV.at(Address("10.0.0.2", 7070)), replace(TV, incarnation=2)):
        news = News()
        news.update(STATUS, (TV,))
        told = news.now
        news.update(STATUS, (changed,))
        assert news.since(told) == Heartbeat(None, (changed,))


def test_one_who_went_is_not_mentioned_and_is_news_when_it_is_back() -> None:
    news = News()
    news.update(STATUS, (CAR, TV))
    before = news.now
    news.update(STATUS, (CAR,))
    assert news.since(before) == Heartbeat()
    without = news.now
    news.update(STATUS, (CAR, TV))
    assert news.since(without) == Heartbeat(None, (TV,))


def test_listeners_who_know_the_same_get_the_same_object_so_it_is_encoded_once() -> None:
    news = News()
    news.update(STATUS, (TV,))
    assert news.since(NOTHING) is news.since(NOTHING)
    assert news.since(news.now) is news.since(news.now)


def test_a_promise_travels_with_what_is_new_and_with_nothing_new() -> None:
    news = News()
    news.update(STATUS, (TV,))
    assert news.since(NOTHING, 0.2) == Heartbeat(STATUS, (TV,), 0.2)
    assert news.since(news.now, 0.2) == Heartbeat(next_s=0.2)
    assert news.since(news.now, 0.2) is news.since(news.now, 0.2)
    assert news.since(news.now) == Heartbeat()
