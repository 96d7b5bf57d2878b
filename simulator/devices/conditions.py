"""The Conditions port of a virtual device: battery, heat, link, and whether it is about to leave.

Owns when to look again. An idle device on mains is never looked at: its owner's deeds and its own work stir
it. Elsewhere the next look comes when the battery may have lost its next percent, or the heat reached its
next state, at full power, and in no less than five seconds. Must not know what anybody makes of a condition.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

from mesh.types import Condition
from simulator.devices.processor import Processor
from simulator.devices.thermal import Heat

_LEAST_GAP_S = 5.0
_PERCENT = 100


class VirtualConditions:
    """What one device knows of its own state, over all its lives; watched by one life at a time."""

    def __init__(self, processor: Processor, now_s: Callable[[], float]) -> None:
        self._processor = processor
        self._now_s = now_s
        self._is_departing = False
        self._is_metered = False
        self._has_worked = False
        self._heeds_work = False
        self._stirred = asyncio.Event()

    @property
    def condition(self) -> Condition:
        """The state now; the battery in whole percents, rounded down."""
        state, processor = self._processor.state(self._now_s()), self._processor
        level = state.battery_level
        return Condition(
            battery=None if level is None else int(level * _PERCENT) / _PERCENT,
            is_charging=level is not None and not processor.is_on_battery,
            is_hot=state.heat >= Heat.THROTTLED,
            is_departing=self._is_departing,
            is_metered=self._is_metered,
        )

    def depart(self, *, is_departing: bool) -> None:
        """Say that the device is about to leave, or stays after all."""
        self._is_departing = is_departing
        self.stir()

    def meter(self, *, is_metered: bool) -> None:
        """Say that what goes over the device's link costs money, or no longer does."""
        self._is_metered = is_metered
        self.stir()

    def stir(self) -> None:
        """Something befell the device: look at once."""
        self._stirred.set()

    def worked(self) -> None:
        """The device has computed, so that it may get warm."""
        self._has_worked = True
        if self._heeds_work:
            self._heeds_work = False
            self.stir()

    async def watch(self) -> AsyncGenerator[Condition]:
        """Yield the state now and then each change; see the port."""
        stirred = self._stirred = asyncio.Event()  # of this life: one that is over hears nothing more
        told: Condition | None = None
        while True:
            stirred.clear()
            if (condition := self.condition) != told:
                told = condition
                yield condition
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._gap_s()):
                    await stirred.wait()

    def _gap_s(self) -> float | None:
        """How long nothing can change by itself; None: never."""
        now_s, processor = self._now_s(), self._processor
        soonest_s = processor.soonest_change_s(now_s, is_busy=self._has_worked)
        self._has_worked = False
        if soonest_s is not None:
            return max(_LEAST_GAP_S, soonest_s)
        self._heeds_work = processor.soonest_change_s(now_s, is_busy=True) is not None
        return None
