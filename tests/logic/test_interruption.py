"""Who is blamed for an interruption, what becomes of the node, and what the interruption has cost."""

from __future__ import annotations

import pytest

from mesh.errors import (
    BadRequest,
    Busy,
    ContextExceeded,
    InsufficientMemory,
    InternalError,
    MeshError,
    ModelCorrupt,
    ModelNotPulled,
    NodeLeaving,
    PositionGap,
    ShapeMismatch,
    StageLost,
    StageNotLoaded,
    UnknownSession,
)
from mesh.logic.interruption import Blame, Interruption, RecoveryAccount
from mesh.messages import PROTOCOL, Resume
from mesh.types import (
    Address,
    DeviceClass,
    NodeId,
    NodeRecord,
    Plan,
    PlannedStage,
    Precision,
    SessionId,
    Span,
)
from simulator.library import TINY

OURS = SessionId("a" * 16)
TV, CAR = NodeId("1" * 32), NodeId("2" * 32)
POSITION = 30
"""Of the token that is waited for; caches of those that lived ended at 29 at least."""


def judged(error: MeshError, *, seems_alive: bool, num_times: int = 1) -> Interruption | None:
    blame = Blame()
    found = [blame.judge(error, TV, seems_alive=seems_alive) for _ in range(num_times)]
    return found[-1]


@pytest.mark.parametrize(
    ("error", "seems_alive", "gone_at_first", "gone_at_second"),
    [
        (StageLost("a power cut"), False, True, True),
        (StageLost("a stream broke"), True, False, True),
        (UnknownSession("forgotten"), True, False, True),
        (UnknownSession("forgotten"), False, False, True),
        (StageNotLoaded("forgotten"), True, False, True),
        (PositionGap("a frame was lost"), True, False, True),
        (Busy("full"), True, True, True),
        (InsufficientMemory("small"), True, True, True),
        (NodeLeaving("going"), True, True, True),
        (ModelNotPulled("not here"), True, True, True),
        (ModelCorrupt("broken"), True, True, True),
    ],
)
def test_a_node_is_replaced_at_once_or_gets_one_chance(
    error: MeshError, seems_alive: bool, gone_at_first: bool, gone_at_second: bool
) -> None:
    for num_times, is_gone in ((1, gone_at_first), (2, gone_at_second)):
        found = judged(error, seems_alive=seems_alive, num_times=num_times)
        assert found == Interruption(error, (TV,), (TV,) if is_gone else ())


@pytest.mark.parametrize(
    "error",
    [InternalError("a bug"), ShapeMismatch("odd"), ContextExceeded("long"), BadRequest("no")],
)
def test_what_another_node_would_do_no_better_is_no_interruption(error: MeshError) -> None:
    assert judged(error, seems_alive=True) is None


def test_a_failure_of_nobody_is_no_interruption() -> None:
    assert Blame().judge(StageLost("somebody"), None, seems_alive=True) is None


def test_after_a_token_a_node_may_fail_once_more_but_its_failures_are_not_forgotten() -> None:
    blame, error = Blame(), StageLost("a stream broke")
    for num_failures in (1, 2, 3):
        found = blame.judge(error, TV, seems_alive=True)
        assert found is not None
        assert found.gone == ()
        assert blame.doubts(TV) == num_failures
        blame.token_came()
    assert blame.doubts(CAR) == 0


def test_failures_of_one_node_are_not_held_against_another() -> None:
    blame, error = Blame(), StageLost("a stream broke")
    for node_id in (TV, CAR):
        found = blame.judge(error, node_id, seems_alive=True)
        assert found is not None
        assert found.gone == ()


@pytest.mark.parametrize(("error", "is_loss"), [(StageLost("gone"), True), (Busy("full"), False)])
def test_a_loss_is_told_from_a_refusal(error: MeshError, is_loss: bool) -> None:
    assert Interruption(error).is_loss is is_loss


def node(name: str, incarnation: int = 1) -> NodeRecord:
    node_id = NodeId(name.encode().hex().rjust(32, "0"))
    address = Address("10.0.0.1", 7070)
    return NodeRecord(node_id, name, DeviceClass.TV, address, "home", PROTOCOL, incarnation)


