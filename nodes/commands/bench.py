"""`mesh bench`: how fast this device is."""

from __future__ import annotations

from pathlib import Path

import click

from mesh.engines.choosing import EngineName
from mesh.types import SpeedRecord
from nodes.bench_device import Choice, measure
from nodes.engine_options import engine_option, threads_option
from nodes.options import data_dir_option, json_option
from nodes.present import print_json, print_table, speed_json, speed_lines, speed_table
from nodes.probe import default_threads
from nodes.speeds import keep_speed, kept_speed, only_one_measures


@click.group()
def command() -> None:
    """Measure how fast this device computes."""


@command.command("device")
@click.option("--model", help="Measure on this model, and remember nothing [default: the small one].")
@threads_option
@engine_option
@click.option("--kept", is_flag=True, help="Show what was measured before, where that still holds.")
@click.option("--seconds", type=click.FloatRange(0, 60), default=4.0, hidden=True)
@data_dir_option
@json_option
def device(  # noqa: PLR0913  an option each
    model: str | None,
    threads: int | None,
    engine: EngineName,
    kept: bool,
    seconds: float,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Measure prefill, decode and memory.

    Takes about five seconds. The result is remembered, and an agent that computes with as many threads tells
    it to the mesh. Without a model on disk random weights of the small model's shape are used.
    """
    choice = Choice(data_dir, engine, threads or default_threads(), model)
    with only_one_measures(data_dir, _say_waiting):
        found = kept_speed(data_dir, choice.fingerprint) if kept and model is None else None
        speed = found or _measured(choice, seconds)
    _show(speed, as_json=as_json)


def _measured(choice: Choice, seconds: float) -> SpeedRecord:
    speed = measure(choice, seconds)
    if choice.model is None:
        keep_speed(choice.data_dir, choice.fingerprint, speed)
    return speed


def _show(speed: SpeedRecord, *, as_json: bool) -> None:
    if as_json:
        return print_json(speed_json(speed))
    print_table(speed_table(speed))
    for line in speed_lines(speed):
        click.echo(line)
    return None


def _say_waiting() -> None:
    click.echo("mesh: another process measures on this device; waiting for it", err=True)
