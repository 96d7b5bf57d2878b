"""A demo's devices hold the model together and not alone, and can stand in for any one of them."""

from __future__ import annotations

from itertools import combinations_with_replacement

import pytest

from mesh.logic.partition import Candidate, Demand, plan
from mesh.types import DeviceClass, Plan, Precision
from nodes.demo.household import DemoDevice, parse_devices, with_limits, with_spare
from tests.nodes.shown import record
from tests.shapes import SMOLLM2

DEMAND = Demand(SMOLLM2, Precision.INT4, 1024)
KINDS = (DeviceClass.WATCH, DeviceClass.TV, DeviceClass.PHONE, DeviceClass.CAR, DeviceClass.DESKTOP)
HOUSEHOLDS = [
    ",".join(kinds)
    for num_devices in (3, 4, 5)
    for kinds in combinations_with_replacement(KINDS, num_devices)
]


def spared(text: str) -> tuple[DemoDevice, ...]:
    return with_spare(with_limits(parse_devices(text), DEMAND), DEMAND)


def placed(devices: tuple[DemoDevice, ...]) -> Plan:
    """The plan over what is not spare."""
    return plan(DEMAND, [Candidate(record(d.name), d.memory_bytes - d.spare_bytes) for d in devices])


def test_small_devices_get_a_share_beside_a_large_one() -> None:
    devices = with_limits(parse_devices("watch,watch,desktop"), DEMAND)
    assert all(0 < device.memory_bytes < DEMAND.whole_bytes for device in devices)


def test_limits_leave_no_spare() -> None:
    assert all(device.spare_bytes == 0 for device in with_limits(parse_devices("phone,car,tv"), DEMAND))


def test_spare_memory_changes_no_plan() -> None:
    limited = with_limits(parse_devices("phone,car,tv"), DEMAND)
    assert placed(with_spare(limited, DEMAND)) == placed(limited)
    assert len(placed(limited).stages) == 3


@pytest.mark.parametrize("text", HOUSEHOLDS)
def test_with_spare_memory_the_model_still_fits_on_none_alone(text: str) -> None:
    devices = spared(text)
    assert all(0 < device.spare_bytes < device.memory_bytes < DEMAND.whole_bytes for device in devices)


@pytest.mark.parametrize("text", HOUSEHOLDS)
def test_for_each_device_another_has_room_for_its_whole_share(text: str) -> None:
    devices = spared(text)
    for lost in devices:
        share_bytes = lost.memory_bytes - lost.spare_bytes
        assert any(other.spare_bytes >= share_bytes for other in devices if other is not lost)


def test_one_of_two_devices_can_hold_all() -> None:
    assert all(device.memory_bytes >= DEMAND.split_bytes for device in spared("phone,tv"))


def test_a_device_alone_has_nobody_to_stand_in_for() -> None:
    (alone,) = spared("tv")
    assert alone.spare_bytes == 0
