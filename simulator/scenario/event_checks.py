"""What can happen in a scenario, and what cannot: requests, the timeline, random faults.

Owns those checks. Raises Wrong with the place of the first thing that cannot be; returns nothing.
"""

from __future__ import annotations

from simulator.profiles import model_spec
from simulator.scenario.asking import model_of, models_of
from simulator.scenario.kinds import AMOUNT_KEYS
from simulator.scenario.names import Roster
from simulator.scenario.schema import Chance, Device, Scenario, Work
from simulator.scenario.timeline import timeline_faults
from simulator.scenario.wrong import Place, known_by, require
from simulator.script import FaultKind

_MOST_EVENTS = 100_000  # requests, or random faults, in one run; more is a slip of the pen


def check_events(scenario: Scenario, roster: Roster) -> None:
    """Raise Wrong for the first thing that cannot happen."""
    for index, work in enumerate(scenario.workload):
        _check_work(scenario, roster, ("workload", index), work)
    _check_timeline(scenario, roster)
    for index, chance in enumerate(scenario.random):
        _check_chance(scenario, roster, ("random", index), chance)


def _check_work(scenario: Scenario, roster: Roster, place: Place, work: Work) -> None:
    _check_arrivals(scenario, place, work)
    _check_prompt(place, work)
    model = model_of(scenario, work)
    known_by((*place, "model"), model_spec, model)
    asked = [table for p in roster.prefixes[:1] for table in _tables(roster, work, p, place)] or [
        table for p in roster.prefixes for table in _tables(roster, work, p, place)
    ]
    able = [device for device in asked if model in models_of(scenario, device)]
    require(bool(able), (*place, "from"), f"no device that is asked has the model '{model}' on its disk")
    begins_s = _last_s(scenario, work)
    starts_s = min(device.starts.high if device.starts else 0.0 for device in able)
    require(
        starts_s <= begins_s,
        place,
        f"nobody can be asked: the first of the devices that are meant starts as late as {starts_s:g} s",
    )
    require(
        work.deadline is None or work.deadline > 0,
        (*place, "deadline"),
        "a deadline of 0 s leaves no time; write for instance 30s",
    )


def _tables(roster: Roster, work: Work, prefix: str, place: Place) -> list[Device]:
    return [roster.tables[name] for name in roster.pick(work.asker, prefix, (*place, "from"))]


def _last_s(scenario: Scenario, work: Work) -> float:
    """Return the latest time at which a request of this work may come."""
    if work.at is not None:
        return work.at
    return scenario.healed_s if work.until is None else work.until


def _check_arrivals(scenario: Scenario, place: Place, work: Work) -> None:
    ways = [key for key in ("at", "every", "per_minute") if getattr(work, key) is not None]
    require(
        len(ways) == 1,
        place,
        f"say once when: at, every or per_minute; this has {' and '.join(ways) or 'none'}",
    )
    if work.at is not None:
        for key in ("start", "until"):
            require(getattr(work, key) is None, (*place, key), f"'at' is one moment and takes no '{key}'")
        _check_before_end(scenario, (*place, "at"), work.at)
        return
    require(
        work.every is None or work.every > 0,
        (*place, "every"),
        "a gap of 0 s never ends; write for instance 10s",
    )
    _check_before_end(scenario, (*place, "start"), work.start or 0.0)
    until_s = _last_s(scenario, work)
    require(until_s <= scenario.duration, (*place, "until"), f"{until_s:g} s is after the end of the run")
    start_s = work.start or 0.0
    require(start_s < until_s, (*place, "start"), f"it starts at {start_s:g} s but ends at {until_s:g} s")
    _check_number(scenario, place, work, until_s - start_s)


def _check_before_end(scenario: Scenario, place: Place, at_s: float) -> None:
    end_s = scenario.duration
    require(at_s < end_s, place, f"{at_s:g} s is not before the end of the run at {end_s:g} s")


def _check_number(scenario: Scenario, place: Place, work: Work, span_s: float) -> None:
    per_s = 1 / work.every if work.every else (work.per_minute or 0.0) / 60
    number = min(per_s * span_s, work.count or _MOST_EVENTS + 1) * (scenario.households or 1)
    require(number <= _MOST_EVENTS, place, f"these are more than {_MOST_EVENTS} requests; make them fewer")


def _check_prompt(place: Place, work: Work) -> None:
    ways = [key for key in ("prompt", "prompts", "prompt_tokens") if getattr(work, key) is not None]
    require(len(ways) <= 1, place, f"say once what is asked, not by {' and '.join(ways)}")
    require(work.prompts != (), (*place, "prompts"), "the list of prompts is empty; leave it out or add one")


def _check_timeline(scenario: Scenario, roster: Roster) -> None:
    for prefix in roster.prefixes if scenario.timeline else ():
        timeline_faults(scenario, roster, prefix)


def _check_chance(scenario: Scenario, roster: Roster, place: Place, chance: Chance) -> None:
    require(FaultKind.START not in chance.kinds, (*place, "kinds"), "start undoes a fault and is none itself")
    require(chance.mean_gap > 0, (*place, "mean_gap"), "a gap of 0 s never ends; write for instance 5s")
    require(
        chance.lasts is None or chance.lasts.low > 0,
        (*place, "for"),
        "a duration of 0 is none; write for instance ['1s', '5s']",
    )
    _check_chance_times(scenario, place, chance)
    for key in dict.fromkeys(AMOUNT_KEYS.values()):
        takers = [kind.value for kind, taken in AMOUNT_KEYS.items() if taken == key]
        is_taken = getattr(chance, key) is None or any(kind in takers for kind in chance.kinds)
        require(
            is_taken, (*place, key), f"'{key}' belongs to {', '.join(takers)}, which are not among the kinds"
        )
    _check_victims(roster, place, chance)


def _check_chance_times(scenario: Scenario, place: Place, chance: Chance) -> None:
    start_s, until_s = chance.start or 0.0, scenario.healed_s if chance.until is None else chance.until
    require(
        until_s <= scenario.healed_s,
        (*place, "until"),
        f"{until_s:g} s is after everything is healed at {scenario.healed_s:g} s",
    )
    require(start_s < until_s, (*place, "start"), f"it starts at {start_s:g} s but ends at {until_s:g} s")
    number = (until_s - start_s) / chance.mean_gap * (scenario.households or 1)
    require(
        number <= _MOST_EVENTS, place, f"these are more than {_MOST_EVENTS} faults; give a longer mean_gap"
    )


def _check_victims(roster: Roster, place: Place, chance: Chance) -> None:
    num_victims = 0
    for prefix in roster.prefixes:
        spared = roster.pick(chance.spares, prefix, (*place, "spares"))
        devices = roster.pick(chance.devices, prefix, (*place, "devices"))
        num_victims += sum(name not in spared for name in devices)
    require(num_victims > 0, (*place, "spares"), "every device is spared; leave some that faults may befall")
