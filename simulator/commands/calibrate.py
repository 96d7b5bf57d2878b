"""`mesh-sim calibrate`: how far predictions are from real agents on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import click

from simulator.commands.options import file_option, json_option
from simulator.real.calibrate import SCENARIOS, measure, table, to_json
from simulator.real.comparing import compare
from simulator.real.control import EngineKind
from simulator.real.household import ProcessOptions
from simulator.real.models import default_data_dir


@click.command()
@click.argument("scenarios", nargs=-1)
@click.option("--rounds", "num_rounds", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option(
    "--engine",
    type=click.Choice([kind.value for kind in EngineKind]),
    default=EngineKind.TORCH.value,
    show_default=True,
    help="What computes in both modes: the real model, or the token function.",
)
@file_option("--out", "Keep the raw runs in this JSON file.")
@json_option
def command(
    scenarios: tuple[str, ...], num_rounds: int, engine: str, out_to: Path | None, as_json: bool
) -> int:
    """Run SCENARIOS in virtual time and with real processes and print how far apart they are.

    Without a name: the two scenarios made for it. The machine should be quiet. Ends with 1 where a prediction
    is further off than its limit.
    """
    options = ProcessOptions(default_data_dir(), EngineKind(engine))
    rounds = measure(scenarios or SCENARIOS, num_rounds, options, lambda line: click.echo(line, err=True))
    comparisons = compare(rounds)
    record = json.dumps(to_json(comparisons, rounds), indent=2)
    if out_to is not None:
        out_to.write_text(record + "\n")
    click.echo(record if as_json else table(comparisons))
    return 0 if all(comparison.is_close for comparison in comparisons) else 1
