"""`mesh-sim list`: the scenarios that come with it."""

from __future__ import annotations

import click

from simulator.commands.options import json_option
from simulator.commands.present import print_json
from simulator.scenario import shipped


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List the scenarios that can be run by name."""
    scenarios = shipped()
    if as_json:
        print_json([{"name": name, "summary": summary} for name, summary in scenarios])
        return
    width = max((len(name) for name, _ in scenarios), default=0)
    for name, summary in scenarios:
        click.echo(f"{name:<{width}}  {summary}")
