"""What fits together in a scenario, and what cannot be.

Owns the checks that need more than one value: names, profiles, times, promises; those of what happens are
in `simulator.scenario.event_checks`. Raises Wrong with the place
of the first thing
that cannot be; returns nothing.
"""

from __future__ import annotations

import re

from simulator.claims import PromiseName
from simulator.profiles import device_profile, link_profile, model_spec
from simulator.scenario.asking import models_of, progress_s
from simulator.scenario.event_checks import check_events
from simulator.scenario.expand import timing_of
from simulator.scenario.names import Roster
from simulator.scenario.schema import VERSION_FORM, Device, Path, Scenario
from simulator.scenario.timeline import lan_names
from simulator.scenario.wrong import Place, known_by, nearest, require


def check(scenario: Scenario) -> None:
    """Raise Wrong for the first thing that cannot be."""
    require(
        len(scenario.summary.splitlines()) == 1, ("summary",), "a summary is one line; put the rest above"
    )
    _check_times(scenario)
    for index, model in enumerate(scenario.models):
        known_by(("models", index), model_spec, model)
    roster = Roster(scenario)
    for index, device in enumerate(scenario.devices):
        _check_device(scenario, ("devices", index), device)
    _check_paths(scenario, roster)
    check_events(scenario, roster)


def _check_times(scenario: Scenario) -> None:
    end_s, healed_s = scenario.duration, scenario.healed_s
    require(end_s > 0, ("duration",), "a run of 0 s shows nothing; write for instance 60s")
    require(
        not scenario.random or bool(scenario.eventually),
        ("random", 0),
        "random faults ask for progress afterwards: add [[eventually]] with promise and within",
    )
    require(healed_s <= end_s, ("heal",), f"the healing at {healed_s:g} s is after the end at {end_s:g} s")
    nothing_s = scenario.heal is not None and healed_s <= 0
    require(not nothing_s, ("heal",), "everything is healed at 0 s, so nothing can happen; heal later")
    seen: set[PromiseName] = set()
    for index, pledge in enumerate(scenario.eventually):
        place = ("eventually", index)
        require(pledge.promise not in seen, place, f"'{pledge.promise.value}' is promised twice")
        seen.add(pledge.promise)
        _check_pledge(scenario, (*place, "within"), pledge.promise, pledge.within)
    _check_timing(scenario)


def _check_pledge(scenario: Scenario, place: Place, promise: PromiseName, within_s: float) -> None:
    least_s = progress_s(scenario) if promise is PromiseName.ANSWERED else 0.0
    require(
        within_s > least_s,
        place,
        f"{within_s:g} s are too few: each mesh is asked once more {least_s:g} s after the healing",
    )
    over_s = scenario.healed_s + within_s - scenario.duration
    room = f"healing at {max(scenario.healed_s, 0.0):g} s leaves {scenario.duration - scenario.healed_s:g} s"
    if scenario.heal is None:
        room = f"the run lasts {scenario.duration:g} s, with 1 s to spare for its end"
    too_long = over_s > 1e-9 or scenario.healed_s <= 0
    require(not too_long, place, f"{within_s:g} s do not fit behind the healing: {room}")


def _check_timing(scenario: Scenario) -> None:
    timing = timing_of(scenario)
    for name in scenario.timing.__struct_fields__:
        require(
            getattr(timing, f"{name}_s") > 0,
            ("timing", name),
            "a wait of 0 s is none; write for instance 500ms",
        )
    require(
        timing.heartbeat_interval_s < timing.suspect_after_s < timing.lost_after_s,
        ("timing",),
        f"heartbeat_interval, suspect_after and lost_after must grow in this order; they are "
        f"{timing.heartbeat_interval_s:g} s, {timing.suspect_after_s:g} s and {timing.lost_after_s:g} s",
    )


def _check_device(scenario: Scenario, place: Place, device: Device) -> None:
    profile = known_by((*place, "profile"), device_profile, device.profile)
    _check_link(scenario, place, device, device.link or profile.link)
    for index, model in enumerate(device.models or ()):
        known_by((*place, "models", index), model_spec, model)
    known = lan_names(scenario)
    require(
        device.lan in known, (*place, "lan"), f"no LAN is called '{device.lan}'; {nearest(device.lan, known)}"
    )
    _check_share_of_households(scenario, place, device)
    require(
        device.version is None or re.fullmatch(VERSION_FORM, device.version) is not None,
        (*place, "version"),
        f"'{device.version}' is no version; write for instance '1.1'",
    )
    memory_bytes = profile.usable_bytes if device.memory is None else device.memory
    require(memory_bytes > 0, (*place, "memory"), "a device that lends nothing is none; give some memory")
    require(
        memory_bytes <= profile.installed_bytes,
        (*place, "memory"),
        f"{memory_bytes / 1e9:.3g} GB are more than the {profile.installed_bytes / 1e9:.3g} GB that are "
        f"installed in {profile.name}",
    )
    require(
        device.battery is None or profile.battery is not None,
        (*place, "battery"),
        f"{profile.name} has no battery; leave it out",
    )
    require(
        device.starts is None or device.starts.high < scenario.healed_s,
        (*place, "starts"),
        f"it must start before everything is healed at {scenario.healed_s:g} s",
    )


def _check_share_of_households(scenario: Scenario, place: Place, device: Device) -> None:
    num_households = scenario.households or 1
    require(
        device.one_in <= num_households,
        (*place, "one_in"),
        f"one household in {device.one_in} is none of {num_households}; set households, or leave it out",
    )


def _check_link(scenario: Scenario, place: Place, device: Device, name: str) -> None:
    link = known_by((*place, "link"), link_profile, name)
    require(
        link.carries_model or not models_of(scenario, device),
        (*place, "link"),
        f"{link.name} carries no model; choose another link, or write models = [] for this device",
    )
    overrides = device.link_overrides
    for key in ("up_rate", "down_rate"):
        _check_rate((*place, "link_overrides", key), getattr(overrides, key, None))


def _check_rate(place: Place, rate_bps: float | None) -> None:
    require(
        rate_bps is None or rate_bps > 0, place, "a link of rate 0 carries nothing; use a partition for that"
    )


def _check_paths(scenario: Scenario, roster: Roster) -> None:
    taken: set[tuple[str, str]] = set()
    for index, path in enumerate(scenario.links):
        place = ("links", index)
        source = _one(roster, (*place, "source"), path.source)
        target = _one(roster, (*place, "target"), path.target)
        require(source != target, (*place, "target"), f"a link between '{source}' and itself is none")
        for pair in [(source, target), (target, source)][: 2 if path.both_ways else 1]:
            require(pair not in taken, place, f"there is a link from '{pair[0]}' to '{pair[1]}' already")
            taken.add(pair)
        _check_path_figures(place, path)


def _check_path_figures(place: Place, path: Path) -> None:
    if path.link is not None:
        known_by((*place, "link"), link_profile, path.link)
    for key in ("rate", "delay"):
        is_given = path.link is not None or getattr(path, key) is not None
        require(is_given, place, f"a link needs '{key}', or 'link' with the name of a link profile")
    _check_rate((*place, "rate"), path.rate)


def _one(roster: Roster, place: Place, word: str) -> str:
    """Return the one device that is meant, with its household's prefix where it names one."""
    found = {f"{p}{n}" for p in roster.prefixes for n in roster.pick(word, p, place)}
    names = sorted({name for p in roster.prefixes for name in roster.pick(word, p, place)})
    require(len(names) == 1, place, f"'{word}' means {len(names)} devices; name one of them: {names[0]}")
    return next(iter(found)) if len(found) == 1 else names[0]
