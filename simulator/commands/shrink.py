"""`mesh-sim shrink`: the smallest run that still fails in the same way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from mesh.errors import BadSetting
from simulator.commands.bars import bar
from simulator.commands.engine import Maths, runner
from simulator.commands.options import Reports, file_option, json_option, recording_argument, report_options
from simulator.commands.present import command_line, print_json, run_json
from simulator.report.story import tell
from simulator.script import Script
from simulator.search.replay import SUFFIX, Recording, read, save
from simulator.search.shrink import MAX_RUNS, Shrunk, Stage, shrink


@click.command()
@recording_argument
@file_option("--save", f"Where the small run is kept [default: beside FILE, with -small{SUFFIX}].")
@click.option(
    "--runs", "max_runs", type=click.IntRange(1), default=MAX_RUNS, show_default=True, help="The most to try."
)
@report_options
@json_option
def command(file: Path, save_to: Path | None, max_runs: int, reports: Reports, as_json: bool) -> None:
    """Leave devices, faults and requests out of the run in FILE as long as it fails in the same way."""
    replace(reports, recording=save_to).must_not_replace(file)
    recording = read(file)
    shrunk = _shrunk(file, recording, max_runs)
    path = save_to or file.with_name(f"{file.name.removesuffix(SUFFIX)}-small{SUFFIX}")
    save(shrunk.result, path, recording.maths)
    again = command_line("replay", str(path))
    reports.write(shrunk.result, recording.maths, again)
    if as_json:
        print_json({**run_json(shrunk.result, again), **_search_json(recording.script, shrunk, path)})
    else:
        click.echo(f"{tell(shrunk.result, again)}\n\n{_summary(recording.script, shrunk, path)}")


def _shrunk(file: Path, recording: Recording, max_runs: int) -> Shrunk:
    if not recording.complaints:
        raise BadSetting(f"the run in {file} held, so there is nothing to shrink; give one that failed")
    name = recording.complaints[0].name
    with bar(f"shrinking '{name}'", None) as show:

        def progress(stage: Stage) -> None:
            show(stage.num_runs, f"{stage.num_runs} runs: {_sizes(stage)}")

        return shrink(recording.script, name, runner(Maths(recording.maths)), max_runs, progress)


def _sizes(sizes: Script | Stage) -> str:
    if isinstance(sizes, Script):
        return _sizes(Stage(0, len(sizes.devices), len(sizes.faults), len(sizes.requests)))
    named = [(sizes.num_devices, "device"), (sizes.num_faults, "fault"), (sizes.num_requests, "request")]
    return ", ".join(f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in named)


def _summary(before: Script, shrunk: Shrunk, path: Path) -> str:
    sizes = f"from {_sizes(before)} to {_sizes(shrunk.result.script)} in {shrunk.num_runs} runs"
    if shrunk.is_minimal:
        return f"{sizes}; none of them can be left out alone. It is kept in {path}"
    more = command_line("shrink", str(path))
    return f"{sizes}, all that were allowed; it may still be larger than needed. Go on with `{more}`"


def _search_json(before: Script, shrunk: Shrunk, path: Path) -> dict[str, object]:
    return {
        "complaint": shrunk.complaint.name,
        "num_runs": shrunk.num_runs,
        "is_minimal": shrunk.is_minimal,
        "recording": str(path),
        "sizes_before": _sizes_json(before),
        "sizes_after": _sizes_json(shrunk.result.script),
    }


def _sizes_json(script: Script) -> dict[str, int]:
    return {"devices": len(script.devices), "faults": len(script.faults), "requests": len(script.requests)}
