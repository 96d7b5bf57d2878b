"""What this device knows of its own state: the Conditions port on the files of the Linux kernel.

Owns the reading of `/sys/class/power_supply` and `/sys/class/thermal`, and of one file of ours: while
`departing` exists in the data directory, the device is about to leave the house. A car's system creates that
file when the engine starts and removes it later. Beside that it looks at the clock on the wall, for the times
at which the owner lets the device rest, and asks whether its link is metered. What cannot be read counts as
not there, so on other systems only that file and the clock are known. Must not know what anybody concludes
from it.

Sources: the kernel's Documentation/ABI/testing/sysfs-class-power and sysfs-class-thermal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mesh.logic.rest import RestTime, resting_until
from mesh.types import Condition

_SYSTEM = Path("/sys/class")
_DEPARTING = "departing"
_PERIOD_S = 10.0
"""Between two looks: heat and charge change in minutes, and each look wakes the processor. Well below the
minute by which an owner's times to rest are kept, and each look reads the clock on the wall anew: one that
was set, or a device that slept, is seen at the next."""

_HOT_MILLIDEGREES = 95_000
"""Of a sensor that names no limit: processors slow down from about here."""
_COOLER_MILLIDEGREES = 5_000
"""So far below its limit a hot sensor must fall to count as cool again."""
_MARGINS = {"passive": 0, "hot": 0, "critical": 10_000}
"""Kinds of limits that count, and how far below them it is hot: at the critical one the system goes off."""


def minute_of_day() -> int:
    """Return the minute since midnight that the clock on the wall shows here and now."""
    time.tzset()  # the device may have travelled since the process began
    now = datetime.now()
    return now.hour * 60 + now.minute


@dataclass(frozen=True, slots=True)
class Wishes:
    """What its owner says of the use of this device, and how that is looked up."""

    rest: tuple[RestTime, ...] = ()
    is_metered: Callable[[], bool] = lambda: False
    """Whether the link costs money; asked at each look, in a thread."""
    minute_of_day: Callable[[], int] = minute_of_day


class DeviceConditions:
    """Looks at this device now and then."""

    def __init__(
        self,
        data_dir: Path,
        system: Path = _SYSTEM,
        period_s: float = _PERIOD_S,
        *,
        wishes: Wishes | None = None,
    ) -> None:
        self._wishes = Wishes() if wishes is None else wishes
        self._departing = data_dir / _DEPARTING
        self._supplies = system / "power_supply"
        self._heat = _Heat(system / "thermal")
        self._period_s = period_s

    async def watch(self) -> AsyncGenerator[Condition]:
        """Yield the state now and then each change, the battery's in steps of 1 %."""
        last: Condition | None = None
        while True:
            # In a thread: firmware may take a tenth of a second to say how full a battery is.
            condition = await asyncio.to_thread(self.look)
            if condition != last:
                yield condition
                last = condition
            await asyncio.sleep(self._period_s)

    def look(self) -> Condition:
        """Read the state now."""
        supplies = [supply for supply in _listed(self._supplies, "*") if not _is_accessory(supply)]
        batteries = [supply for supply in supplies if _is_battery(supply)]
        return Condition(
            battery=_charge(batteries),
            is_charging=any(map(_is_plugged_in, supplies)) or any(map(_is_filling, batteries)),
            is_hot=self._heat.is_hot(),
            is_departing=_exists(self._departing),
            is_metered=self._wishes.is_metered(),
            resting_until=resting_until(self._wishes.rest, self._wishes.minute_of_day()),
        )


class _Heat:
    """The thermal sensors, each hot from its limit until it is clearly below."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hot: frozenset[Path] = frozenset()

    def is_hot(self) -> bool:
        """Read all sensors."""
        zones = _listed(self._folder, "thermal_zone*")
        self._hot = frozenset(zone for zone in zones if self._is_zone_hot(zone))
        return bool(self._hot)

    def _is_zone_hot(self, zone: Path) -> bool:
        millidegrees = _number(zone / "temp")
        if millidegrees is None:
            return False
        slack = _COOLER_MILLIDEGREES if zone in self._hot else 0
        return millidegrees >= _hot_from(zone) - slack


def _hot_from(zone: Path) -> int:
    """The lowest limit of a sensor that counts, in thousandths of a degree Celsius."""
    return min(_limits(zone), default=_HOT_MILLIDEGREES)


def _limits(zone: Path) -> Iterator[int]:
    for kind in _listed(zone, "trip_point_*_type"):
        margin = _MARGINS.get(_text(kind) or "")
        limit = _number(kind.with_name(kind.name.replace("_type", "_temp")))
        if margin is not None and limit is not None and limit > 0:  # drivers write 0 and less for none
            yield limit - margin


def _is_battery(supply: Path) -> bool:
    return _text(supply / "type") == "Battery" and _number(supply / "present") != 0


def _is_accessory(supply: Path) -> bool:
    """Whether it feeds something else: the battery of a mouse says nothing about this device."""
    return _text(supply / "scope") == "Device"


def _is_plugged_in(supply: Path) -> bool:
    return _text(supply / "type") == "Mains" and _number(supply / "online") == 1


def _is_filling(battery: Path) -> bool:
    return _text(battery / "status") in ("Charging", "Full")


def _charge(batteries: list[Path]) -> float | None:
    """The charge of all batteries together, each weighted by its size where all tell theirs."""
    known = [(battery, percent) for battery in batteries if (percent := _percent(battery)) is not None]
    if not known:
        return None
    sizes = [_number(battery / "energy_full") or _number(battery / "charge_full") for battery, _ in known]
    weights = [size or 0 for size in sizes] if all(sizes) else [1] * len(known)
    total = sum(percent * weight for (_, percent), weight in zip(known, weights, strict=True))
    return round(total / sum(weights)) / 100


def _percent(battery: Path) -> int | None:
    percent = _number(battery / "capacity")
    return percent if percent is not None and 0 <= percent <= 100 else None


def _listed(folder: Path, pattern: str) -> list[Path]:
    """What lies in a folder under such names, in order; nothing where there is no such folder."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:
        return False


def _number(file: Path) -> int | None:
    try:
        return int(_text(file) or "")
    except ValueError:
        return None


def _text(file: Path) -> str | None:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return None
