"""The command `mesh`.

Owns the names of the commands and what an error looks like: one line on standard error and an exit code.
Each command lies in `nodes/commands/` and is imported when it is called, so that the others start fast.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from mesh.errors import BadSetting, MeshError

# gRPC writes to standard error about connections that end; what matters comes to us as errors.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

COMMANDS = {
    "demo": "Start three devices on this machine and have them answer together.",
    "up": "Run a node agent on this device.",
    "devices": "List the devices of the mesh.",
    "plan": "Show how the mesh would place a model.",
    "ask": "Ask one question.",
    "chat": "Talk.",
    "pull": "Get a model.",
    "models": "List the models that can be had, and which are here.",
    "logits": "Compute a model's logits, whole or split, without a network.",
}

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


class _Commands(click.Group):
    """Imports a command when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"nodes.commands.{cmd_name}").command
        command.help = command.help or COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ambient-mesh")
def cli() -> None:
    """The devices of a home as one private computer for language models."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 the request failed, 2 wrong usage, 130 interrupted."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit code."""
    try:
        result = cli.main(arguments, prog_name="mesh", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return EXIT_USAGE
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "mesh"
        return _complain(f"{error.format_message().rstrip('.')}; see `{command} --help`", EXIT_USAGE)
    except click.ClickException as error:
        return _complain(error.format_message(), EXIT_USAGE)
    except MeshError as error:
        return _complain(str(error), EXIT_USAGE if isinstance(error, BadSetting) else EXIT_FAILED)
    except UnicodeDecodeError:
        return _complain("standard input has bytes that are no UTF-8 text; write it anew", EXIT_USAGE)
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except (OSError, BaseExceptionGroup) as error:
        return _output_failed(error)
    return result if isinstance(result, int) else 0


def _output_failed(error: OSError | BaseExceptionGroup[BaseException]) -> int:
    """Say that our output cannot be written, or nothing where its reader has enough; raise all else."""
    failed = error
    while isinstance(failed, BaseExceptionGroup):
        failed = failed.exceptions[0]  # type: ignore[assignment]
    if not isinstance(failed, OSError) or failed.errno not in (errno.EPIPE, errno.ENOSPC, errno.EIO):
        raise error
    sys.stdout = None  # or the interpreter tries once more to write what is left
    if failed.errno == errno.EPIPE:
        return EXIT_FAILED
    return _complain(f"cannot write the output: {failed.strerror}", EXIT_FAILED)


def _complain(message: str, code: int) -> int:
    click.echo(f"mesh: {' '.join(message.split())}", err=True)
    return code


if __name__ == "__main__":
    main()
