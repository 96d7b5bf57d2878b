"""Devices that freeze (SIGSTOP) in the middle of an answer, which goes on where there is room for it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.blocking import connect_blocking
from mesh.errors import MeshError
from mesh.types import Summary
from tests.real.processes import Agents, agents, until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.model]

PROMPT = "Tell me a story about a fox."
NAMES = ("a", "b", "c")
NUM_TOKENS = (
    120  # long enough for a freeze after the tenth to come in the middle, however fast the devices are
)


@pytest.fixture(scope="module")
def roomy(data_dir: Path) -> Iterator[Agents]:
    """Three agents of which any two hold the model."""
    yield from home_of(data_dir, "85MB")


@pytest.fixture(scope="module")
def tight(data_dir: Path) -> Iterator[Agents]:
    """Three agents that hold the model only together."""
    yield from home_of(data_dir, "62MB")


@pytest.fixture(autouse=True)
def _all_awake(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails leaves nobody frozen for the next one."""
    yield
    for home in {"roomy", "tight"} & set(request.fixturenames):
        for name in NAMES:
            request.getfixturevalue(home).signal(name, signal.SIGCONT)


@pytest.fixture(scope="module")
def undisturbed(roomy: Agents) -> Summary:
    """The answer when nobody freezes."""
    return ask(roomy, "a")


def home_of(data_dir: Path, memory: str) -> Iterator[Agents]:
    with agents(data_dir) as running:
        for name in NAMES:
            running.up(name, "--memory", memory)
        assert until(lambda: is_whole(running), 10)
        yield running


def is_whole(home: Agents) -> bool:
    """Whether everybody sees everybody alive, and nobody holds a session."""
    views = [home.devices(viewer) for viewer in NAMES]
    return all(
        sorted(view) == sorted(NAMES)
        and all(d.state == "alive" and d.status and not d.status.num_sessions for d in view.values())
        for view in views
    )


def ask(home: Agents, gateway: str, freezing: str | None = None, deadline_s: float | None = None) -> Summary:
    """Ask for a story; when some of it has come a device freezes."""
    with connect_blocking(home.addresses[gateway], mesh=home.mesh_name) as client:
        options = {} if deadline_s is None else {"deadline_s": deadline_s}
        answer = client.chat(PROMPT, max_tokens=NUM_TOKENS, temperature=0.8, seed=7, **options)  # type: ignore[arg-type]
        for number, _ in enumerate(answer):
            if number == 10 and freezing is not None:
                home.signal(freezing, signal.SIGSTOP)
        return answer.summary


def plan_of(home: Agents, asked: str = "a") -> list[str]:
    """Who holds the model when a device is asked, in the order of its layers."""
    with connect_blocking(home.addresses[asked], mesh=home.mesh_name) as client:
        return [stage.node.name for stage in client.plan().stages]


def wakes(home: Agents, name: str) -> bool:
    """Whether all is well again soon after a device goes on."""
    home.signal(name, signal.SIGCONT)
    return until(lambda: is_whole(home), 20)


@pytest.mark.parametrize("index", [0, 1])
def test_a_stage_that_freezes_costs_no_token(roomy: Agents, undisturbed: Summary, index: int) -> None:
    routes = {name: plan_of(roomy, name) for name in NAMES}
    gateway = next(name for name, route in routes.items() if route[index] != name)
    victim = routes[gateway][index]
    summary = ask(roomy, gateway, freezing=victim)
    assert summary.tokens == undisturbed.tokens
    (recovery,) = summary.recoveries
    assert recovery.lost == (victim,)
    assert recovery.recomputed_layers == 0
    assert 0.5 < recovery.stall_s < 5
    assert victim not in [share.name for share in summary.stages]
    assert wakes(roomy, victim)


def test_a_gateway_that_freezes_costs_no_token(roomy: Agents, undisturbed: Summary) -> None:
    victim = plan_of(roomy)[0]
    summary = ask(roomy, victim, freezing=victim)
    assert summary.tokens == undisturbed.tokens
    (recovery,) = summary.recoveries
    assert recovery.lost == (victim,)
    assert recovery.recomputed_layers == 0
    assert wakes(roomy, victim)


def test_where_nobody_has_room_the_answer_ends_with_what_is_missing(tight: Agents) -> None:
    gateway, victim, _ = plan_of(tight)
    with pytest.raises(MeshError, match=rf"lost layers .* on {victim}.* MB are missing"):
        ask(tight, gateway, freezing=victim, deadline_s=8.0)
    assert wakes(tight, victim)


def test_within_its_deadline_an_answer_waits_for_a_device_to_come_back(
    tight: Agents, undisturbed: Summary
) -> None:
    gateway, victim, _ = plan_of(tight)
    waking = threading.Timer(5.0, tight.signal, (victim, signal.SIGCONT))
    waking.start()
    summary = ask(tight, gateway, freezing=victim, deadline_s=30.0)
    waking.join()
    assert summary.tokens == undisturbed.tokens
    assert summary.recoveries[0].stall_s > 1.5
    assert wakes(tight, victim)