def a_plan(*names: str) -> Plan:
    """Four layers on each; `tv!` is the tv in its second life."""
    stages = tuple(
        PlannedStage(node(name.rstrip("!"), 1 + name.count("!")), Span(4 * index, 4 * index + 4), 0, 0)
        for index, name in enumerate(names)
    )
    return Plan(TINY.ref, Precision.INT4, 64, stages)


def resume(index: int, position: int, had: int | None = None) -> Resume:
    return Resume(OURS, 1, index, position, position if had is None else had)


def an_account(before: Plan, after: Plan, *resumes: Resume, lost: str = "tv") -> RecoveryAccount:
    account = RecoveryAccount(10.0, 10.5)
    account.lost[node(lost).node_id] = lost
    account.rerouted(before, after)
    for message in resumes:
        account.resumed(message, POSITION, POSITION - 1)
    return account


BEFORE = a_plan("phone", "car", "tv")


def test_a_replacement_is_sent_all_positions_again_and_those_that_lived_compute_nothing() -> None:
    resumes = resume(0, POSITION), resume(1, POSITION), resume(2, 0)
    recovery = an_account(BEFORE, a_plan("phone", "car", "pc"), *resumes).recovery(11.0)
    assert (recovery.lost, recovery.replacement) == (("tv",), ("pc",))
    assert (recovery.detect_s, recovery.stall_s) == (0.5, 1.0)
    assert (recovery.replayed_positions, recovery.recomputed_layers) == (POSITION, 0)


@pytest.mark.parametrize(
    ("again", "num_layers"),
    [
        pytest.param(resume(1, 29), 0, id="its frame was under way"),
        pytest.param(resume(1, 30), 0, id="it had all"),
        pytest.param(resume(1, 0, had=30), 4, id="its rows were not kept"),
        pytest.param(resume(1, 28), 4, id="it was behind what tokens have shown"),
        pytest.param(resume(1, 0), 4, id="it forgot the session"),
    ],
)
def test_a_stage_that_lived_and_must_compute_again_is_counted(again: Resume, num_layers: int) -> None:
    recovery = an_account(BEFORE, a_plan("phone", "car", "pc"), again).recovery(11.0)
    assert recovery.recomputed_layers == num_layers


def test_a_stage_that_says_twice_where_it_ends_is_counted_once() -> None:
    resumes = resume(1, 30), resume(1, 0, had=30), resume(1, 0, had=30)
    recovery = an_account(BEFORE, a_plan("phone", "car", "pc"), *resumes).recovery(11.0)
    assert recovery.recomputed_layers == 4


def test_a_node_that_started_again_replaces_itself() -> None:
    recovery = an_account(BEFORE, a_plan("phone", "car", "tv!"), resume(2, 0)).recovery(11.0)
    assert (recovery.replacement, recovery.replayed_positions) == (("tv",), POSITION)


def test_a_route_that_is_only_opened_anew_names_the_node_to_blame_for_its_own_replacement() -> None:
    recovery = an_account(BEFORE, BEFORE, resume(2, POSITION)).recovery(11.0)
    assert recovery.lost == recovery.replacement == ("tv",)
    assert (recovery.replayed_positions, recovery.recomputed_layers) == (0, 0)


def test_one_node_for_two_stages_is_named_once() -> None:
    recovery = an_account(BEFORE, a_plan("phone", "pc", "pc")).recovery(11.0)
    assert recovery.replacement == ("pc",)


def test_a_replacement_that_is_kept_through_a_second_loss_has_not_lived_before() -> None:
    account = an_account(BEFORE, a_plan("phone", "car", "pc"), resume(2, 0))
    account.lost[node("car").node_id] = "car"
    account.rerouted(a_plan("phone", "car", "pc"), a_plan("phone", "hub", "pc"))
    for message in (resume(0, POSITION), resume(1, 0), resume(2, 12)):
        account.resumed(message, POSITION, POSITION - 1)
    recovery = account.recovery(11.0)
    assert recovery.lost == ("tv", "car")
    assert recovery.replacement == ("hub", "pc")
    assert recovery.recomputed_layers == 0
