"""`mesh drain`: have a device hand over what it holds, before it is taken away."""

from __future__ import annotations

import asyncio
import shlex

import click

from nodes.options import Reach, client_options


@click.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Even where nobody can take over, so that answers end.")
@click.option("--undo", is_flag=True, help="The device stays after all, and takes part again.")
@client_options
def command(name: str, force: bool, undo: bool, reach: Reach) -> None:
    """Have the device called NAME hand over what it holds and take nothing new; wait until it has."""
    if force and undo:
        raise click.UsageError("--undo takes a drain back and needs no --force; give one of them")
    asyncio.run(_drain(name, reach, is_forced=force, is_over=undo))
    click.echo(f"{name} takes part again" if undo else _done(name))


def _done(name: str) -> str:
    undo = f"mesh drain {shlex.quote(name)} --undo"
    return f"{name} holds no answer any more and takes nothing new; `{undo}` takes it back"


async def _drain(name: str, reach: Reach, *, is_forced: bool, is_over: bool) -> None:
    async with reach.connect() as client:
        await client.drain(name, is_forced=is_forced, is_over=is_over)
