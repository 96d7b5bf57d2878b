"""A scenario and a seed make a script.

Owns what a scenario's tables come to for concrete devices. Pure: every random choice comes from a generator
named by the seed, the concern and the item, so the same seed gives the same script, and leaving out one item
does not shuffle the others.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import asdict, replace

from mesh.config import Timing
from simulator.claims import PromiseName
from simulator.profiles import device_profile, link_profile
from simulator.scenario.asking import draw_requests, models_of, progress_requests
from simulator.scenario.chances import draw_faults
from simulator.scenario.household import Household
from simulator.scenario.names import Roster
from simulator.scenario.schema import Device, LinkOverrides, Path, Scenario
from simulator.scenario.timeline import lan_names, timeline_faults
from simulator.script import (
    Budget,
    DeviceScript,
    Fault,
    LanScript,
    LinkScript,
    PathScript,
    Promise,
    RequestScript,
    Script,
)


def expand(scenario: Scenario, seed: int) -> Script:
    """Make one concrete run of a scenario; the scenario is one that `load` gave."""
    roster = Roster(scenario)
    households = [_household(scenario, roster, prefix, seed) for prefix in roster.prefixes]
    faults = [fault for household in households for fault in _faults(household, seed)]
    requests = [request for household in households for request in _requests(household, seed)]
    return Script(
        scenario=scenario.name,
        seed=seed,
        duration_s=float(scenario.duration),
        healed_s=float(scenario.healed_s),
        lans=tuple(lan for household in households for lan in _lans(household)),
        devices=tuple(device for household in households for device in _devices(household)),
        requests=_numbered(requests),
        faults=tuple(sorted(faults, key=lambda fault: fault.at_s)),
        paths=tuple(path for household in households for path in _paths(household)),
        always=tuple(invariant.value for invariant in scenario.always),
        eventually=tuple(Promise(p.promise.value, float(p.within)) for p in scenario.eventually),
        budgets=_budgets(scenario),
        timing=timing_of(scenario),
        keeps_messages=scenario.keeps_messages,
    )


def timing_of(scenario: Scenario) -> Timing:
    """Return how long the mesh waits in this scenario."""
    table = scenario.timing
    given = {f"{name}_s": getattr(table, name) for name in table.__struct_fields__}
    default = asdict(Timing())
    return Timing(**default | {name: float(value) for name, value in given.items() if value is not None})


def _household(scenario: Scenario, roster: Roster, prefix: str, seed: int) -> Household:
    tables, key = roster.tables, f"{seed}/starts/{prefix}"
    starts_s = {name: _starts_s(tables[name], f"{key}{name}") for name in roster.names(prefix)}
    household = Household(scenario, roster, prefix, starts_s)
    for fault in timeline_faults(scenario, roster, prefix):
        household.note(fault)
    return household


def _starts_s(table: Device, key: str) -> float:
    return 0.0 if table.starts is None else float(table.starts.draw(random.Random(key)))


def _faults(household: Household, seed: int) -> list[Fault]:
    drawn = draw_faults(household, seed)
    planned = timeline_faults(household.scenario, household.roster, household.prefix)
    return [_fully_named(fault, household.prefix) for fault in (*planned, *drawn)]


def _fully_named(fault: Fault, prefix: str) -> Fault:
    return replace(
        fault,
        devices=tuple(prefix + name for name in fault.devices),
        toward=tuple(prefix + name for name in fault.toward),
        lan=None if fault.lan is None else prefix + fault.lan,
    )


def _requests(household: Household, seed: int) -> list[RequestScript]:
    requests = draw_requests(household, seed)
    if any(pledge.promise is PromiseName.ANSWERED for pledge in household.scenario.eventually):
        requests += progress_requests(household, seed)
    return [replace(request, device=household.prefix + request.device) for request in requests]


def _numbered(requests: Iterable[RequestScript]) -> tuple[RequestScript, ...]:
    in_order = sorted(requests, key=lambda request: request.at_s)
    return tuple(replace(request, number=number) for number, request in enumerate(in_order, 1))


def _lans(household: Household) -> list[LanScript]:
    """Name the networks; households share what radios they have, as in an apartment block."""
    lans = household.scenario.lans
    radios = {
        name: (lans[name].radio if name in lans else None) or name for name in lan_names(household.scenario)
    }
    return [LanScript(household.prefix + name, radio) for name, radio in radios.items()]


def _devices(household: Household) -> list[DeviceScript]:
    return [_device(household, name, household.roster.tables[name]) for name in household.names]


def _device(household: Household, name: str, table: Device) -> DeviceScript:
    profile = device_profile(table.profile)
    return DeviceScript(
        name=household.prefix + name,
        profile=profile.name,
        mesh=household.prefix + table.mesh,
        lan=household.prefix + table.lan,
        link=_link(table.link or profile.link, table.link_overrides or LinkOverrides()),
        memory_bytes=profile.usable_bytes if table.memory is None else round(table.memory),
        models=models_of(household.scenario, table),
        starts_s=household.starts_s[name],
        version=None if table.version is None else _version(table.version),
        battery_level=None if table.battery is None else float(table.battery),
        is_measured=household.scenario.measured,
    )


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _link(name: str, overrides: LinkOverrides) -> LinkScript:
    profile = link_profile(name)
    return LinkScript(
        kind=profile.name,
        is_shared=profile.is_shared,
        up_rate_bps=_first(overrides.up_rate, profile.rate_bps),
        down_rate_bps=_first(overrides.down_rate, profile.rate_bps),
        delay_s=_first(overrides.delay, profile.delay_s),
        jitter_s=_first(overrides.jitter, profile.jitter_s),
        up_loss=_first(overrides.up_loss, profile.loss),
        down_loss=_first(overrides.down_loss, profile.loss),
    )


def _first(given: float | None, usual: float) -> float:
    return float(usual if given is None else given)


def _paths(household: Household) -> list[PathScript]:
    return [path for table in household.scenario.links for path in _both_paths(household, table)]


def _both_paths(household: Household, table: Path) -> list[PathScript]:
    sources, targets = household.pick(table.source), household.pick(table.target)
    if not sources or not targets:
        return []
    profile = link_profile(table.link) if table.link else None
    there = PathScript(
        source=household.prefix + sources[0],
        target=household.prefix + targets[0],
        rate_bps=_first(table.rate, profile.rate_bps if profile else 0.0),
        delay_s=_first(table.delay, profile.delay_s if profile else 0.0),
        jitter_s=_first(table.jitter, profile.jitter_s if profile else 0.0),
        loss=_first(table.loss, profile.loss if profile else 0.0),
    )
    back = replace(there, source=there.target, target=there.source)
    return [there, back] if table.both_ways else [there]


def _budgets(scenario: Scenario) -> tuple[Budget, ...]:
    limits = {name: getattr(scenario.budgets, name) for name in scenario.budgets.__struct_fields__}
    return tuple(Budget(name, float(limit)) for name, limit in limits.items() if limit is not None)
