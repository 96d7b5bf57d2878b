"""What our command lines have in common: commands that load when named, and one line for each error.

Owns how an error looks and its exit code. Must not know any command. Nothing imports this but command lines.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

import click

from mesh.errors import BadSetting, MeshError

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130

_UNWRITABLE = (errno.EPIPE, errno.ENOSPC, errno.EIO)


def lazy_commands(package: str, summaries: Mapping[str, str]) -> type[click.Group]:
    """Return a group whose commands lie in a package's modules of their names, as `command`.

    Each is imported when it is named, so that the others start fast; the list needs the summaries only.
    """

    class Commands(click.Group):
        """Imports a command when it is named."""

        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(summaries)

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            if cmd_name not in summaries:
                return None
            command: click.Command = import_module(f"{package}.{cmd_name}").command
            command.help = command.help or summaries[cmd_name]
            return command

        def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            with formatter.section("Commands"):
                formatter.write_dl(list(summaries.items()))

    return Commands


def run(cli: click.Command, program: str, arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit code; what is no error of usage or of the mesh is raised."""
    try:
        result = cli.main(arguments, prog_name=program, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return EXIT_USAGE
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else program
        help_hint = f"see `{command} --help`"
        return complain(program, f"{error.format_message().rstrip('.')}; {help_hint}", EXIT_USAGE)
    except click.ClickException as error:
        return complain(program, error.format_message(), EXIT_USAGE)
    except MeshError as error:
        code = EXIT_USAGE if isinstance(error, BadSetting) else EXIT_FAILED
        return complain(program, str(error), code)
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    return result if isinstance(result, int) else 0


def output_failed(program: str, error: BaseException) -> int | None:
    """Say that the output cannot be written, or nothing where its reader has enough; None for all else."""
    if not isinstance(error, OSError) or error.errno not in _UNWRITABLE:
        return None
    sys.stdout = None  # or the interpreter tries once more to write what is left
    if error.errno == errno.EPIPE:
        return EXIT_FAILED
    return complain(program, f"cannot write the output: {error.strerror}", EXIT_FAILED)


def complain(program: str, message: str, code: int) -> int:
    """Print one line on standard error, without what would steer the terminal; return the code."""
    line = "".join(filter(str.isprintable, " ".join(message.split())))
    click.echo(f"{program}: {line}", err=True)
    return code
