"""`mesh-sim diff`: the first event in which two runs differ."""

from __future__ import annotations

import click

from mesh.console import EXIT_FAILED
from simulator.commands.differences import compare
from simulator.commands.engine import Named
from simulator.commands.options import json_option
from simulator.commands.present import print_json


@click.command()
@click.argument("a")
@click.argument("b")
@json_option
def command(a: str, b: str, as_json: bool) -> int:
    """Show where the runs A and B part; each is a recording's file or SCENARIO@SEED."""
    comparison = compare(Named(a).recording(), Named(b).recording(), a, b)
    if as_json:
        print_json(comparison.to_json())
    else:
        click.echo(comparison.words())
    return 0 if comparison.is_same else EXIT_FAILED
