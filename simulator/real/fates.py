"""Faults carried out for real: signals to processes, orders to agents, changes to paths.

Owns which faults last now, so that they may overlap and end in any order.
"""

from __future__ import annotations

from dataclasses import replace

from simulator.devices.thermal import ROOM_C
from simulator.real.control import Control, Slow, Surround, Unplug
from simulator.real.household import Household
from simulator.real.paths import Path
from simulator.real.weather import pairs_of, weather
from simulator.script import Fault, FaultKind, Script

_ENDINGS = (FaultKind.CRASH, FaultKind.POWER_OFF, FaultKind.LEAVE)


class Fates:
    """What befalls a household."""

    def __init__(self, household: Household, script: Script) -> None:
        self._home = household
        self._script = script
        self._lasting: list[Fault] = []

    async def begin(self, fault: Fault) -> None:
        """Have a fault happen."""
        self._lasting.append(fault)
        self._change_paths(fault)
        if fault.kind is FaultKind.RESET:
            self._home.shaper.reset(pairs_of(fault, self._script))
        for name in fault.devices:
            await self._strike(fault, name)

    async def end(self, fault: Fault) -> bool:
        """Undo a fault; return False where that was done before."""
        if fault not in self._lasting:
            return False
        self._lasting.remove(fault)
        self._change_paths(fault)
        for name in fault.devices:
            await self._lift(fault, name)
        return True

    async def end_all(self) -> None:
        """Undo every fault that lasts, and start every device."""
        for fault in tuple(self._lasting):
            if fault.kind is not FaultKind.START:
                await self.end(fault)
        for device in self._script.devices:
            await self._home.start(device.name)

    async def _strike(self, fault: Fault, name: str) -> None:
        match fault.kind:
            case FaultKind.CRASH | FaultKind.POWER_OFF:
                await self._home.kill(name)
            case FaultKind.LEAVE:
                await self._home.stop(name)
            case FaultKind.START:
                self._forget_ending(name)
                await self._home.start(name)
            case FaultKind.PAUSE:
                self._home.pause(name, is_paused=True)
            case _ if (order := _order(fault)) is not None:
                self._home.tell(name, order)

    def _forget_ending(self, name: str) -> None:
        """A device that starts is switched on again, whatever ended it."""
        over = [fault for fault in self._lasting if fault.kind in _ENDINGS and name in fault.devices]
        for fault in over:
            rest = replace(fault, devices=tuple(other for other in fault.devices if other != name))
            self._lasting[self._lasting.index(fault)] = rest
            self._change_paths(fault)

    async def _lift(self, fault: Fault, name: str) -> None:
        match fault.kind:
            case kind if kind in _ENDINGS:
                await self._home.start(name)
            case FaultKind.START:
                await self._home.stop(name)
            case FaultKind.PAUSE:
                self._home.pause(name, is_paused=False)
            case _ if (order := _opposite(fault)) is not None:
                self._home.tell(name, order)

    def _change_paths(self, fault: Fault) -> None:
        def change(path: Path) -> None:
            now = weather((path.source, path.target), self._lasting, self._script)
            path.is_blocked = now.is_blocked
            path.extra_delay_s = now.extra_delay_s
            path.slowness = now.slowness

        self._home.shaper.change(pairs_of(fault, self._script), change)


def _order(fault: Fault) -> Control | None:
    match fault.kind:
        case FaultKind.SLOW:
            return Slow(fault.amount)
        case FaultKind.HEAT:
            return Surround(fault.amount)
        case FaultKind.UNPLUG:
            return Unplug(is_unplugged=True, level=fault.amount or None)
    return None


def _opposite(fault: Fault) -> Control | None:
    match fault.kind:
        case FaultKind.SLOW:
            return Slow(1.0)
        case FaultKind.HEAT:
            return Surround(ROOM_C)
        case FaultKind.UNPLUG:
            return Unplug(is_unplugged=False)
    return None
