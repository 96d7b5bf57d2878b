"""How a run is shown: its story for people, plain values for JSON.

Owns the names of the JSON fields, which are stable, and the exit code of a run. Must not know where a run
comes from.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import click

from simulator.exits import EXIT_BROKEN, EXIT_UNMET
from simulator.report.story import tell
from simulator.result import Complaint, RequestRecord, RunResult, Verdict

Json = Mapping[str, object] | Sequence[Mapping[str, object]]

EXIT_CODES = {Verdict.HELD: 0, Verdict.BROKEN: EXIT_BROKEN, Verdict.UNMET: EXIT_UNMET}


def command_line(*words: str | int) -> str:
    """A command of ours as it is typed in a shell."""
    return shlex.join(["mesh-sim", *map(str, words)])


def print_json(value: Json) -> None:
    """Print one JSON value on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show(result: RunResult, again: str, *, as_json: bool) -> int:
    """Show a run and return its exit code; `again` is the command that repeats it."""
    if as_json:
        print_json(run_json(result, again))
        complain(result, again)
    else:
        click.echo(tell(result, again))
    return EXIT_CODES[result.verdict]


def complain(result: RunResult, again: str) -> None:
    """Say in one line on standard error what did not hold."""
    for complaint in result.complaints[:1]:
        line = f"seed {result.script.seed}: {complaint_line(complaint)}; run it again with `{again}`"
        click.echo(f"mesh-sim: {line}", err=True)


def complaint_line(complaint: Complaint) -> str:
    """A complaint in one line."""
    return f"{complaint.name} at {complaint.at_s:.3f} s: {' '.join(complaint.text.split())}"


def run_json(result: RunResult, again: str) -> dict[str, object]:
    """`mesh-sim run --json`."""
    return {
        "scenario": result.script.scenario,
        "seed": result.script.seed,
        "digest": result.digest,
        "verdict": result.verdict,
        "ended_s": result.ended_s,
        "replay": again,
        "complaints": [asdict(complaint) for complaint in result.complaints],
        "figures": asdict(result.figures),
        "requests": [_request_json(request) for request in result.requests],
        "devices": [asdict(device) for device in result.devices],
    }


def _request_json(request: RequestRecord) -> dict[str, object]:
    return {
        **asdict(request),
        "is_answered": request.is_answered,
        "ttft_s": request.ttft_s,
        "tpot_s": request.tpot_s,
    }
