"""`mesh demo`: three devices on this machine answer together."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from mesh.client import ChatOptions
from mesh.console import EXIT_FAILED, complain
from mesh.types import Source, Standby
from nodes.commands.ask import checked_prompt
from nodes.demo.household import parse_devices
from nodes.demo.kills import missed_line, parse_kills
from nodes.demo.run import DemoOrder, DemoResult, run_demo
from nodes.demo.view import showing
from nodes.options import DEFAULT_MODEL, data_dir_option, json_option, sampling_options, standby_option
from nodes.present import answer_json, print_json, share_json


@click.command()
@click.option("--model", default=DEFAULT_MODEL, show_default=True)
@click.option("--prompt", default="What is the capital of Japan?", show_default=True)
@click.option("--devices", default="phone,car,tv", show_default=True, help="Classes of the devices.")
@click.option(
    "--kill",
    "kills",
    metavar="NAME@TOKEN",
    multiple=True,
    help="Kill a device with SIGKILL when so many tokens have come; may be given for several.",
)
@standby_option
@sampling_options
@data_dir_option
@json_option
def command(  # noqa: PLR0913  an option each
    model: str,
    prompt: str,
    devices: str,
    kills: tuple[str, ...],
    standby: Standby,
    chat: ChatOptions,
    data_dir: Path,
    as_json: bool,
) -> int:
    """Start devices as processes with so little memory that the model fits on none of them alone.

    They find each other by mDNS, split the model's layers among themselves, and answer --prompt. With --kill
    they also have spare memory to stand in for each other, and the answer goes on without a lost token.
    """
    chat["model"] = model
    household = parse_devices(devices)
    to_kill = parse_kills(kills, household, chat["max_tokens"])
    order = DemoOrder(household, checked_prompt(prompt), data_dir, chat, to_kill, standby)
    with showing(silent=as_json) as show:
        result = asyncio.run(run_demo(order, show))
    if as_json:
        print_json(_to_json(result))
    return _exit_code(result)


def _exit_code(result: DemoResult) -> int:
    """0, or 1 where the answer was too short to show what was asked for, which is then said."""
    if not result.missed:
        return 0
    return complain("mesh", missed_line(result.missed, len(result.summary.tokens)), EXIT_FAILED)


def _to_json(result: DemoResult) -> dict[str, object]:
    announced = {record.node_id for record in result.found}
    devices = [
        {**share_json(share), "discovered_by": Source.MDNS if share.node_id in announced else None}
        for share in result.summary.stages
    ]
    value = answer_json(result.text, result.summary, result.reasoning)
    return {**value, "start_to_first_token_s": round(result.start_to_first_token_s, 3), "devices": devices}
