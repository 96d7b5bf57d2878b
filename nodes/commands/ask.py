"""`mesh ask`: one question, one answer."""

from __future__ import annotations

import asyncio
import sys

import click

from mesh.client import Answer, ChatOptions
from mesh.decision_json import decision_json
from mesh.errors import BadSetting
from nodes.options import Reach, answer_options, client_options, json_option, standard_input
from nodes.present import answer_json, answer_line, print_json, recovery_line
from nodes.terminal import without_controls


@click.command()
@click.argument("prompt")
@answer_options
@client_options
@json_option
def command(prompt: str, chat: ChatOptions, reach: Reach, as_json: bool) -> None:
    """Ask the mesh PROMPT and print the answer as it comes; '-' reads the prompt from standard input."""
    text = checked_prompt(standard_input().read() if prompt == "-" else prompt)
    asyncio.run(_ask(text, chat, reach, as_json=as_json))


def checked_prompt(text: str) -> str:
    """Return a prompt that says something; raise BadSetting for one that does not."""
    if not text.strip():
        raise BadSetting("the prompt is empty; say what to ask")
    return text


async def _ask(prompt: str, chat: ChatOptions, reach: Reach, *, as_json: bool) -> None:
    async with reach.connect() as client:
        answer = client.chat(prompt, **chat)
        if as_json:
            text = await answer.text()
            print_json(answer_json(text, answer.summary, answer.reasoning) | _decided(answer))
        else:
            await print_answer(answer)


def _decided(answer: Answer) -> dict[str, object]:
    return {"decision": decision_json(answer.decision) if answer.decision else None}


async def print_answer(answer: Answer) -> str:
    """Print an answer's text as it comes, and at a terminal lines about it; return the text as it was said.

    What is printed has no control characters but newlines and tabs. What the model thinks before its answer
    is shown dimmed at a terminal, and never stands on standard output.
    """
    pieces: list[str] = []
    thoughts = _Thoughts()
    try:
        async for piece in answer:
            thoughts.take(piece.reasoning)
            if piece.text:
                thoughts.end()
                pieces.append(piece.text)
                click.echo(without_controls(piece.text), nl=False)
    finally:
        thoughts.end()
        if pieces:
            click.echo()
    if sys.stderr.isatty():
        lines = [*map(recovery_line, answer.summary.recoveries), answer_line(answer.summary, _server(answer))]
        click.secho("\n".join(lines), dim=True, err=True)
    return "".join(pieces)


class _Thoughts:
    """Shows what is thought on standard error, where that is a terminal: dimmed, an empty line behind it."""

    def __init__(self) -> None:
        self._is_open = False

    def take(self, text: str) -> None:
        if text and sys.stderr.isatty():
            self._is_open = True
            click.secho(without_controls(text), dim=True, err=True, nl=False)

    def end(self) -> None:
        if self._is_open:
            click.echo("\n", err=True)
        self._is_open = False


def _server(answer: Answer) -> str | None:
    """Name the server outside the mesh that was chosen; None where a device was."""
    chosen = answer.decision.chosen if answer.decision else None
    return chosen.upstream if chosen else None
