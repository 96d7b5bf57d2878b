"""Runs of small households: what is asked is answered, what befalls them is seen, what breaks is told."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from mesh.errors import BadSetting
from mesh.ports import Listener, Sampled, Step
from mesh.roles.gateway import Gateway
from mesh.roles.node import Node, NodeSettings, Ports
from mesh.roles.worker import Worker
from mesh.types import Hidden, NodeRecord
from simulator.claims import Invariant, PromiseName
from simulator.parts import Parts
from simulator.result import RunResult, Verdict
from simulator.run import run_script
from simulator.script import Budget, Fault, FaultKind, Promise
from simulator.token_function import TokenFunction
from simulator.trace import Event, Kind
from tests.simulator.scripts import ROOMY, a_device, a_request, a_script, three

ALL_PROMISES = tuple(Promise(name, 15.0) for name in PromiseName)


def of_kind(result: RunResult, kind: Kind) -> list[Event]:
    return [event for event in result.events if event.kind is kind]


def test_three_devices_answer_together() -> None:
    result = run_script(a_script(*three(), requests=(a_request(),)))
    assert (result.verdict, result.complaints) == (Verdict.HELD, ())
    [record] = result.requests
    assert (record.is_answered, record.num_stages, len(record.token_times_s)) == (True, 3, 20)
    assert {event.device for event in of_kind(result, Kind.COMPUTED)} == set("abc")
    assert result.figures.num_tokens == 20
    assert result.ended_s == 30.0


def test_the_same_script_gives_the_same_digest_and_another_seed_another() -> None:
    script = a_script(*three(), requests=(a_request(),))
    jittery = replace(
        script,
        devices=tuple(replace(d, link=replace(d.link, jitter_s=0.001)) for d in script.devices),
    )
    assert run_script(jittery).digest == run_script(jittery).digest
    assert run_script(jittery).digest != run_script(replace(jittery, seed=2)).digest


def test_runs_leave_logging_as_it_was() -> None:
    logger = logging.getLogger("mesh")
    before = logger.level, logger.propagate, list(logger.handlers)
    run_script(a_script(a_device("a")))
    assert (logger.level, logger.propagate, logger.handlers) == before


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        (FaultKind.CRASH, "crashed"),
        (FaultKind.POWER_OFF, "power_off"),
        (FaultKind.LEAVE, "left"),
    ],
)
def test_a_device_that_goes_and_comes_back_is_met_again(kind: FaultKind, how: str) -> None:
    fault = Fault(5.0, kind, ("b",), for_s=4.0)
    result = run_script(
        a_script(*three(ROOMY), faults=(fault,), promises=ALL_PROMISES, duration_s=40.0, healed_s=20.0)
    )
    assert result.complaints == ()
    [stopped] = of_kind(result, Kind.STOPPED)
    assert (stopped.device, stopped.at_s, stopped.details["how"]) == ("b", 5.0, how)
    starts = [event for event in of_kind(result, Kind.STARTED) if event.device == "b"]
    assert [(event.at_s, event.details["incarnation"]) for event in starts] == [(0.0, 1), (9.0, 2)]


def test_a_device_without_its_disk_comes_back_as_another_and_without_models() -> None:
    fault = Fault(5.0, FaultKind.CRASH, ("b",), for_s=4.0, keeps_disk=False)
    asks = a_request(device="b", at_s=15.0)
    result = run_script(a_script(*three(ROOMY), requests=(asks,), faults=(fault,)))
    [record] = result.requests
    assert record.error == "model_not_pulled"


def test_a_paused_device_is_suspected_and_forgiven() -> None:
    fault = Fault(5.0, FaultKind.PAUSE, ("b",), for_s=10.0)
    result = run_script(
        a_script(*three(ROOMY), faults=(fault,), promises=ALL_PROMISES, duration_s=40.0, healed_s=20.0)
    )
    assert result.complaints == ()
    said = [e for e in of_kind(result, Kind.LOGGED) if e.device == "a" and "b: " in str(e.details["text"])]
    states = [str(event.details["text"]).removeprefix("b: ") for event in said]
    assert states == ["joined", "alive", "suspect", "lost", "alive"]
    assert [event.at_s for event in of_kind(result, Kind.WOKEN)] == [15.0]
    # While it stood still it did nothing at all.
    done = [e for e in result.events if e.kind in (Kind.COMPUTED, Kind.LOGGED) and e.device == "b"]
    assert not [event for event in done if 5.0 < event.at_s < 15.0]


def test_an_answer_whose_stage_goes_waits_for_it_where_nobody_else_has_room_and_goes_on() -> None:
    asks = a_request(max_tokens=400)
    fault = Fault(4.0, FaultKind.POWER_OFF, ("b",), for_s=6.0)
    result = run_script(
        a_script(
            *three(), requests=(asks,), faults=(fault,), promises=ALL_PROMISES, duration_s=60, healed_s=40
        )
    )
    assert result.complaints == ()
    [record] = result.requests
    assert (record.is_answered, record.num_attempts, record.num_recoveries) == (True, 1, 1)
    assert record.stall_s is not None
    assert 5.0 < record.stall_s < 8.0
    lost = [event.details["lost"] for event in of_kind(result, Kind.ROUTED)]
    assert lost == ["", "b"]


def test_what_is_not_healed_is_an_unmet_promise() -> None:
    # A device that never starts again: it is the battery that is empty.
    weak = replace(a_device("b", profile="xiaomi_14"), battery_level=0.00001)
    asks = a_request(device="b", at_s=20.0, asks_again=True)
    result = run_script(
        a_script(
            a_device("a"),
            weak,
            requests=(asks,),
            promises=(Promise(PromiseName.ANSWERED, 5.0),),
            healed_s=20.0,
        )
    )
    assert result.verdict is Verdict.UNMET
    assert [complaint.name for complaint in result.complaints] == [PromiseName.ANSWERED]
    assert "request 1 on b failed with 'peer_unreachable'" in result.complaints[0].text


def test_a_budget_that_is_not_kept_is_told() -> None:
    script = replace(a_script(*three(), requests=(a_request(),)), budgets=(Budget("num_tokens", 5),))
    result = run_script(script)
    assert result.verdict is Verdict.BROKEN
    assert result.complaints[0].text == "num_tokens is 20, the budget 5"


class SometimesWrong(TokenFunction):
    """Maths whose last stage is off by one at one position."""

    def run(self, step: Step) -> Hidden | Sampled | None:
        result = super().run(step)
        if isinstance(result, Sampled) and step.start > 70:
            return replace(result, token=result.token ^ 1)
        return result


def test_a_wrong_token_is_noticed_at_once() -> None:
    result = run_script(a_script(*three(), requests=(a_request(max_tokens=60),)), Parts(maths=SometimesWrong))
    assert result.verdict is Verdict.BROKEN
    assert [complaint.name for complaint in result.complaints] == [Invariant.EXACT_TOKENS]
    assert "the undivided model gives" in result.complaints[0].text
    assert result.ended_s < 30.0


class Failing(TokenFunction):
    """Maths with a bug."""

    def run(self, step: Step) -> Hidden | Sampled | None:
        raise ZeroDivisionError("a planted bug")


def test_an_exception_in_a_role_breaks_an_invariant_with_its_traceback() -> None:
    result = run_script(a_script(*three(), requests=(a_request(),)), Parts(maths=Failing))
    assert result.complaints[0].name == Invariant.NO_ROLE_FAILED
    assert "a planted bug" in result.complaints[0].text
    assert "in run" in (result.complaints[0].traceback or "")


def test_an_exception_that_ends_a_node_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_status(self: Worker) -> None:
        raise ZeroDivisionError("nobody expected this")

    monkeypatch.setattr(Worker, "status", broken_status)
    result = run_script(a_script(*three()))
    assert {complaint.name for complaint in result.complaints} == {Invariant.NO_ROLE_FAILED}
    assert "nobody expected this" in result.complaints[0].text


def generous_node(record: NodeRecord, listener: Listener, ports: Ports, settings: NodeSettings) -> Node:
    """A node that takes a terabyte, whatever its owner lends."""
    return Node(record, listener, ports, replace(settings, memory_bytes=10**12))


def test_a_device_that_holds_more_than_is_lent_is_told() -> None:
    result = run_script(a_script(a_device("a", 1_000), requests=(a_request(),)), Parts(node=generous_node))
    assert {complaint.name for complaint in result.complaints} == {Invariant.MEMORY_WITHIN_BUDGET}
    assert "a holds" in result.complaints[0].text


def test_silence_for_ever_breaks_an_invariant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gateway, "request", lambda *_: None)
    result = run_script(a_script(*three(), requests=(a_request(),), duration_s=120.0))
    assert [complaint.name for complaint in result.complaints] == ["one_end"]


def test_a_model_that_nobody_knows_is_one_plain_error() -> None:
    script = a_script(replace(a_device("a"), models=("gpt-0",)))
    with pytest.raises(BadSetting, match="gpt-0"):
        run_script(script)


def test_who_asks_again_has_waited_since_the_first_time() -> None:
    fault = Fault(1.0, FaultKind.POWER_OFF, ("a",), for_s=10.0)
    asks = a_request(device="a", at_s=2.0, asks_again=True)
    [record] = run_script(a_script(*three(ROOMY), requests=(asks,), faults=(fault,))).requests
    assert record.asked_s == 2.0
    assert record.tried_s >= 11.0
    assert record.num_attempts > 5
    assert record.ttft_s is not None
    assert record.ttft_s > 9.0


def test_a_budget_for_what_was_never_seen_is_not_kept() -> None:
    asks = a_request(model="tiny")
    script = replace(
        a_script(a_device("a"), requests=(asks,)), budgets=(Budget("ttft_max_s", 1.0),), always=()
    )
    result = run_script(script)
    assert [complaint.text for complaint in result.complaints] == [
        "ttft_max_s could not be measured: no token came"
    ]


def test_a_device_that_is_off_draws_nothing() -> None:
    fault = Fault(10.0, FaultKind.POWER_OFF, ("a",))
    result = run_script(a_script(a_device("a"), a_device("b"), faults=(fault,)))
    off, on = result.devices
    assert off.energy_j == pytest.approx(on.energy_j / 3, rel=0.01)


def test_the_name_of_a_scenario_changes_nothing() -> None:
    script = a_script(*three(), requests=(a_request(),))
    assert run_script(script).digest == run_script(replace(script, scenario="another")).digest
