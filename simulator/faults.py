"""Carries out what befalls a household: each fault of a script at its time, and its end.

Owns the faults that are in force. Must not know why they were chosen.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace

from simulator.devices.device import VirtualDevice
from simulator.devices.thermal import ROOM_C
from simulator.draining import Drains
from simulator.loop import VirtualLoop
from simulator.network.network import VirtualNetwork
from simulator.network.rules import Later, Lossier, Lost, Rule, Slower, Way, always, corrupted, sometimes
from simulator.script import Fault, FaultKind
from simulator.trace import Kind, Trace

_FADE_STEP_S = 0.25  # a fading signal changes so often

Undo = Callable[[], None]


class Faults:
    """The faults of one run."""

    def __init__(
        self,
        loop: VirtualLoop,
        network: VirtualNetwork,
        devices: Mapping[str, VirtualDevice],
        trace: Trace,
        drains: Drains,
    ) -> None:
        self._loop = loop
        self._network = network
        self._devices = devices
        self._trace = trace
        self._drains = drains
        self._in_force: dict[int, tuple[Fault, Undo]] = {}

    def schedule(self, faults: Iterable[Fault]) -> None:
        """Have each happen at its time."""
        for number, fault in enumerate(faults):
            self._loop.at(fault.at_s, self._begin, number, fault)

    def heal(self) -> None:
        """Undo all that is in force, and start whatever does not run and should by now."""
        self._trace.add(self._loop.time(), Kind.HEALED)
        for number in tuple(self._in_force):
            self._end(number)
        for device in self._devices.values():
            if device.script.starts_s <= self._loop.time():
                device.wake()
                device.start()

    def _begin(self, number: int, fault: Fault) -> None:
        self._note(Kind.FAULT_BEGAN, fault)
        undo = self._carry_out(fault)
        if undo is not None:
            self._in_force[number] = (fault, undo)
        if fault.for_s is not None:
            self._loop.at(fault.at_s + fault.for_s, self._end, number)

    def _end(self, number: int) -> None:
        fault, undo = self._in_force.pop(number, (None, None))
        if fault is not None and undo is not None:
            self._note(Kind.FAULT_ENDED, fault)
            undo()

    def _carry_out(self, fault: Fault) -> Undo | None:
        """Have it happen; return what ends it, None where it has no end."""
        if fault.kind in _OF_DEVICES:
            return self._on_devices(fault)
        if fault.kind is FaultKind.DRAIN:
            return self._drain(fault)
        if fault.kind in _OF_MESSAGES:
            rng = random.Random(
                f"{self._network.seed}/{fault.at_s}/{describe(fault)}"
            )  # not its place in the list
            return self._rule(_rule(fault, rng))
        return self._on_paths(fault)

    def _on_devices(self, fault: Fault) -> Undo:
        begin, end = _OF_DEVICES[fault.kind]
        devices = [self._devices[name] for name in fault.devices]

        def carry_out(act: _Act) -> None:
            for device in devices:
                act(device, fault, self._loop.time())
                device.conditions.stir()

        carry_out(begin)

        def undo() -> None:
            carry_out(end)

        return undo

    def _drain(self, fault: Fault) -> Undo:
        for name in fault.devices:
            self._drains.begin(name)

        def undo() -> None:
            for name in fault.devices:
                self._drains.end(name)

        return undo

    def _rule(self, rule: Rule) -> Undo:
        in_force = ExitStack()
        in_force.enter_context(self._network.rule(rule))
        return in_force.close

    def _on_paths(self, fault: Fault) -> Undo | None:
        network, way = self._network, _way(fault)
        match fault.kind:
            case FaultKind.RESET:
                network.reset_all(way)
                return None
            case FaultKind.PARTITION | FaultKind.HOLD:
                obstacle = network.block(way, keeps=fault.kind is FaultKind.HOLD)
                return lambda: network.lift(obstacle)
            case FaultKind.ROUTER_OFF:
                return self._router_off(fault)
            case FaultKind.FADE:
                self._fade(fault)
                return lambda: self._fade(replace(fault, amount=1.0))
            case kind:
                raise AssertionError(f"nobody carries out {kind}")

    def _router_off(self, fault: Fault) -> Undo:
        lan = self._network.lans[fault.lan or ""]
        lan.is_on = False

        def undo() -> None:
            lan.is_on = True
            self._network.look_again()

        return undo

    def _fade(self, fault: Fault) -> None:
        """Have the signal of each device go to its aim in steps."""
        num_steps = max(1, round(fault.over_s / _FADE_STEP_S))
        for name in fault.devices:
            host = self._devices[name].host
            before, now_s = host.quality, self._loop.time()
            for step in range(1, num_steps + 1):
                quality = before + (fault.amount - before) * step / num_steps
                at_s = now_s + fault.over_s * step / num_steps
                self._loop.at(at_s, self._network.set_quality, host, quality)

    def _note(self, kind: Kind, fault: Fault) -> None:
        device = fault.devices[0] if len(fault.devices) == 1 else ""
        self._trace.add(self._loop.time(), kind, device, kind_of_fault=fault.kind.value, text=describe(fault))


_AMOUNTS = {
    FaultKind.SLOW: "{:g} times",
    FaultKind.HEAT: "{:g} °C",
    FaultKind.DELAY: "{:g} s",
    FaultKind.SLOW_LINK: "{:g} times",
    FaultKind.LOSS: "{:.3g} of the packets",
    FaultKind.DROP: "{:.3g} of the messages",
    FaultKind.CORRUPT: "{:.3g} of the messages",
    FaultKind.FADE: "to {:.2g} of the signal",
}


def describe(fault: Fault) -> str:
    """Say in words what befalls whom."""
    whom = ", ".join(fault.devices) or fault.lan or "everybody"
    toward = f" toward {', '.join(fault.toward)}" if fault.toward else ""
    amount = f" {_AMOUNTS.get(fault.kind, '{:g}').format(fault.amount)}" if fault.amount else ""
    lasting = f" for {fault.for_s:g} s" if fault.for_s is not None else ""
    return f"{fault.kind.value.replace('_', ' ')}{amount}: {whom}{toward}{lasting}"


def _way(fault: Fault) -> Way:
    return Way(frozenset(fault.devices), frozenset(fault.toward), fault.both_ways)


def _rule(fault: Fault, rng: random.Random) -> Rule:
    way, amount = _way(fault), fault.amount
    match fault.kind:
        case FaultKind.DELAY:
            return always(way, Later(amount))
        case FaultKind.SLOW_LINK:
            return always(way, Slower(amount))
        case FaultKind.LOSS:
            return always(way, Lossier(amount))
        case FaultKind.DROP:
            return sometimes(way, amount, lambda _: Lost(), rng)
        case _:
            return sometimes(way, amount, lambda packet: corrupted(packet, rng), rng)


_OF_MESSAGES = (FaultKind.DELAY, FaultKind.SLOW_LINK, FaultKind.LOSS, FaultKind.DROP, FaultKind.CORRUPT)

_Act = Callable[[VirtualDevice, Fault, float], None]


def _start(device: VirtualDevice, fault: Fault, now_s: float) -> None:
    device.start(keeps_disk=fault.keeps_disk)


_OF_DEVICES: dict[FaultKind, tuple[_Act, _Act]] = {
    FaultKind.CRASH: (lambda device, _, __: device.crash(), _start),
    FaultKind.POWER_OFF: (lambda device, _, __: device.power_off(), _start),
    FaultKind.LEAVE: (lambda device, _, __: device.leave(), _start),
    FaultKind.START: (_start, lambda device, _, __: device.leave()),
    FaultKind.PAUSE: (lambda device, _, __: device.pause(), lambda device, _, __: device.wake()),
    FaultKind.SLOW: (
        lambda device, fault, _: device.processor.slow_down(fault.amount),
        lambda device, _, __: device.processor.slow_down(1.0),
    ),
    FaultKind.HEAT: (
        lambda device, fault, now_s: device.processor.surround(now_s, fault.amount),
        lambda device, _, now_s: device.processor.surround(now_s, ROOM_C),
    ),
    FaultKind.UNPLUG: (
        lambda device, fault, now_s: device.processor.unplug(now_s, fault.amount or None),
        lambda device, _, now_s: device.processor.plug_in(now_s),
    ),
    FaultKind.DEPART: (
        lambda device, _, __: device.conditions.depart(is_departing=True),
        lambda device, _, __: device.conditions.depart(is_departing=False),
    ),
    FaultKind.METERED: (
        lambda device, _, __: device.conditions.meter(is_metered=True),
        lambda device, _, __: device.conditions.meter(is_metered=False),
    ),
}
"""How each fault of a device begins and ends."""
