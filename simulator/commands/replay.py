"""`mesh-sim replay`: run what a recording holds again."""

from __future__ import annotations

from pathlib import Path

import click

from simulator.commands.differences import compare
from simulator.commands.engine import Maths, run_with_bar
from simulator.commands.options import Reports, json_option, recording_argument, report_options
from simulator.commands.present import EXIT_CODES, command_line, complain, print_json, run_json
from simulator.exits import EXIT_BROKEN
from simulator.report.story import tell
from simulator.search.replay import read, recording_of


@click.command()
@recording_argument
@report_options
@json_option
def command(file: Path, reports: Reports, as_json: bool) -> int:
    """Run the script in FILE again, and say whether the run is the same."""
    reports.must_not_replace(file)
    recording = read(file)
    again = command_line("replay", str(file))
    result = run_with_bar(recording.script, Maths(recording.maths))
    reports.write(result, recording.maths, again)
    comparison = compare(recording, recording_of(result, recording.maths), "recorded", "now")
    if as_json:
        print_json({**run_json(result, again), **comparison.to_json()})
        complain(result, again)
    else:
        click.echo(f"{tell(result, again)}\n\n{comparison.words()}")
    return EXIT_CODES[result.verdict] if comparison.is_same else EXIT_BROKEN
