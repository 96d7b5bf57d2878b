"""`mesh-sim run`: one scenario with one seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from mesh.errors import BadSetting
from simulator.commands.engine import Maths, run_in_real_processes, run_with_bar, script_of
from simulator.commands.options import MAX_SEED, Reports, file_option, json_option, report_options
from simulator.commands.present import command_line, show


@click.command()
@click.argument("scenario")
@click.option("--seed", type=click.IntRange(0, MAX_SEED), help="The same seed, the same run.")
@click.option(
    "--maths",
    type=click.Choice([maths.value for maths in Maths]),
    default=Maths.TOKEN.value,
    show_default=True,
    help="What computes: a tiny function, or the real model.",
)
@click.option("--processes", is_flag=True, help="Start real agents instead of virtual ones.")
@file_option("--save", "Keep the run in this file.")
@report_options
@json_option
def command(  # noqa: PLR0913  an option each
    scenario: str,
    seed: int | None,
    maths: str,
    processes: bool,
    save_to: Path | None,
    reports: Reports,
    as_json: bool,
) -> int:
    """Run SCENARIO, a name of `mesh-sim list` or a file, once."""
    if processes and save_to:
        raise BadSetting("--save and --processes exclude each other; no run of real processes comes again")
    replace(reports, recording=save_to).must_not_replace(Path(scenario))
    script = script_of(scenario, seed)
    chosen = Maths(maths)
    result = run_in_real_processes(script, chosen) if processes else run_with_bar(script, chosen)
    options = ["--maths", maths] if chosen is Maths.REAL else []
    options += ["--processes"] if processes else []
    again = command_line("run", scenario, "--seed", script.seed, *options)
    replace(reports, recording=save_to).write(result, chosen, again)
    return show(result, again, as_json=as_json)
