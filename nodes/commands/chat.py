"""`mesh chat`: a conversation at the terminal."""

from __future__ import annotations

import asyncio
from typing import TextIO

import click

from mesh.client import ChatOptions, Client
from mesh.errors import MeshError
from mesh.types import ChatMessage
from nodes.commands.ask import print_answer
from nodes.options import Reach, answer_options, client_options, standard_input
from nodes.terminal import in_one_line

_HELP = "Ask; /new starts over, /quit or Ctrl-D ends."


@click.command()
@answer_options
@client_options
def command(chat: ChatOptions, reach: Reach) -> None:
    """Talk with a model of the mesh; each turn sees those before it."""
    asyncio.run(_talk(chat, reach, standard_input()))


async def _talk(chat: ChatOptions, reach: Reach, lines: TextIO) -> None:
    turns: list[ChatMessage] = []
    async with reach.connect() as client:
        if lines.isatty():
            click.secho(_HELP, dim=True, err=True)
        while (line := await asyncio.to_thread(_read_line, lines)) is not None and line != "/quit":
            if line == "/new":
                turns.clear()
            elif line:
                turns = await _turn(client, [*turns, ChatMessage("user", line)], chat) or turns


async def _turn(client: Client, turns: list[ChatMessage], chat: ChatOptions) -> list[ChatMessage] | None:
    """Have one turn answered; return the conversation with it, or None where it failed."""
    try:
        text = await print_answer(client.chat(turns, **chat))
    except MeshError as error:
        click.echo(f"mesh: {in_one_line(str(error))}", err=True)
        return None
    return [*turns, ChatMessage("assistant", text)]


def _read_line(lines: TextIO) -> str | None:
    """Return the next line without its end; None when there is no more."""
    if lines.isatty():
        click.echo("> ", nl=False, err=True)
    line = lines.readline()
    return line.strip() if line else None
