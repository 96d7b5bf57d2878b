"""`mesh-sim sweep`: one scenario with many seeds."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

import click

from mesh.errors import BadSetting
from simulator.commands.bars import bar
from simulator.commands.engine import trial_of
from simulator.commands.options import Seeds, file_option, json_option, must_differ
from simulator.commands.present import print_json
from simulator.commands.swept import exit_code, sweep_json, sweep_words
from simulator.search.replay import SUFFIX, save
from simulator.search.sweep import Place, Sweep, sweep
from simulator.search.trial import Outcome, Trial
from simulator.search.workers import run_in_processes

_MAX_JOBS = 512


@click.command()
@click.argument("scenario")
@click.option("--seeds", type=Seeds(), required=True, help="0:500 stands for the seeds 0 to 499.")
@click.option(
    "--jobs", type=click.IntRange(1, _MAX_JOBS), help="Processes at once [default: one for each processor]."
)
@click.option("--ray", "ray_address", metavar="ADDRESS", help="Use this Ray cluster; local starts one here.")
@file_option("--save", f"Where the first failing run is kept [default: SCENARIO-SEED{SUFFIX}, here].")
@json_option
def command(  # noqa: PLR0913  an option each
    scenario: str,
    seeds: range,
    jobs: int | None,
    ray_address: str | None,
    save_to: Path | None,
    as_json: bool,
) -> int:
    """Run SCENARIO with each of the seeds, and list those that fail."""
    if jobs and ray_address:
        raise BadSetting("--jobs and --ray exclude each other; Ray knows how many runs its machines can bear")
    must_differ(Path(scenario), save_to)
    trial = trial_of(scenario)
    trial.script_of(seeds[0])  # what is wrong with the scenario is wrong with every seed
    result = _swept(scenario, trial, seeds, _place(jobs, ray_address))
    kept = _kept(trial, result, save_to)
    if as_json:
        print_json(sweep_json(scenario, seeds, result, kept))
    else:
        click.echo(sweep_words(scenario, result, kept))
    return exit_code(result)


def _place(jobs: int | None, ray_address: str | None) -> Place:
    if ray_address:
        return partial(import_module("simulator.search.ray_workers").run_on_ray, address=ray_address)
    return partial(run_in_processes, num_jobs=jobs or _num_processors())


def _num_processors() -> int:
    """Those that we may use, where the system tells."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    else:
        return os.cpu_count() or 1


def _swept(scenario: str, trial: Trial, seeds: Sequence[int], place: Place) -> Sweep:
    with bar(scenario, len(seeds)) as show:
        num_done = num_failed = 0

        def count(outcome: Outcome) -> None:
            nonlocal num_done, num_failed
            num_done += 1
            num_failed += not outcome.holds
            show(num_done, f"{num_done:,} runs" + (f", {num_failed:,} failed" if num_failed else ""))

        return sweep(trial, seeds, place, count)


def _kept(trial: Trial, result: Sweep, save_to: Path | None) -> Path | None:
    """Record the first failing run by running it again; None where there is none, or it cannot be kept."""
    failed = result.first_failed_run
    if failed is None:
        return None
    again = trial.result(failed.seed)
    if again.digest != failed.digest:
        _warn(f"seed {failed.seed} gave another digest when it was run again: its runs are not the same")
    path = save_to or Path(f"{Path(again.script.scenario).stem}-{failed.seed}{SUFFIX}")
    try:
        save(again, path)
    except BadSetting as error:
        _warn(f"{error}, with --save")
        return None
    return path


def _warn(line: str) -> None:
    click.echo(f"mesh-sim: {line}", err=True)
