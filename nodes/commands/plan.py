"""`mesh plan`: how the mesh would place a model now."""

from __future__ import annotations

import asyncio

import click

from mesh.types import Plan
from nodes.options import Reach, client_options, json_option
from nodes.present import plan_json, plan_line, plan_table, print_json, print_table


@click.command()
@click.argument("model")
@click.option("--context", type=click.IntRange(1), help="Tokens of prompt and answer to make room for.")
@client_options
@json_option
def command(model: str, context: int | None, reach: Reach, as_json: bool) -> None:
    """Show which device would hold which layers of MODEL."""
    plan = asyncio.run(_plan(model, context, reach))
    if as_json:
        print_json(plan_json(plan))
    else:
        click.echo(plan_line(plan))
        print_table(plan_table(plan))


async def _plan(model: str, context: int | None, reach: Reach) -> Plan:
    async with reach.connect() as client:
        return await client.plan(model, context)
