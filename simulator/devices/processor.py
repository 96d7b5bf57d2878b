"""The processor of one virtual device: how long its work takes, and what that costs it.

Owns what slows a device down (faults, heat), its energy and its battery. It has one queue: work that is
charged while it is busy begins when the work before it ends. It knows no loop: every call says what time it
is, and time never goes back. Only frames keep it busy; loading weights is the disk's work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from mesh.errors import BadSetting
from mesh.spec import ModelSpec
from mesh.types import StageKey
from simulator.devices.battery import Battery
from simulator.devices.roofline import FrameSize, StageCost, batch_seconds, load_seconds
from simulator.devices.thermal import (
    ROOM_C,
    Heat,
    Warmth,
    settling_c,
    soonest_change_s,
    speed_factor,
    warmed,
)
from simulator.profiles.types import DeviceProfile

_SETTLED_C = 0.1  # so near to where it rests, a device counts as cold


@dataclass(frozen=True, slots=True)
class Charge:
    """When some work is done."""

    began_s: float
    ends_s: float


class Charges(Protocol):
    """Whoever says how long work takes; `simulator.compute` asks it."""

    def charge(self, now_s: float, spec: ModelSpec, key: StageKey, sizes: Sequence[FrameSize]) -> Charge:
        """Book a batch of frames that comes now."""

    def refund(self, now_s: float, charge: Charge) -> None:
        """Take back what is left of a batch that was given up."""

    def load_seconds(self, num_bytes: int) -> float:
        """Say how long weights take from disk into memory."""


@dataclass(frozen=True, slots=True)
class FixedSpeed:
    """Charges as measured: a batch takes so long, and more for each row and guess; loading takes nothing."""

    step_s: float
    row_s: float = 0.0
    guess_s: float = 0.0

    def charge(self, now_s: float, spec: ModelSpec, key: StageKey, sizes: Sequence[FrameSize]) -> Charge:
        """Book a batch; batches do not wait for each other."""
        num_rows = sum(size.num_rows for size in sizes)
        num_guessed = max((size.num_guessed for size in sizes), default=0)
        return Charge(now_s, now_s + self.step_s + num_rows * self.row_s + num_guessed * self.guess_s)

    def refund(self, now_s: float, charge: Charge) -> None:
        """Do nothing: nothing is booked."""

    def load_seconds(self, num_bytes: int) -> float:
        """Say that loading takes no time."""
        return 0.0


@dataclass(frozen=True, slots=True)
class ProcessorState:
    """A processor at one moment."""

    at_s: float
    busy_s: float
    """Seconds of computing so far."""
    energy_j: float
    """Drawn so far, from mains or battery."""
    warmth: Warmth | None
    """None where the device does not slow down by heat."""
    battery: Battery | None
    """None on mains, unless the device has run on its battery before."""

    @property
    def heat(self) -> Heat:
        """How warm it is; nominal where that is not modelled."""
        return self.warmth.heat if self.warmth else Heat.NOMINAL

    @property
    def degrees_c(self) -> float | None:
        """Temperature; None where that is not modelled."""
        return self.warmth.degrees_c if self.warmth else None

    @property
    def battery_level(self) -> float | None:
        """From 0 to 1; None on mains."""
        return self.battery.level if self.battery else None

    @property
    def is_dead(self) -> bool:
        """Whether the battery is empty."""
        return self.battery is not None and self.battery.is_empty


class Processor:
    """One device's processor, from the moment at which it is switched on."""

    def __init__(
        self, profile: DeviceProfile, began_s: float = 0.0, battery_level: float | None = None
    ) -> None:
        self.profile = profile
        self._surroundings_c = ROOM_C
        self._slow_factor = 1.0
        self._busy_until_s = began_s
        self._is_on_battery = battery_level is not None
        self._is_off = False
        self._costs: dict[StageKey, StageCost] = {}
        self._state = ProcessorState(
            at_s=began_s,
            busy_s=0.0,
            energy_j=0.0,
            warmth=Warmth(self._settles_c(profile.idle_w)) if profile.thermal else None,
            battery=None if battery_level is None else self._battery(battery_level),
        )

    def charge(self, now_s: float, spec: ModelSpec, key: StageKey, sizes: Sequence[FrameSize]) -> Charge:
        """Book a batch that comes now; heat and faults count as they are now."""
        self._settle(now_s)
        cost = self._costs.get(key)
        if cost is None:
            cost = self._costs[key] = StageCost.of(spec, key)
        seconds = batch_seconds(self.profile, cost, sizes) * self._slow_factor / self._speed()
        began_s = max(now_s, self._busy_until_s)
        self._busy_until_s = began_s + seconds
        return Charge(began_s, self._busy_until_s)

    def refund(self, now_s: float, charge: Charge) -> None:
        """Take back what is left of the work booked last; earlier work stays booked as it is."""
        self._settle(now_s)
        if charge.ends_s == self._busy_until_s:
            self._busy_until_s = max(now_s, charge.began_s)

    def load_seconds(self, num_bytes: int) -> float:
        """Say how long weights take from disk into memory."""
        return load_seconds(self.profile, num_bytes) * self._slow_factor

    def state(self, now_s: float) -> ProcessorState:
        """Return the state now; looking changes nothing."""
        until_s = min(now_s, self._busy_until_s)
        busy = self._after(self._state, until_s, is_busy=True) if until_s > self._state.at_s else self._state
        return self._after(busy, now_s, is_busy=False) if now_s > busy.at_s else busy

    def empty_at_s(self, now_s: float) -> float | None:
        """Return when the battery will be empty if no more work comes; None on mains."""
        state = self.state(now_s)
        if state.battery is None or not self._is_on_battery:
            return None
        busy_s = max(0.0, self._busy_until_s - now_s)
        busy_j, left_j = busy_s * self._power_w(state.heat, is_busy=True), state.battery.left_j
        if left_j <= busy_j:
            return now_s + busy_s * left_j / busy_j if busy_j else now_s
        return now_s + busy_s + (left_j - busy_j) / self.profile.idle_w

    def soonest_change_s(self, now_s: float, *, is_busy: bool) -> float | None:
        """Say how soon its battery may lose a percent or its heat change; None: never while it rests.

        `is_busy` says that work goes on, though nothing may be booked at this moment.
        """
        state = self.state(now_s)
        soonest_s = min(self._percent_s(state), self._heat_s(state, is_busy=is_busy))
        return None if math.isinf(soonest_s) else soonest_s

    def _percent_s(self, state: ProcessorState) -> float:
        """In how many seconds of full power the battery loses its next percent."""
        if state.battery is None or not self._is_on_battery:
            return math.inf
        percent = state.battery.level * 100
        return (percent - math.floor(percent)) / 100 * state.battery.capacity_j / self.profile.active_w

    def _heat_s(self, state: ProcessorState, *, is_busy: bool) -> float:
        """In how many seconds its heat may change, where it works or has not cooled down."""
        thermal, warmth = self.profile.thermal, state.warmth
        if thermal is None or warmth is None:
            return math.inf
        rests_c, works_c = self._settles_c(self.profile.idle_w), self._settles_c(self.profile.active_w)
        if not is_busy and abs(warmth.degrees_c - rests_c) < _SETTLED_C:
            return math.inf
        return soonest_change_s(thermal, warmth, rests_c, works_c)

    def slow_down(self, factor: float) -> None:
        """Have work that comes from now on take so many times as long; 1 is healthy."""
        if not factor > 0:
            raise BadSetting(f"a device cannot be slower by a factor of {factor:g}; it must be above 0")
        self._slow_factor = factor

    def switch(self, now_s: float, *, is_on: bool) -> None:
        """Switch the device on or off; off, it draws nothing and does nothing."""
        self._settle(now_s)
        self._is_off = not is_on
        self._busy_until_s = min(self._busy_until_s, now_s)

    def surround(self, now_s: float, degrees_c: float) -> None:
        """Set the temperature of the surroundings."""
        self._settle(now_s)
        self._surroundings_c = degrees_c

    @property
    def is_on_battery(self) -> bool:
        """Whether it runs on its battery and not on mains."""
        return self._is_on_battery

    def unplug(self, now_s: float, level: float | None = None) -> None:
        """Run on battery from now on, filled to a level from 0 to 1.

        None: as it was left, and full where it did not run on battery before. Raises BadSetting where the
        device has no battery.
        """
        self._settle(now_s)
        filled = self._battery(1.0 if level is None else level)
        battery = self._state.battery if level is None else None
        self._state = replace(self._state, battery=battery or filled)
        self._is_on_battery = True

    def plug_in(self, now_s: float) -> None:
        """Run on mains from now on; the battery stays at its level."""
        self._settle(now_s)
        self._is_on_battery = False

    def _settle(self, now_s: float) -> None:
        self._state = self.state(now_s)

    def _after(self, state: ProcessorState, now_s: float, *, is_busy: bool) -> ProcessorState:
        """Return the state after a time of nothing but work, or nothing but rest."""
        seconds = now_s - state.at_s
        power_w = 0.0 if self._is_off else self._power_w(state.heat, is_busy=is_busy)
        battery, thermal, warmth = state.battery, self.profile.thermal, state.warmth
        if battery and self._is_on_battery:
            battery = battery.drained(power_w * seconds)
        if thermal and warmth:
            warmth = warmed(thermal, warmth, self._settles_c(power_w), seconds)
        return ProcessorState(
            at_s=now_s,
            busy_s=state.busy_s + (seconds if is_busy else 0.0),
            energy_j=state.energy_j + power_w * seconds,
            warmth=warmth,
            battery=battery,
        )

    def _power_w(self, heat: Heat, *, is_busy: bool) -> float:
        """Return what it draws; a throttled processor draws less, in proportion to its speed."""
        idle_w, active_w = self.profile.idle_w, self.profile.active_w
        factor = speed_factor(self.profile.thermal, heat) if self.profile.thermal else 1.0
        return idle_w + (active_w - idle_w) * factor if is_busy else idle_w

    def _speed(self) -> float:
        thermal = self.profile.thermal
        return speed_factor(thermal, self._state.heat) if thermal else 1.0

    def _settles_c(self, power_w: float) -> float:
        thermal = self.profile.thermal
        return settling_c(thermal, self._surroundings_c, power_w) if thermal else self._surroundings_c

    def _battery(self, level: float) -> Battery:
        if self.profile.battery is None:
            raise BadSetting(f"{self.profile.title} has no battery to run on")
        return Battery.charged(self.profile.battery, level)
