"""What the kernel's files say of a device, on trees of files like theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from mesh.adapters.device_conditions import DeviceConditions
from mesh.types import Condition

Write = Callable[..., None]


@pytest.fixture
def system(tmp_path: Path) -> Path:
    return tmp_path / "class"


@pytest.fixture
def write(system: Path) -> Write:
    """Write a device's files: `write("power_supply/BAT0", type="Battery", capacity=80)`."""

    def call(folder: str, **files: str | int) -> None:
        (system / folder).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (system / folder / name).write_text(f"{content}\n")

    return call


@pytest.fixture
def conditions(system: Path, tmp_path: Path) -> DeviceConditions:
    return DeviceConditions(tmp_path, system, period_s=0)


def test_a_system_without_such_files_knows_nothing(conditions: DeviceConditions) -> None:
    assert conditions.look() == Condition()


@pytest.mark.parametrize(
    ("status", "online", "is_charging"),
    [
        ("Discharging", 0, False),
        ("Charging", 0, True),
        ("Full", 0, True),
        ("Not charging", 1, True),  # held below full on purpose: it runs on mains
        ("Not charging", 0, False),
    ],
)
def test_a_laptop_tells_its_charge_and_whether_it_charges(
    conditions: DeviceConditions, write: Write, status: str, online: int, is_charging: bool
) -> None:
    write("power_supply/BAT0", type="Battery", capacity=37, status=status)
    write("power_supply/AC", type="Mains", online=online)
    assert conditions.look() == Condition(battery=0.37, is_charging=is_charging)


def test_a_device_on_mains_only_has_no_battery(conditions: DeviceConditions, write: Write) -> None:
    write("power_supply/AC", type="Mains", online=1)
    assert conditions.look() == Condition(is_charging=True)


def test_several_batteries_count_by_their_size(conditions: DeviceConditions, write: Write) -> None:
    write("power_supply/BAT0", type="Battery", capacity=100, energy_full=10_000, status="Discharging")
    write("power_supply/BAT1", type="Battery", capacity=20, energy_full=30_000, status="Discharging")
    assert conditions.look().battery == 0.40


def test_several_batteries_of_unknown_size_count_the_same(conditions: DeviceConditions, write: Write) -> None:
    write("power_supply/BAT0", type="Battery", capacity=100, energy_full=10_000)
    write("power_supply/BAT1", type="Battery", capacity=20)
    assert conditions.look().battery == 0.60


def test_the_battery_of_a_mouse_and_an_empty_bay_are_not_counted(
    conditions: DeviceConditions, write: Write
) -> None:
    write("power_supply/hidpp", type="Battery", capacity=3, scope="Device", status="Charging")
    write("power_supply/BAT1", type="Battery", capacity=0, present=0)
    assert conditions.look() == Condition()


@pytest.mark.parametrize("capacity", ["", "unknown", "-1", "300"])
def test_a_battery_that_cannot_be_read_is_not_there(
    conditions: DeviceConditions, write: Write, capacity: str
) -> None:
    write("power_supply/BAT0", type="Battery", capacity=capacity)
    write("power_supply/BAT1", type="Battery")
    assert conditions.look() == Condition()


def test_a_file_that_is_a_folder_is_not_there(
    conditions: DeviceConditions, write: Write, system: Path
) -> None:
    write("power_supply/BAT0", type="Battery")
    (system / "power_supply/BAT0/capacity").mkdir()
    assert conditions.look() == Condition()


@pytest.mark.parametrize(
    ("limits", "hot_from"),
    [
        ({}, 95_000),
        ({"passive": 80_000}, 80_000),
        ({"hot": 90_000, "critical": 105_000}, 90_000),
        ({"critical": 105_000}, 95_000),
        ({"active": 40_000, "passive": 85_000}, 85_000),
        ({"passive": 0, "hot": -274_000}, 95_000),
    ],
)
def test_a_sensor_is_hot_from_its_lowest_limit(
    conditions: DeviceConditions, write: Write, limits: dict[str, int], hot_from: int
) -> None:
    for index, (kind, limit) in enumerate(limits.items()):
        write(
            "thermal/thermal_zone0", **{f"trip_point_{index}_type": kind, f"trip_point_{index}_temp": limit}
        )
    write("thermal/thermal_zone0", temp=hot_from - 1)
    assert not conditions.look().is_hot
    write("thermal/thermal_zone0", temp=hot_from)
    assert conditions.look().is_hot


def test_a_hot_sensor_is_hot_until_it_is_clearly_cooler(conditions: DeviceConditions, write: Write) -> None:
    heats = []
    for millidegrees in (94_999, 95_000, 90_000, 89_999, 94_999):
        write("thermal/thermal_zone0", temp=millidegrees)
        heats.append(conditions.look().is_hot)
    assert heats == [False, True, True, False, False]


def test_one_hot_sensor_of_several_is_enough_and_fans_are_no_sensors(
    conditions: DeviceConditions, write: Write
) -> None:
    write("thermal/cooling_device0", temp=200_000)
    write("thermal/thermal_zone0", temp=30_000)
    assert not conditions.look().is_hot
    write("thermal/thermal_zone1", temp=99_000)
    assert conditions.look().is_hot


def test_a_sensor_that_cannot_be_read_is_not_hot(conditions: DeviceConditions, write: Write) -> None:
    write("thermal/thermal_zone0", trip_point_0_type="passive", trip_point_0_temp=1)
    assert not conditions.look().is_hot


def test_the_file_departing_says_that_the_device_leaves(conditions: DeviceConditions, tmp_path: Path) -> None:
    departing = tmp_path / "departing"
    departing.touch()
    assert conditions.look() == Condition(is_departing=True)
    departing.unlink()
    assert conditions.look() == Condition()


async def test_the_state_now_comes_first_and_then_changes_only(
    conditions: DeviceConditions, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [Condition(battery=charge) for charge in (0.15, 0.15, 0.15, 0.14, 0.14, 0.15)]
    looks = iter(states)
    monkeypatch.setattr(conditions, "look", lambda: next(looks))
    async with asyncio.timeout(10), aclosing(conditions.watch()) as seen:
        assert [await anext(seen) for _ in range(3)] == [states[0], states[3], states[5]]


async def test_a_change_of_the_files_is_seen(
    conditions: DeviceConditions, write: Write, tmp_path: Path
) -> None:
    write("power_supply/BAT0", type="Battery", capacity=15, status="Discharging")
    async with asyncio.timeout(10), aclosing(conditions.watch()) as seen:
        assert await anext(seen) == Condition(battery=0.15)
        write("power_supply/BAT0", capacity=14)
        assert await anext(seen) == Condition(battery=0.14)
        (tmp_path / "departing").touch()
        assert await anext(seen) == Condition(battery=0.14, is_departing=True)
