"""`mesh plan`: how the mesh would place a model now."""

from __future__ import annotations

import asyncio

import click

from mesh.client import ChatOptions
from mesh.decision import Explanation
from nodes.decisions import print_explanation
from nodes.options import Reach, client_options, json_option, privacy_option


@click.command()
@click.argument("model")
@click.option("--context", type=click.IntRange(1), help="Tokens of prompt and answer to make room for.")
@privacy_option
@client_options
@json_option
def command(model: str, context: int | None, privacy: str, reach: Reach, as_json: bool) -> None:
    """Show which devices would hold which layers of MODEL, and what other ways there are."""
    chat = ChatOptions(model=model, privacy=privacy)
    print_explanation(asyncio.run(_plan(chat, context, reach)), as_json=as_json)


async def _plan(chat: ChatOptions, context: int | None, reach: Reach) -> Explanation:
    async with reach.connect() as client:
        return await client.explain("", context or 1, **chat)
