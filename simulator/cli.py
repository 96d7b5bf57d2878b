"""The command `mesh-sim`.

Owns the names of the commands and what an error looks like: one line on standard error and an exit code.
Each command is imported when it is called, so that the others start fast.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

import click

from mesh.errors import BadSetting, MeshError
from simulator.exits import EXIT_BROKEN, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE

COMMANDS = {
    "list": "List the scenarios.",
    "run": "Run a scenario once.",
    "sweep": "Run a scenario with many seeds.",
    "replay": "Run what a recording holds again, and compare.",
    "shrink": "Make a failing recording as small as it can be.",
    "diff": "Show where two runs part.",
    "calibrate": "Compare virtual runs with real processes.",
}


class _Commands(click.Group):
    """Imports a command when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"simulator.commands.{cmd_name}").command
        command.help = command.help or COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
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
        result = cli.main(arguments, prog_name="mesh-sim", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return EXIT_USAGE
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "mesh-sim"
        return _complain(f"{error.format_message().rstrip('.')}; see `{command} --help`", EXIT_USAGE)
    except click.ClickException as error:
        return _complain(error.format_message(), EXIT_USAGE)
    except MeshError as error:
        return _complain(str(error), EXIT_USAGE if isinstance(error, BadSetting) else EXIT_FAILED)
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except Exception as error:
        return _failed(error)
    return result if isinstance(result, int) else 0


def _failed(error: Exception) -> int:
    """Say that the output cannot be written, or nothing where its reader has enough; all else is a bug."""
    if not isinstance(error, OSError) or error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EIO):
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
        return _complain(f"a bug in the simulator: {type(error).__name__}: {error}", EXIT_BROKEN)
    sys.stdout = None  # or the interpreter tries once more to write what is left
    if error.errno == errno.EPIPE:
        return EXIT_FAILED
    return _complain(f"cannot write the output: {error.strerror}", EXIT_FAILED)


def _complain(message: str, code: int) -> int:
    click.echo(f"mesh-sim: {' '.join(message.split())}", err=True)
    return code


if __name__ == "__main__":
    main()
