"""The timeline of a scenario as concrete faults.

Owns which step ends which earlier one, and what cannot follow what. Nothing here is random. Steps go by
their time, those of one moment as they stand in the file. A step that ends something, such as `start`,
becomes no fault of its own: the fault that it ends lasts until then, so that whoever leaves out the one
leaves out the other. A fault of several devices that are undone one by one falls into parts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from simulator.profiles import device_profile
from simulator.scenario.kinds import (
    AMOUNT_KEYS,
    ENDED_BY,
    MOMENTARY,
    OPTIONAL_AMOUNT_KEYS,
    STANDSTILLS,
    keys_of,
)
from simulator.scenario.names import Roster
from simulator.scenario.schema import DEEDS, Scenario, Step, Undo
from simulator.scenario.wrong import Place, Wrong, nearest
from simulator.script import Fault, FaultKind

Deed = FaultKind | Undo


def timeline_faults(scenario: Scenario, roster: Roster, prefix: str) -> tuple[Fault, ...]:
    """Return what befalls one household, by time, with names as within it; raise Wrong for what cannot be."""
    steps = [(step.at, index) for index, step in enumerate(scenario.timeline)]
    story = _Story(scenario, roster, prefix)
    for _, index in sorted(steps):
        story.take(("timeline", index), scenario.timeline[index])
    return tuple(sorted([*story.done, *story.open], key=lambda fault: fault.at_s))


@dataclass(slots=True)
class _Story:
    """What has happened to one household so far."""

    scenario: Scenario
    roster: Roster
    prefix: str
    done: list[Fault] = field(default_factory=list)
    open: list[Fault] = field(default_factory=list)
    """Those that have no end yet."""

    def _check_batteries(self, place: Place, deed: Deed, names: tuple[str, ...]) -> None:
        for name in names if deed is FaultKind.UNPLUG else ():
            if device_profile(self.roster.tables[name].profile).battery is None:
                raise Wrong((*place, "devices"), f"{name} has no battery, so it cannot be unplugged")

    def take(self, place: Place, step: Step) -> None:
        """Add a step."""
        deed = _deed(place, step)
        _check_keys(place, step, deed)
        self._check_time(place, step)
        devices = self.roster.pick(step.devices, self.prefix, (*place, "devices"))
        if isinstance(deed, Undo):
            self._end(place, step, deed, devices)
        elif deed is FaultKind.ROUTER_OFF:
            for lan in self._lans(place, step):
                self._begin(place, replace(_fault(step, deed, self.scenario.healed_s), lan=lan))
        elif not step.devices:
            raise Wrong(place, f"{deed.value} needs devices: whom does it befall? ('any' means all)")
        elif devices:
            self._check_batteries(place, deed, devices)
            toward = self.roster.pick(step.toward, self.prefix, (*place, "toward"))
            _check_sides(place, devices, toward)
            fault = _fault(step, deed, self.scenario.healed_s)
            self._begin(place, replace(fault, devices=devices, toward=toward))

    def _check_time(self, place: Place, step: Step) -> None:
        healed_s, duration_s = self.scenario.healed_s, self.scenario.duration
        if step.at >= duration_s:
            raise Wrong((*place, "at"), f"{step.at:g} s is not before the end at {duration_s:g} s")
        if step.at >= healed_s:
            raise Wrong((*place, "at"), f"{step.at:g} s is not before everything is healed at {healed_s:g} s")
        if step.lasts is not None and step.lasts <= 0:
            raise Wrong((*place, "for"), "a duration of 0 is none; write how long, or leave it out")

    def _begin(self, place: Place, fault: Fault) -> None:
        if fault.kind in STANDSTILLS:
            for device in fault.devices:
                self._check_runs(place, fault, device)
        is_over = fault.for_s is not None or fault.kind in MOMENTARY
        (self.done if is_over else self.open).append(fault)

    def _check_runs(self, place: Place, fault: Fault, device: str) -> None:
        starts = self.roster.tables[device].starts
        if starts is not None and starts.high >= fault.at_s:
            raise Wrong(place, f"'{device}' may start as late as {starts.high:g} s, after {fault.at_s:g} s")
        for earlier in [*self.done, *self.open]:
            if earlier.kind in STANDSTILLS and device in earlier.devices and _lasts_at(earlier, fault.at_s):
                began = f"{earlier.kind.value} at {earlier.at_s:g} s"
                raise Wrong(place, f"'{device}' does not run at {fault.at_s:g} s, because of {began}")

    def _end(self, place: Place, step: Step, undo: Undo, devices: tuple[str, ...]) -> None:
        if step.devices and not devices:
            return
        lans = self._lans(place, step) if undo is Undo.ROUTER_ON else ()
        ended = [
            fault for fault in self.open if fault.kind in ENDED_BY[undo] and _meets(fault, devices, lans)
        ]
        stranger = next((name for name in devices if not any(name in fault.devices for fault in ended)), None)
        if not ended or stranger is not None:
            whom = f" for '{stranger}'" if stranger else ""
            kinds = " or ".join(sorted(kind.value for kind in ENDED_BY[undo]))
            raise Wrong(
                place, f"{undo.value} at {step.at:g} s ends nothing{whom}: no {kinds} is open by then"
            )
        for fault in ended:
            self._close(fault, devices or fault.devices, step.at)

    def _close(self, fault: Fault, devices: tuple[str, ...], at_s: float) -> None:
        self.open.remove(fault)
        gone = tuple(name for name in fault.devices if name in devices)
        left = tuple(name for name in fault.devices if name not in devices)
        self.done.append(replace(fault, devices=gone, for_s=at_s - fault.at_s))
        if left:
            self.open.append(replace(fault, devices=left))

    def _lans(self, place: Place, step: Step) -> tuple[str, ...]:
        known = lan_names(self.scenario)
        if step.lan is None:
            return known
        if step.lan in known:
            return (step.lan,)
        of_others = [f"{prefix}{lan}" for prefix in self.roster.prefixes for lan in known]
        if step.lan not in of_others:
            raise Wrong((*place, "lan"), f"no LAN is called '{step.lan}'; {nearest(step.lan, known)}")
        return tuple(lan for lan in known if step.lan == self.prefix + lan)


def lan_names(scenario: Scenario) -> tuple[str, ...]:
    """Return the local networks of a household."""
    return tuple(scenario.lans) or ("home",)


def _deed(place: Place, step: Step) -> Deed:
    if step.do not in DEEDS:
        raise Wrong((*place, "do"), f"nothing is called '{step.do}'; {nearest(step.do, DEEDS)}")
    return Undo(step.do) if step.do in tuple(Undo) else FaultKind(step.do)


def _check_keys(place: Place, step: Step, deed: Deed) -> None:
    allowed = keys_of(deed)
    for key in _given(step):
        if key not in allowed:
            raise Wrong((*place, key), f"{deed.value} takes no '{key}', only {', '.join(sorted(allowed))}")
    amount_key = AMOUNT_KEYS.get(deed) if isinstance(deed, FaultKind) else None
    if step.level is not None and not step.level > 0:
        raise Wrong((*place, "level"), "a battery of 0 % cannot run anything; write for instance 16 %")
    if amount_key is not None and getattr(step, amount_key) is None:
        raise Wrong(place, f"{deed.value} needs '{amount_key}': how much?")


def _given(step: Step) -> list[str]:
    """Return the keys of a step that say something."""
    values = {"for" if name == "lasts" else name: getattr(step, name) for name in step.__struct_fields__}
    return [key for key, value in values.items() if value is not None and value != ()]


def _check_sides(place: Place, devices: tuple[str, ...], toward: tuple[str, ...]) -> None:
    both = [name for name in devices if name in toward]
    if both:
        raise Wrong((*place, "toward"), f"'{both[0]}' stands on both sides of the path")


def _fault(step: Step, kind: FaultKind, healed_s: float) -> Fault:
    """Make a fault of a step, without its devices; one that the healing ends has no length."""
    key = (AMOUNT_KEYS | OPTIONAL_AMOUNT_KEYS).get(kind)
    lasts_s = None if step.lasts is None or step.at + step.lasts >= healed_s else float(step.lasts)
    return Fault(
        at_s=float(step.at),
        kind=kind,
        amount=float(getattr(step, key) or 0.0) if key else 0.0,
        for_s=lasts_s,
        both_ways=step.both_ways is not False,
        over_s=float(step.over or 0.0),
        keeps_disk=step.keeps_disk is not False,
    )


def _lasts_at(fault: Fault, at_s: float) -> bool:
    return fault.at_s <= at_s and (fault.for_s is None or at_s < fault.at_s + fault.for_s)


def _meets(fault: Fault, devices: tuple[str, ...], lans: tuple[str, ...]) -> bool:
    if fault.kind is FaultKind.ROUTER_OFF:
        return fault.lan in lans
    return not devices or any(name in devices for name in fault.devices)
