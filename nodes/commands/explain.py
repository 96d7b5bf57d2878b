"""`mesh explain`: how the mesh would answer a prompt now, and why."""

from __future__ import annotations

import asyncio

import click

from mesh.client import ChatOptions
from mesh.decision import Explanation
from nodes.commands.ask import checked_prompt
from nodes.decisions import print_explanation
from nodes.options import Reach, answer_options, client_options, json_option


@click.command()
@click.argument("prompt")
@answer_options
@client_options
@json_option
def command(prompt: str, chat: ChatOptions, reach: Reach, as_json: bool) -> None:
    """Say who would answer PROMPT, what that is expected to take, and what else there was; ask nothing."""
    print_explanation(asyncio.run(_explain(checked_prompt(prompt), chat, reach)), as_json=as_json)


async def _explain(prompt: str, chat: ChatOptions, reach: Reach) -> Explanation:
    async with reach.connect() as client:
        return await client.explain(prompt, **chat)
