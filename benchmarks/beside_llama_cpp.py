"""This mesh beside llama.cpp RPC: the same model, two stages, one thread and one core each, in one run.

Run `make bench`, or `python -m benchmarks.beside_llama_cpp [--rounds N] [--only MEASURE]`. llama.cpp is built
into the user's cache at the first run (`benchmarks.llama_cpp`); where that cannot be, the mesh's half runs
alone. Prints medians and ratios with their spread, and keeps a full run with the machine's description in
benchmarks/results/beside_llama_cpp.json. How links are laid is told in docs/measurements.md.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path

import click

from benchmarks.beside.description import description
from benchmarks.beside.measures import MEASURES, Measure, Pair, record, table
from benchmarks.beside.rounds import Ground, one_round
from benchmarks.beside.sample import Work
from benchmarks.llama_cpp import BuildFailed, LlamaCpp, built
from mesh.errors import MeshError, first_of
from mesh.store.shelf import ModelStore
from nodes.options import DEFAULT_MODEL, default_data_dir

RESULTS = Path(__file__).parent / "results" / "beside_llama_cpp.json"
Rounds = dict[str, list[Pair]]


async def measure(ground: Ground, measures: Sequence[Measure], num_rounds: int) -> Rounds:
    """Measure in rounds, and say what each gave."""
    rounds: Rounds = {one.name: [] for one in measures}
    for index in range(num_rounds):
        click.echo(f"round {index + 1} of {num_rounds}")
        async with aclosing(one_round(ground, measures, mesh_first=index % 2 == 0)) as done:
            async for one, pair in done:
                rounds[one.name].append(pair)
                click.echo(f"  {_line(one, pair)}")
    return rounds


def _line(one: Measure, pair: Pair) -> str:
    text = f"{one.title:36} mesh {pair.mesh.tokens_per_s:7.1f}"
    if pair.peer is None or pair.ratio is None:
        return text
    return f"{text}   peer {pair.peer.tokens_per_s:7.1f}   ratio {pair.ratio:.2f}"


def _tools() -> LlamaCpp | None:
    try:
        return built()
    except BuildFailed as error:
        click.echo(f"without llama.cpp: {error}")
        return None


def _keep(file: Path, ground: Ground, rounds: Rounds) -> None:
    kept = {
        "machine": description(ground.tools),
        "model": ground.model,
        "work": asdict(ground.work),
        "measures": record(rounds),
    }
    file.write_text(json.dumps(kept, indent=2) + "\n")


@click.command()
@click.option("--rounds", "num_rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option(
    "--only",
    type=click.Choice([one.name for one in MEASURES]),
    multiple=True,
    help="Measure this alone; may be given again. Then nothing is kept without --out.",
)
@click.option("--mesh-alone", is_flag=True, help="Leave llama.cpp out.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where the result is kept.")
def main(num_rounds: int, only: tuple[str, ...], mesh_alone: bool, out: Path | None) -> None:
    """Measure the mesh beside llama.cpp, and keep the result."""
    try:
        path = ModelStore(default_data_dir()).path(DEFAULT_MODEL)
        tools = None if mesh_alone else _tools()
        ground = Ground(default_data_dir(), DEFAULT_MODEL, path, tools, Work())
        measures = [one for one in MEASURES if not only or one.name in only]
        rounds = asyncio.run(measure(ground, measures, num_rounds))
    except* MeshError as group:
        click.echo(f"mesh: {first_of(group)}", err=True)
        sys.exit(1)
    click.echo(table(rounds))
    if out is not None or not only:
        _keep(out or RESULTS, ground, rounds)


if __name__ == "__main__":
    main()
