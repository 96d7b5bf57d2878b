"""What the commands share: options, their types, and the files that a run is written to.

Owns the reading of a person's words into values. Must not know what the commands do.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import click

from mesh.errors import BadSetting
from simulator.result import RunResult
from simulator.search.replay import SUFFIX, save

MAX_SEED = 2**64 - 1
_MAX_SEEDS = 10_000_000


class Seeds(click.ParamType[range]):
    """Seeds like 0:500; the last one is not among them."""

    name = "A:B"

    def convert(self, value: str | range, param: click.Parameter | None, ctx: click.Context | None) -> range:
        """Read the seeds."""
        if isinstance(value, range):
            return value
        first, _, end = value.partition(":")
        if not (first.isascii() and first.isdecimal() and end.isascii() and end.isdecimal()):
            self.fail(f"'{value[:60]}' are no seeds; write A:B, for instance 0:500 for the seeds 0 to 499")
        seeds = range(int(first[:30]), int(end[:30]))
        if not 0 < seeds.stop - seeds.start <= _MAX_SEEDS or seeds[-1] > MAX_SEED:
            self.fail(f"'{value[:60]}' are no seeds; B must be above A, by at most {_MAX_SEEDS:,}")
        return seeds


def _to_be_written(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a file that cannot be written before an hour is spent on what belongs in it."""
    if path is not None and not path.name:
        raise BadSetting(f"'{path}' names no file to write; give one, for instance run{SUFFIX}")
    if path is not None and not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise BadSetting(f"cannot write {path}: {path.parent} is no folder that you may write to")
    return path


def must_differ(*paths: Path | None) -> None:
    """Refuse to write one file twice, or over what is read; raises BadSetting."""
    named = [path.resolve() for path in paths if path is not None]
    for path in named:
        if named.count(path) > 1:
            raise BadSetting(
                f"{path.name} is named twice, and one would replace the other; name another file"
            )


def file_option(name: str, about: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Add an option that names a file to be written; `--save` is received as `save_to`."""
    kind = click.Path(dir_okay=False, path_type=Path)
    return click.option(name, f"{name[2:]}_to", type=kind, callback=_to_be_written, help=about)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value and nothing else.")
recording_argument = click.argument("file", type=click.Path(path_type=Path))


@dataclass(frozen=True, slots=True)
class Reports:
    """Files that show a run."""

    report: Path | None = None
    trace: Path | None = None
    recording: Path | None = None

    def must_not_replace(self, *inputs: Path) -> None:
        """Refuse to write over what is read, or two things into one file; raises BadSetting."""
        must_differ(*inputs, self.report, self.trace, self.recording)

    def write(self, result: RunResult, maths: str, again: str) -> None:
        """Write those that were asked for; `again` repeats the run. Raises BadSetting where one cannot be."""
        if self.recording:
            save(result, self.recording, maths)
        if self.report:
            _write(import_module("simulator.report.html").write_html, result, self.report, again)
        if self.trace:
            _write(import_module("simulator.report.perfetto").write_trace, result, self.trace, again)


def _write(write: Callable[[RunResult, Path, str], None], result: RunResult, path: Path, again: str) -> None:
    try:
        write(result, path, again)
    except OSError as error:
        raise BadSetting(f"cannot write {path}: {error.strerror}") from error


def report_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add --report and --trace; the command receives them as `reports: Reports`."""

    @functools.wraps(command)
    def with_reports(*, report_to: Path | None, trace_to: Path | None, **rest: object) -> object:
        return command(reports=Reports(report_to, trace_to), **rest)

    trace = file_option("--trace", "Write a trace for Perfetto or chrome://tracing to this file.")
    return file_option("--report", "Write a page about the run to this file.")(trace(with_reports))
