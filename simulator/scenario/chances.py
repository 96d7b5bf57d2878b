"""Random faults, drawn.

Owns the draws. Each fault has a generator of its own, named by the chance, the household and its number in
it, and chooses its device by a hash of that name and the device's; so leaving out a device, a chance or a
household changes nothing else, except that a fault which had to give way may come back. A fault gives way
where its device does not run, has the same kind of fault already, or is the last that runs in its mesh.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from simulator.profiles import device_profile
from simulator.scenario.household import Household
from simulator.scenario.kinds import AMOUNT_KEYS, MOMENTARY, PATH_FAULTS, STANDSTILLS
from simulator.scenario.names import said
from simulator.scenario.schema import Chance, Scenario
from simulator.scenario.spreads import Durations, Factors, Shares, Spread, Temperatures
from simulator.scenario.timeline import lan_names
from simulator.script import Fault, FaultKind

_LASTS = Durations(1.0, 10.0)
_AMOUNTS: dict[str, Spread] = {
    "factor": Factors(2.0, 20.0),
    "delay": Durations(0.010, 0.500),
    "share": Shares(0.01, 0.20),
    "temperature": Temperatures(30.0, 45.0),
    "quality": Shares(0.05, 0.50),
}
_ONE_WAY_SHARE = 0.25  # of the faults of paths; a path that is broken one way only finds other bugs
_SHORTEST_S = 0.001  # a fault that the healing would end sooner is left out


@dataclass(frozen=True, slots=True)
class _Draw:
    """One fault of a chance, before its device is chosen."""

    key: str
    kind: FaultKind
    at_s: float
    for_s: float | None
    amount: float
    is_one_way: bool

    @property
    def end_s(self) -> float:
        return self.at_s + (self.for_s or 0.0)


def draw_faults(household: Household, seed: int) -> tuple[Fault, ...]:
    """Draw what befalls one household; each fault is noted in it."""
    faults: list[Fault] = []
    for key, chance in _keyed(household.scenario):
        for draw in _draws(household.scenario, chance, f"{seed}/random/{key}/{household.prefix}"):
            fault = _placed(household, chance, draw)
            if fault is not None:
                household.note(fault)
                faults.append(fault)
    return tuple(faults)


def _keyed(scenario: Scenario) -> list[tuple[str, Chance]]:
    """Name each chance by what it does to whom, and by its number among those that do the same."""
    seen: Counter[str] = Counter()
    keyed = []
    for chance in scenario.random:
        key = f"{'+'.join(chance.kinds)}/{said(chance.devices)}"
        seen[key] += 1
        keyed.append((f"{key}/{seen[key]}", chance))
    return keyed


def _draws(scenario: Scenario, chance: Chance, key: str) -> Iterator[_Draw]:
    """Draw times, kinds and amounts."""
    until_s = scenario.healed_s if chance.until is None else min(chance.until, scenario.healed_s)
    times = random.Random(key)
    at_s, number = float(chance.start or 0.0), 0
    while (at_s := at_s + times.expovariate(1 / chance.mean_gap)) < until_s:
        number += 1
        draw = _draw(chance, f"{key}/{number}", at_s, scenario.healed_s - at_s)
        if draw.kind in MOMENTARY or (draw.for_s or 0.0) >= _SHORTEST_S:
            yield draw


def _draw(chance: Chance, key: str, at_s: float, left_s: float) -> _Draw:
    rng = random.Random(key)
    kind = rng.choice(chance.kinds)
    lasts_s = min((chance.lasts or _LASTS).draw(rng), left_s)
    amount = _amount(chance, kind, rng)
    is_one_way = kind in PATH_FAULTS and rng.random() < _ONE_WAY_SHARE
    return _Draw(key, kind, at_s, None if kind in MOMENTARY else lasts_s, amount, is_one_way)


def _amount(chance: Chance, kind: FaultKind, rng: random.Random) -> float:
    key = AMOUNT_KEYS.get(kind)
    if key is None:
        return 0.0
    spread: Spread | None = getattr(chance, key)
    return (_AMOUNTS[key] if spread is None else spread).draw(rng)


def _placed(household: Household, chance: Chance, draw: _Draw) -> Fault | None:
    """Choose whom a fault befalls; None where it gives way."""
    fault = Fault(
        at_s=draw.at_s,
        kind=draw.kind,
        amount=draw.amount,
        for_s=draw.for_s,
        both_ways=not draw.is_one_way,
        over_s=(draw.for_s or 0.0) / 4 if draw.kind is FaultKind.FADE else 0.0,
        keeps_disk=chance.keeps_disk,
    )
    if draw.kind is FaultKind.ROUTER_OFF:
        return replace(fault, lan=first_by_hash(draw.key, lan_names(household.scenario)))
    victims = [name for name in _reachable(household, chance) if _can_befall(household, chance, name, draw)]
    return replace(fault, devices=(first_by_hash(draw.key, victims),)) if victims else None


def first_by_hash(key: str, names: Sequence[str]) -> str:
    """Choose one of several names; the choice stays when another name is left out."""
    return min(names, key=lambda name: blake2b(f"{key}/{name}".encode(), digest_size=8).digest())


def _reachable(household: Household, chance: Chance) -> list[str]:
    spared = household.pick(chance.spares)
    return [name for name in household.pick(chance.devices) if name not in spared]


def _can_befall(household: Household, chance: Chance, name: str, draw: _Draw) -> bool:
    if draw.kind is FaultKind.UNPLUG and not _has_battery(household, name):
        return False
    if not household.is_free(name, draw.kind, draw.at_s, draw.end_s):
        return False
    stops = draw.kind in STANDSTILLS and not chance.may_stop_all
    return not (stops and household.is_last(name, draw.at_s, draw.end_s))


def _has_battery(household: Household, name: str) -> bool:
    return device_profile(household.roster.tables[name].profile).battery is not None
