"""The command `mesh`.

Owns the names of the commands and what an error looks like: one line on standard error and an exit code.
Each command lies in `nodes/commands/` and is imported when it is called, so that the others start fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from mesh import console
from mesh.console import lazy_commands

# gRPC writes to standard error about connections that end; what matters comes to us as errors.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

COMMANDS = {
    "demo": "Start three devices on this machine and have them answer together.",
    "up": "Run a node agent on this device.",
    "devices": "List the devices of the mesh.",
    "drain": "Have a device hand over what it holds and take nothing new.",
    "plan": "Show how the mesh would place a model.",
    "explain": "Say who would answer a prompt, and why.",
    "ask": "Ask one question.",
    "chat": "Talk.",
    "pull": "Get a model.",
    "models": "List the models that can be had, and which are here.",
    "bench": "Measure how fast this device computes.",
    "logits": "Compute a model's logits, whole or split, without a network.",
}


_PROGRAM = "mesh"


@click.command(
    cls=lazy_commands("nodes.commands", COMMANDS), context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="ambient-mesh")
def cli() -> None:
    """The devices of a home as one private computer for language models."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 the request failed, 2 wrong usage, 130 interrupted."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit code."""
    try:
        return console.run(cli, _PROGRAM, arguments)
    except UnicodeDecodeError:
        text = "standard input has bytes that are no UTF-8 text; write it anew"
        return console.complain(_PROGRAM, text, console.EXIT_USAGE)
    except (OSError, BaseExceptionGroup) as error:
        code = console.output_failed(_PROGRAM, _innermost(error))
        if code is None:
            raise
        return code


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    main()
