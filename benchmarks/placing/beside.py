"""One household: the mesh's plan beside each rule's placement, in seconds of one token.

Owns the comparison and its sums. The mesh's plan is that of `mesh.logic.chain_search.best_chain`, told the
true figures of devices and links. The yardstick is `mesh.logic.chains.chain_s`, the same for all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.placing.filling import Placement, is_valid
from benchmarks.placing.homes import Household
from benchmarks.placing.rules import RULES, sliced_s
from benchmarks.placing.sums import Spread, spread
from mesh.logic.chain_search import best_chain
from mesh.logic.chains import Chain, Seat, chain_s

SLICED = "tensors sliced over 2^n (distributed-llama), no chain"

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Compared:
    """What one household came to."""

    household: str
    num_devices: int
    is_split: bool
    """Whether no device holds the whole model."""
    num_stages: int
    """Of the mesh's plan."""
    mesh_s: float
    rules_s: Mapping[str, float]
    """Of the rules that found a placement."""
    mended: tuple[str, ...]
    sliced_s: float | None
    search_s: float = field(compare=False)
    """What the mesh's planner took, on this machine."""

    @property
    def losses(self) -> dict[str, float]:
        """Rules that are quicker than the mesh, with the ratio of their seconds to the mesh's."""
        return {
            rule: seconds / self.mesh_s
            for rule, seconds in self.rules_s.items()
            if seconds < self.mesh_s * (1 - _ROUNDING)
        }


def planned(home: Household) -> tuple[Chain, float]:
    """The mesh's plan for a household in which the model fits, and the seconds that finding it took."""
    seats, ways = home.seats(), home.ways()
    began_s = time.perf_counter()  # noqa: TID251  a benchmark runs on the real clock
    chain = best_chain(seats, ways, home.num_layers)
    took_s = time.perf_counter() - began_s  # noqa: TID251
    assert chain is not None, f"no plan for household {home.name}, in which the model fits"
    assert is_valid(chain.parts, seats, home.num_layers), f"household {home.name}: {chain}"
    return chain, took_s


def placed(home: Household, seats: Sequence[Seat]) -> dict[str, Placement]:
    """What each rule does, where it finds room."""
    found = {name: rule(home, seats) for name, rule in RULES.items()}
    for name, placement in found.items():
        is_right = placement is None or is_valid(placement.parts, seats, home.num_layers)
        assert is_right, f"household {home.name}, {name}: {placement}"
    return {name: placement for name, placement in found.items() if placement is not None}


def compared(home: Household, chain: Chain, search_s: float) -> Compared:
    """Judge the rules beside the mesh's plan."""
    seats, ways = home.seats(), home.ways()
    placements = placed(home, seats)
    return Compared(
        household=home.name,
        num_devices=len(seats),
        is_split=not home.has_one_for_all,
        num_stages=len(chain.parts),
        mesh_s=chain.seconds,
        rules_s={name: chain_s(one.parts, seats, ways, home.num_layers) for name, one in placements.items()},
        mended=tuple(name for name, one in placements.items() if one.is_mended),
        sliced_s=sliced_s(home, seats),
        search_s=search_s,
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One rule over all households."""

    rule: str
    num_compared: int
    num_mended: int
    share_not_slower: float
    """Of the compared households, those in which the mesh's token takes no longer than the rule's."""
    gain: Spread | None
    """The rule's seconds over the mesh's."""


def line(rule: str, homes: Sequence[Compared]) -> Line:
    """Sum up one rule, or the slicing of tensors."""
    gains = [
        seconds / home.mesh_s
        for home in homes
        if (seconds := home.sliced_s if rule == SLICED else home.rules_s.get(rule)) is not None
    ]
    num_not_slower = sum(gain >= 1 - _ROUNDING for gain in gains)
    return Line(
        rule=rule,
        num_compared=len(gains),
        num_mended=sum(rule in home.mended for home in homes),
        share_not_slower=num_not_slower / len(gains) if gains else 1.0,
        gain=spread(gains),
    )


def lines(homes: Sequence[Compared]) -> list[Line]:
    """Sum up every rule, and last the slicing of tensors, which is promised nothing."""
    return [line(rule, homes) for rule in (*RULES, SLICED)]


def must_split(homes: Sequence[Compared]) -> list[Compared]:
    """The households in which no device holds the whole model."""
    return [home for home in homes if home.is_split]


@dataclass(frozen=True, slots=True)
class SearchTime:
    """What the mesh's planner takes for so many devices."""

    num_devices: int
    num_households: int
    median_s: float
    most_s: float


def search_times(homes: Sequence[Compared]) -> list[SearchTime]:
    """Sum up the planner's times by number of devices."""
    by_size: dict[int, list[float]] = {}
    for home in homes:
        by_size.setdefault(home.num_devices, []).append(home.search_s)
    return [
        SearchTime(size, len(times_s), median(times_s), max(times_s))
        for size, times_s in sorted(by_size.items())
    ]
