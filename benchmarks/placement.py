"""The mesh's planner beside simple rules of placement, on random households: seconds of a token, and regret.

Run `python -m benchmarks.placement [--households N] [--seed N] [--json]`; nothing is computed but plans, on
one core. Prints the rules beside the mesh's plan, for all households and for those in which no device holds
the whole model; the planner's own times; and how good choices for one request are when speeds and links are
known with an error. Ends with code 1 where a rule is quicker than the mesh's plan, naming the household. From
1,000 households on it keeps everything with the machine's description in benchmarks/results/placement.json.
The same seed gives the same figures but for the planner's times.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from benchmarks.placing.beside import Compared, compared, lines, must_split, planned, search_times
from benchmarks.placing.homes import household
from benchmarks.placing.requests import regret_lines, regrets
from benchmarks.placing.sums import Spread
from simulator.real.machine import describe_machine

RESULTS = Path(__file__).parent / "results" / "placement.json"
_LEAST_KEPT = 1000
_RULE = 54


@dataclass(frozen=True, slots=True)
class Seen:
    """All households of a run."""

    compared: tuple[Compared, ...]
    regrets: tuple[dict[str, float], ...]
    """Of one request each, by policy."""

    @property
    def regrets_of_split(self) -> list[dict[str, float]]:
        """Those of households in which no device holds the whole model."""
        return [regret for home, regret in zip(self.compared, self.regrets, strict=True) if home.is_split]

    @property
    def losses(self) -> list[str]:
        """A line for each household and rule that is quicker than the mesh."""
        return [
            f"household {home.household} ({home.num_devices} devices): "
            f"{rule} takes {ratio:.4f} of the mesh's time"
            for home in self.compared
            for rule, ratio in home.losses.items()
        ]


def seen(num_households: int, seed: int) -> Seen:
    """Judge so many households; the same numbers give the same."""
    found = list[tuple[Compared, dict[str, float]]]()
    for index in range(num_households):
        home = household(seed, index)
        chain, search_s = planned(home)
        found.append((compared(home, chain, search_s), regrets(home, chain)))
    return Seen(tuple(one for one, _ in found), tuple(regret for _, regret in found))


def record(all_seen: Seen, seed: int) -> dict[str, object]:
    """Everything that is kept."""
    homes = all_seen.compared
    return {
        "machine": describe_machine(),
        "seed": seed,
        "num_households": len(homes),
        "num_that_must_split": len(must_split(homes)),
        "num_split_by_the_mesh": sum(home.num_stages > 1 for home in homes),
        "rules": [asdict(line) for line in lines(homes)],
        "rules_where_it_must_split": [asdict(line) for line in lines(must_split(homes))],
        "losses": all_seen.losses,
        "planner": [asdict(time) for time in search_times(homes)],
        "requests": [asdict(line) for line in regret_lines(all_seen.regrets)],
        "requests_where_it_must_split": [asdict(line) for line in regret_lines(all_seen.regrets_of_split)],
    }


def tables(all_seen: Seen) -> str:
    """All for people."""
    homes = all_seen.compared
    some = must_split(homes)
    num_split = sum(home.num_stages > 1 for home in homes)
    return "\n".join(
        (
            f"{len(homes)} households, of which the mesh splits {num_split}\n",
            *_rule_table("a token: rule", homes),
            *_rule_table(f"{len(some)} in which no device holds the model", some),
            *_planner_table(homes),
            *_request_table("a request: policy", all_seen.regrets),
            *_request_table("where no device holds the model", all_seen.regrets_of_split),
        )
    )


def _rule_table(title: str, homes: Sequence[Compared]) -> Iterator[str]:
    yield f"{title:{_RULE}} compared  mended  mesh not slower  gain: median   10th     90th"
    for one in lines(homes):
        yield (
            f"{one.rule:{_RULE}} {one.num_compared:8}  {one.num_mended:6}  {one.share_not_slower:15.1%}"
            f"  {_spread(one.gain)}"
        )
    yield ""


def _planner_table(homes: Sequence[Compared]) -> Iterator[str]:
    yield "planner: devices  households  median, ms  most, ms"
    for one in search_times(homes):
        times = f"{1000 * one.median_s:10.1f}  {1000 * one.most_s:8.1f}"
        yield f"{one.num_devices:16}  {one.num_households:10}  {times}"
    yield ""


def _request_table(title: str, regrets_seen: Sequence[Mapping[str, float]]) -> Iterator[str]:
    yield f"{title:{_RULE}} requests  within a tenth of best  ratio: median   10th     90th"
    for one in regret_lines(regrets_seen):
        yield f"{one.policy:{_RULE}} {one.num_requests:8}  {one.share_close:22.1%}   {_spread(one.ratio)}"
    yield ""


def _spread(figure: Spread | None) -> str:
    if figure is None:
        return "-"
    return f"{figure.median:12.3f}  {figure.tenth:5.2f}  {figure.ninetieth:7.2f}"


@click.command()
@click.option("--households", "num_households", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "is_json", is_flag=True, help="Print what is kept instead of tables.")
def main(num_households: int, seed: int, is_json: bool) -> None:
    """Compare, print, and keep the result of a full run."""
    all_seen = seen(num_households, seed)
    kept = json.dumps(record(all_seen, seed), indent=2) + "\n"
    click.echo(kept if is_json else tables(all_seen), nl=not is_json)
    if num_households >= _LEAST_KEPT:
        RESULTS.write_text(kept)
    _tell(all_seen.losses)


def _tell(losses: Sequence[str]) -> None:
    for loss in losses:
        click.echo(loss, err=True)
    if losses:
        sys.exit(1)


if __name__ == "__main__":
    main()
