"""What the kernel's files say of a device, on trees of files like theirs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from mesh.adapters.device_conditions import DeviceConditions, Wishes, minute_of_day
from mesh.logic.rest import parse_rest_time
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


def resting(tmp_path: Path, *clock: tuple[int, int]) -> DeviceConditions:
    """The conditions of a device that rests at night, at whose looks the clock on the wall shows these."""
    shown = iter(hours * 60 + minutes for hours, minutes in clock)
    wishes = Wishes((parse_rest_time("22:00-07:00"),), minute_of_day=lambda: next(shown))
    return DeviceConditions(tmp_path, tmp_path / "class", period_s=0, wishes=wishes)


async def test_its_owners_times_are_kept_by_the_clock_on_the_wall(tmp_path: Path) -> None:
    conditions = resting(tmp_path, (21, 59), (22, 0), (23, 59), (0, 0), (6, 59), (7, 0))
    async with asyncio.timeout(10), aclosing(conditions.watch()) as seen:
        told = [(await anext(seen)).resting_until for _ in range(3)]
    assert told == [None, "07:00", None]


@pytest.mark.parametrize(
    ("clock", "told"),
    [
        ([(21, 30), (23, 10)], [None, "07:00"]),  # the device slept over the beginning
        ([(23, 0), (9, 0)], ["07:00", None]),  # and over the end
        ([(6, 59), (5, 59), (7, 0)], ["07:00", None]),  # its clock was put back
        ([(12, 0), (22, 30), (12, 1)], [None, "07:00", None]),  # it was wrong for a while
    ],
)
async def test_a_clock_that_jumps_is_seen_at_the_next_look(
    tmp_path: Path, clock: list[tuple[int, int]], told: list[str | None]
) -> None:
    conditions = resting(tmp_path, *clock)
    async with asyncio.timeout(10), aclosing(conditions.watch()) as seen:
        assert [(await anext(seen)).resting_until for _ in told] == told


async def test_it_looks_at_least_every_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("mesh.adapters.device_conditions.asyncio.sleep", pause)
    clock = iter([0, 0, 0, 12 * 60])
    wishes = Wishes((parse_rest_time("22:00-07:00"),), minute_of_day=lambda: next(clock))
    conditions = DeviceConditions(tmp_path, tmp_path / "class", wishes=wishes)
    async with asyncio.timeout(10), aclosing(conditions.watch()) as seen:
        for _ in range(2):
            await anext(seen)
    assert len(pauses) == 3
    assert max(pauses) <= 60


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Put the device into another time zone."""
    yield lambda zone: monkeypatch.setenv("TZ", zone)
    monkeypatch.undo()
    time.tzset()


def test_the_clock_is_that_of_where_the_device_is_now(in_zone: Callable[[str], None]) -> None:
    in_zone("UTC")
    before = minute_of_day()
    in_zone("XYZ-05:30")
    assert (minute_of_day() - before) % (24 * 60) in (330, 331)


def test_a_metered_link_is_told(tmp_path: Path) -> None:
    answers = iter([True, False])
    conditions = DeviceConditions(
        tmp_path, tmp_path / "class", wishes=Wishes(is_metered=lambda: next(answers))
    )
    assert [conditions.look().is_metered, conditions.look().is_metered] == [True, False]
