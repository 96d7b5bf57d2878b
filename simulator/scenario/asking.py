"""What is asked in one household, drawn.

Owns the draws. Each request has a generator of its own, named by the work, the household and its number in
it, so that leaving out one changes no other. It is put to a device that runs at that time, where there is
one: somebody who holds a dead phone asks another.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import count

from simulator.claims import PromiseName
from simulator.scenario.chances import first_by_hash
from simulator.scenario.household import Household
from simulator.scenario.names import said
from simulator.scenario.prompts import question, text_of
from simulator.scenario.schema import Device, Scenario, Work
from simulator.scenario.spreads import Counts
from simulator.script import RequestScript

MAX_TOKENS = Counts(32, 32)
"""Length of an answer where nothing is said."""

_UP_AFTER_S = 1.0  # agents that start at the healing are up by then
_PROGRESS_TOKENS = 8  # long enough to need every stage several times


def keyed_work(scenario: Scenario) -> list[tuple[str, Work]]:
    """Name each work by who asks for what, and by its number among those that do the same."""
    seen: Counter[str] = Counter()
    keyed = []
    for work in scenario.workload:
        key = f"{said(work.asker)}/{model_of(scenario, work)}"
        seen[key] += 1
        keyed.append((f"{key}/{seen[key]}", work))
    return keyed


def model_of(scenario: Scenario, work: Work) -> str:
    """Return the model that is asked for."""
    return work.model or scenario.models[0]


def models_of(scenario: Scenario, device: Device) -> tuple[str, ...]:
    """Return the models on a device's disk."""
    return scenario.models if device.models is None else device.models


def times_of(scenario: Scenario, work: Work, key: str) -> Iterator[float]:
    """Draw when a work's requests come, in order."""
    if work.at is not None:
        yield from [float(work.at)] * (work.count or 1)
        return
    until_s = scenario.healed_s if work.until is None else work.until
    times = _gaps(work, float(work.start or 0.0), random.Random(key))
    for number, at_s in enumerate(times):
        if at_s >= until_s or number == work.count:
            return
        yield at_s


def _gaps(work: Work, start_s: float, rng: random.Random) -> Iterator[float]:
    if work.every is not None:
        yield from (start_s + number * work.every for number in count())
    at_s = start_s
    while work.per_minute is not None:
        at_s += rng.expovariate(work.per_minute / 60)
        yield at_s


def progress_s(scenario: Scenario) -> float:
    """Return how long after the healing each mesh is asked something.

    As soon as it has to have one view of itself again, where that is promised: before, a device may truly
    believe that the model fits nowhere, and asking again at once is no remedy for that.
    """
    converged = PromiseName.CONVERGED
    return next((float(p.within) for p in scenario.eventually if p.promise is converged), _UP_AFTER_S)


def draw_requests(household: Household, seed: int) -> list[RequestScript]:
    """Draw all requests of a household, with the names of its devices as within it and no numbers yet."""
    requests = []
    for name, work in keyed_work(household.scenario):
        key = f"{seed}/workload/{name}/{household.prefix}"
        for number, at_s in enumerate(times_of(household.scenario, work, key), 1):
            device = _asked(household, work, f"{key}/{number}", at_s)
            if device is not None:
                requests.append(_request(household.scenario, work, device, f"{key}/{number}", at_s))
    return requests


def progress_requests(household: Household, seed: int) -> list[RequestScript]:
    """Ask each mesh of a household for something after the healing: it must get on.

    Not all households ask at the same moment, so that an apartment block is not measured at its worst.
    """
    scenario = household.scenario
    within_s = next(p.within for p in scenario.eventually if p.promise is PromiseName.ANSWERED)
    after_s = progress_s(scenario)
    requests = []
    for mesh, (model, names) in _able_by_mesh(household).items():
        key = f"{seed}/progress/{household.prefix}/{mesh}"
        rng = random.Random(key)
        request = RequestScript(
            number=0,
            at_s=scenario.healed_s + after_s + rng.uniform(0.0, (within_s - after_s) / 4),
            device=first_by_hash(key, names),
            model=model,
            prompt=question(rng),
            max_tokens=_PROGRESS_TOKENS,
            asks_again=True,
        )
        requests.append(request)
    return requests


def _able_by_mesh(household: Household) -> dict[str, tuple[str, list[str]]]:
    """Return the first model that each mesh has, and the devices that have it."""
    scenario, tables = household.scenario, household.roster.tables
    meshes: dict[str, tuple[str, list[str]]] = {}
    for model in dict.fromkeys([*scenario.models, *(m for d in scenario.devices for m in d.models or ())]):
        found: dict[str, tuple[str, list[str]]] = {}
        for name in household.names:
            if model in models_of(scenario, tables[name]):
                found.setdefault(tables[name].mesh, (model, []))[1].append(name)
        meshes = {**found, **meshes}
    return meshes


def _asked(household: Household, work: Work, key: str, at_s: float) -> str | None:
    """Choose whose gateway is asked; None where `any` is meant and nobody runs."""
    model = model_of(household.scenario, work)
    tables = household.roster.tables
    able = [n for n in household.pick(work.asker) if model in models_of(household.scenario, tables[n])]
    running = [name for name in able if household.runs(name, at_s, at_s)]
    if not running and len(able) > 1:
        return None
    return first_by_hash(key, running or able) if able else None


def _request(scenario: Scenario, work: Work, device: str, key: str, at_s: float) -> RequestScript:
    rng = random.Random(key)
    return RequestScript(
        number=0,
        at_s=at_s,
        device=device,
        model=model_of(scenario, work),
        seed=rng.getrandbits(32),
        prompt=_prompt(work, rng),
        max_tokens=(work.max_tokens or MAX_TOKENS).draw(rng),
        temperature=float(work.temperature),
        deadline_s=None if work.deadline is None else float(work.deadline),
        asks_again=work.asks_again,
    )


def _prompt(work: Work, rng: random.Random) -> str:
    if work.prompt is not None:
        return work.prompt
    if work.prompts:
        return rng.choice(work.prompts)
    return text_of(work.prompt_tokens.draw(rng), rng) if work.prompt_tokens else question(rng)
