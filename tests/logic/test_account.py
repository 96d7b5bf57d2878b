"""What a client knows of one answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesh.decision import Decision, Privacy
from mesh.errors import DeadlineExceeded
from mesh.logic.account import Account
from mesh.logic.session import EPOCHS_A_GATEWAY
from mesh.messages import ChatFinished, ChatRequest, Decided, Piece, Routed, Started
from mesh.types import (
    ChatMessage,
    FinishReason,
    Plan,
    Precision,
    Recovery,
    Sampling,
    SamplingField,
    SessionId,
    Settled,
    Summary,
    Thinking,
)
from simulator.library import TINY

REQUEST = ChatRequest(1, None, (ChatMessage("user", "?"),), 40, Sampling(seed=3), 10.0)
DECISION = Decision("tiny", Privacy.CLOUD, 5, (), "it must be")
PLAN = Plan(TINY.ref, Precision.INT4, 1024, ())
SUMMARY = Summary("tiny", FinishReason.STOP, (1, 2, 3), 5, 3, 0.5, 10.0)


def routed(epoch: int = 0, recovery: Recovery | None = None) -> Routed:
    return Routed(1, SessionId("5" * 16), epoch, PLAN, (), recovery)


def finished(*recoveries: Recovery) -> ChatFinished:
    return ChatFinished(1, Summary("tiny", FinishReason.STOP, (1, 2), 5, 3, 0.5, 10.0, (), recoveries))


def begun(*pieces: Piece) -> Account:
    account = Account(REQUEST, 0.0)
    account.asks("tv", 0.0)
    account.take(routed(), 0.5)
    for piece in pieces:
        account.take(piece, 1.0)
    return account


def test_the_first_gateway_gets_the_request_as_it_is() -> None:
    assert Account(REQUEST, 5.0).asks("tv", 6.0) is REQUEST


def test_recoveries_that_a_gateway_tells_are_kept_and_shown_at_once() -> None:
    account = begun(Piece(1, "a", (1,)))
    told = Recovery(("car",), ("hub",), 0.1, 0.3, 12, 0)
    assert account.take(routed(1, told), 1.2) == (routed(1, told),)
    assert account.recoveries == (told,)
    account.take(finished(told), 2.0)
    assert account.summary is not None
    assert account.summary.recoveries == (told,)  # not twice
    assert account.summary.ttft_s == 0.5  # as the gateway measured


def test_a_recovery_that_no_piece_followed_is_taken_from_the_summary() -> None:
    account = begun(Piece(1, "a", (1,)))
    told = Recovery(("car",), ("hub",), 0.1, 0.3, 12, 0)
    account.take(finished(told), 2.0)
    assert account.recoveries == (told,)


def test_another_device_lost_with_the_gateway_belongs_to_the_same_pause() -> None:
    account = begun(Piece(1, "a", (1,)))
    account.lost("tv", 1.25)
    account.asks("phone", 1.25)
    assert account.take(routed(1, Recovery(("car",), ("hub",), 0.1, 0.3, 12, 2)), 1.5) == ()
    assert not account.recoveries  # it is not over
    shown = account.take(Piece(1, "b", (2,)), 2.0)
    recovery = Recovery(("tv", "car"), ("phone", "hub"), 0.25, 1.0, 12, 2)
    assert account.recoveries == (recovery,)
    assert shown == (routed(1, recovery), Piece(1, "b", (2,)))


def test_a_gateway_that_took_over_and_was_lost_replaces_nobody() -> None:
    account = begun(Piece(1, "a", (1,)))
    account.lost("tv", 1.25)
    account.asks("phone", 1.25)
    account.take(routed(1, Recovery(("tv",), ("phone",), 0.1, 0.3, 12, 0)), 1.5)
    account.lost("phone", 1.5)
    request = account.asks("car", 1.5)
    assert request.started == Started(SessionId("5" * 16), EPOCHS_A_GATEWAY, PLAN, (1,))
    account.take(routed(2, Recovery(("phone",), ("car",), 0.1, 0.3, 5, 0)), 1.5)
    account.take(Piece(1, "b", (2,)), 2.0)
    assert account.recoveries == (Recovery(("tv", "phone"), ("car",), 0.25, 1.0, 17, 0),)


def test_a_pause_before_any_piece_counts_from_the_asking() -> None:
    account = begun()
    account.lost("tv", 0.75)
    account.asks("phone", 0.75)
    account.take(finished(), 1.5)
    assert account.recoveries == (Recovery(("tv",), ("phone",), 0.75, 1.5, 0, 0),)


def test_recoveries_of_a_later_gateway_come_after_the_pause_that_led_to_it() -> None:
    account = begun(Piece(1, "a", (1,)))
    account.lost("tv", 1.25)
    account.asks("phone", 1.25)
    account.take(routed(1), 1.5)
    account.take(Piece(1, "b", (2,)), 2.0)
    told = Recovery(("car",), ("hub",), 0.1, 0.3, 12, 0)
    account.take(routed(2, told), 3.0)
    account.take(finished(told), 3.5)
    assert account.recoveries == (Recovery(("tv",), ("phone",), 0.25, 1.0, 0, 0), told)


def test_what_is_left_of_the_time_shrinks_until_there_is_none() -> None:
    account = begun()
    account.lost("tv", 4.0)
    assert account.asks("phone", 4.0).deadline_s == 6.0
    with pytest.raises(DeadlineExceeded, match="not ready within 10 s"):
        account.asks("car", 10.0)


SETTLED = Settled(Sampling(temperature=0.6, seed=3), has_empty_system=True, thinking=Thinking.BEGUN)


def test_what_the_first_gateway_has_settled_is_said_to_all_that_follow() -> None:
    request = replace(REQUEST, left_open=(SamplingField.TEMPERATURE,))
    account = Account(request, 0.0)
    assert account.asks("tv", 0.0) is request
    account.take(replace(routed(), settled=SETTLED), 0.5)
    for gateway in ("phone", "car"):
        account.lost("tv", 1.25)
        asked = account.asks(gateway, 1.25)
        assert asked.messages == (ChatMessage("system", ""), ChatMessage("user", "?"))
        assert (asked.sampling, asked.left_open) == (SETTLED.sampling, ())
        assert asked.started is not None
        assert asked.started.thinking is Thinking.BEGUN
        account.take(routed(1), 1.5)  # it took all as it stands


def test_a_request_that_nobody_has_begun_is_settled_by_the_next() -> None:
    request = replace(REQUEST, left_open=(SamplingField.TEMPERATURE,))
    account = Account(request, 0.0)
    account.asks("tv", 0.0)
    account.take(replace(routed(), settled=SETTLED), 0.5)
    account.take(Decided(1, DECISION), 1.0)  # that way has failed before its first word
    account.lost("tv", 1.0)
    asked = account.asks("phone", 1.0)
    assert (asked.started, asked.messages, asked.left_open) == (None, request.messages, request.left_open)
    account.take(routed(), 1.5)
    account.lost("phone", 2.0)
    assert account.asks("car", 2.0).sampling == request.sampling, "nothing is left of the first one's word"


def test_a_gateway_that_settles_nothing_leaves_the_request_as_it_is() -> None:
    account = Account(replace(REQUEST, left_open=(SamplingField.TEMPERATURE,)), 0.0)
    account.take(routed(), 0.5)
    account.lost("tv", 1.0)
    asked = account.asks("phone", 1.0)
    assert (asked.messages, asked.sampling, asked.left_open) == (REQUEST.messages, REQUEST.sampling, ())
    assert asked.started is not None
    assert asked.started.thinking is Thinking.NONE


def test_reasoning_is_kept_over_losses() -> None:
    account = begun(Piece(1, "", (1,), "so"))
    account.lost("tv", 1.25)
    account.asks("phone", 1.25)
    account.take(Piece(1, "Tokyo", (2,), " on"), 2.0)
    assert account.reasoning == "so on"


def test_tokens_without_a_session_cannot_be_gone_on_with() -> None:
    account = Account(REQUEST, 0.0)
    account.take(Piece(1, "a", (1,)), 1.0)
    assert not account.can_go_on
    assert begun(Piece(1, "a", (1,))).can_go_on
    assert begun().can_go_on
    assert Account(REQUEST, 0.0).can_go_on  # it is asked anew


def test_a_route_that_failed_before_its_first_word_is_forgotten_with_the_next_decision() -> None:
    account = begun()
    account.take(Decided(1, DECISION), 1.0)
    assert (account.decision, account.route) == (DECISION, None)
    account.take(Piece(1, "from a server", ()), 1.0)
    assert not account.can_go_on, "another gateway would begin anew, and the client have it twice"


def test_what_may_not_leave_its_device_is_asked_nowhere_else() -> None:
    account = Account(replace(REQUEST, privacy=Privacy.DEVICE), 0.0)
    assert account.stays
    assert not account.can_go_on
    assert not Account(REQUEST, 0.0).stays
