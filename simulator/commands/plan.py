"""`mesh-sim plan`: how devices of given kinds would place a model."""

from __future__ import annotations

import click
from rich.console import Console

from mesh.decision_json import explanation_json
from simulator.commands.options import json_option
from simulator.commands.planned import plan_tables, plan_words
from simulator.commands.present import print_json
from simulator.planning import explain, parse_devices


@click.command()
@click.argument("model")
@click.option(
    "--devices",
    default="phone,car,tv",
    show_default=True,
    metavar="KIND[=SIZE],...",
    help="Classes or profiles of devices, each with the memory that it lends.",
)
@click.option(
    "--link", metavar="PROFILE", help="How all are linked, such as wifi6 [default: as profiles say]."
)
@click.option(
    "--context", type=click.IntRange(1), default=1, help="Tokens of prompt and answer to make room for."
)
@json_option
def command(model: str, devices: str, link: str | None, context: int, as_json: bool) -> None:
    """Show which of such devices would hold which layers of MODEL, and what other ways there are.

    The first device is the one that is asked.
    """
    explanation = explain(model, parse_devices(devices), link, context)
    if as_json:
        print_json(explanation_json(explanation))
        return
    click.echo("\n".join(plan_words(explanation)))
    for table in plan_tables(explanation):
        Console().print(table)
