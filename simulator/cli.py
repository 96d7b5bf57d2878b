"""The command `mesh-sim`.

Owns the names of the commands and what an error looks like: one line on standard error and an exit code.
Each command is imported when it is called, so that the others start fast.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

import click

from mesh import console
from mesh.console import lazy_commands
from simulator.exits import EXIT_BROKEN

COMMANDS = {
    "list": "List the scenarios.",
    "plan": "Show how devices would place a model.",
    "run": "Run a scenario once.",
    "sweep": "Run a scenario with many seeds.",
    "replay": "Run what a recording holds again, and compare.",
    "shrink": "Make a failing recording as small as it can be.",
    "diff": "Show where two runs part.",
    "calibrate": "Compare virtual runs with real processes.",
}


_PROGRAM = "mesh-sim"


@click.command(
    cls=lazy_commands("simulator.commands", COMMANDS),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="ambient-mesh")
def cli() -> None:
    """Run households of virtual devices, in virtual time."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit.

    0 everything held, 1 two runs differ or something failed, 2 wrong usage, 3 an invariant was broken,
    4 a promise was not kept, 130 interrupted.
    """
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit code."""
    try:
        return console.run(cli, _PROGRAM, arguments)
    except Exception as error:
        code = console.output_failed(_PROGRAM, error)
        return _bug(error) if code is None else code


def _bug(error: Exception) -> int:
    click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    text = f"a bug in the simulator: {type(error).__name__}: {error}"
    return console.complain(_PROGRAM, text, EXIT_BROKEN)


if __name__ == "__main__":
    main()
