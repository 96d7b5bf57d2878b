"""What befalls a household is an excuse while it is felt, and no longer; bad weather excuses no death."""

from __future__ import annotations

import asyncio

import pytest

from simulator.calm import Calm
from simulator.devices.device import VirtualDevice
from simulator.loop import VirtualLoop
from simulator.parts import Parts
from simulator.script import Fault, FaultKind
from simulator.world import World
from tests.simulator.scripts import ROOMY, a_script, three

MARGIN_S = 3.0 + 2.0 + 3.0  # dial, suspect, lost


def calm_of(*faults: Fault, healed_s: float = 100.0) -> Calm:
    return Calm(a_script(*three(ROOMY), faults=faults, duration_s=200.0, healed_s=healed_s))


def devices() -> dict[str, VirtualDevice]:
    async def make() -> dict[str, VirtualDevice]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        async with asyncio.TaskGroup() as tasks:
            return World(a_script(*three(ROOMY)), Parts(), loop, tasks).devices

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(make())


@pytest.mark.parametrize(
    ("fault", "until_s"),
    [
        (Fault(10.0, FaultKind.CRASH, ("a",), for_s=4.0), 18.0 + MARGIN_S),
        (Fault(10.0, FaultKind.RESET, ("a",)), 10.0 + MARGIN_S),
        (Fault(10.0, FaultKind.PAUSE, ("a",)), 190.0 + MARGIN_S),  # to the healing, and as long again
        (Fault(10.0, FaultKind.FADE, ("a",), for_s=4.0, over_s=1.0), 20.0 + MARGIN_S),
    ],
)
def test_a_fault_is_felt_for_twice_its_length(fault: Fault, until_s: float) -> None:
    calm = calm_of(fault)
    assert calm.since_s(9.9) == 0.0
    assert calm.since_s(10.0) == until_s
    assert calm.since_s(500.0) == until_s


def test_several_faults_are_over_with_the_last() -> None:
    calm = calm_of(
        Fault(10.0, FaultKind.PAUSE, ("a",), for_s=20.0), Fault(20.0, FaultKind.CRASH, ("b",), for_s=1.0)
    )
    assert calm.since_s(25.0) == 50.0 + MARGIN_S


@pytest.mark.parametrize(
    ("fault", "is_excused"),
    [
        (Fault(10.0, FaultKind.CRASH, ("a",), for_s=4.0), True),
        (Fault(10.0, FaultKind.PAUSE, ("b",), for_s=4.0), True),
        (Fault(10.0, FaultKind.CRASH, ("c",), for_s=4.0), False),  # another's fate
        (Fault(10.0, FaultKind.PARTITION, ("c",), ("b",), for_s=4.0), True),
        (Fault(10.0, FaultKind.ROUTER_OFF, for_s=4.0, lan="home"), True),
        (Fault(10.0, FaultKind.ROUTER_OFF, for_s=4.0, lan="office"), False),
        (Fault(10.0, FaultKind.LOSS, ("a", "b"), amount=0.3, for_s=4.0), False),
        (Fault(10.0, FaultKind.FADE, ("b",), amount=0.1, for_s=4.0), False),
        (Fault(10.0, FaultKind.SLOW, ("b",), amount=50.0, for_s=4.0), False),
        (Fault(11.0, FaultKind.CRASH, ("a",), for_s=4.0), False),  # too late
        (Fault(1.0, FaultKind.RESET, ("a", "b")), False),  # too long ago
    ],
)
def test_only_what_keeps_two_devices_apart_excuses_a_death(fault: Fault, *, is_excused: bool) -> None:
    there = devices()
    assert calm_of(fault).excuses_death(10.0, there["a"], there["b"]) is is_excused
