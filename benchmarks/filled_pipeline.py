"""What it gains that guesses fill a pipeline: one user's tokens a second over three stages, in virtual time.

Run `python -m benchmarks.filled_pipeline`. What a stage takes is measured on this machine first (a third of
SmolLM2, one thread); the ways between the devices and how often guesses are right are varied. Compared are no
guesses, one guess with each token, as many as pay with each token, and guesses that go ahead. Prints a table
and writes all to benchmarks/results/filled_pipeline.json.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import click

from benchmarks.filling.home import GATEWAY, STAGE, Setting, a_home
from benchmarks.filling.stage_times import NUM_STAGES, StageTimes, measured
from mesh.adapters.disk_library import DiskLibrary
from mesh.store.shelf import ModelStore
from nodes.options import DEFAULT_MODEL, default_data_dir
from simulator.loop import run
from simulator.real.machine import describe_machine

ACCEPTANCES = (0.5, 0.7, 0.8, 0.9, 0.95)
ONE_WAY_MS = (1, 5, 20)
WAYS: dict[str, tuple[int | None, int | None]] = {
    "none": (0, 0),
    "one": (1, 0),
    "plain": (None, 0),
    "filled": (None, None),
}
"""Depth and frames ahead, by name."""
DRAFTERS = (GATEWAY, STAGE)
PROMPT = "Tell me a story."
NUM_TOKENS = 300
_SEEDS = range(3)
RESULTS = Path(__file__).parent / "results" / "filled_pipeline.json"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    guesses: str
    """Who guesses."""
    one_way_ms: float
    acceptance: float
    tokens_per_s: dict[str, float]
    """By way to send guesses."""
    accept_length: dict[str, float]
    """Tokens that came from the last stage at a time."""

    def ratio(self, one: str, other: str) -> float:
        """Times as fast."""
        return self.tokens_per_s[one] / self.tokens_per_s[other]


def rows(times: StageTimes) -> Iterator[Row]:
    """Measure every combination."""
    for drafter, one_way_ms, acceptance in product(DRAFTERS, ONE_WAY_MS, ACCEPTANCES):
        rates, lengths = dict[str, float](), dict[str, float]()
        for name, (depth, ahead) in WAYS.items():
            setting = Setting(times, one_way_ms / 1000, acceptance, drafter, depth, ahead)
            rates[name], lengths[name] = run(_answers(setting))
        yield Row(drafter, one_way_ms, acceptance, rates, lengths)


async def _answers(setting: Setting) -> tuple[float, float]:
    """Ask some questions one after the other; return tokens a second and tokens at a time."""
    seconds, num_tokens, num_traversals = 0.0, 0, 0
    async with a_home(setting) as home:
        for seed in _SEEDS:
            summary = await home.ask(PROMPT, NUM_TOKENS, seed)
            if len(summary.stages) != NUM_STAGES or summary.guesses is None:
                raise SystemExit(f"the answer took another way: {summary.stages}")
            seconds += (len(summary.tokens) - 1) / summary.tokens_per_s
            num_tokens += len(summary.tokens)
            num_traversals += summary.guesses.num_traversals
    return (num_tokens - len(_SEEDS)) / seconds, num_tokens / num_traversals


async def _measured() -> StageTimes:
    library = DiskLibrary(ModelStore(default_data_dir()))
    spec = await library.spec(DEFAULT_MODEL)
    return measured(await library.path_of(spec.digest), spec)


def main() -> None:
    """Measure, show and keep."""
    times = asyncio.run(_measured())
    click.echo(
        f"a stage: {times.step_s * 1e3:.2f} ms and {times.row_s * 1e3:.2f} ms a row, "
        f"head {times.head_s * 1e3:.2f} ms, a guess {times.guess_s * 1e3:.2f} ms"
    )
    seen = []
    for row in rows(times):
        seen.append(row)
        rates = "  ".join(f"{name} {rate:6.1f}" for name, rate in row.tokens_per_s.items())
        click.echo(
            f"{row.guesses:8} {row.one_way_ms:3} ms  {row.acceptance:.2f}  {rates}  "
            f"filled/one {row.ratio('filled', 'one'):.2f}  filled/plain {row.ratio('filled', 'plain'):.2f}"
        )
    found = {"machine": describe_machine(), "times": asdict(times), "rows": [asdict(row) for row in seen]}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
