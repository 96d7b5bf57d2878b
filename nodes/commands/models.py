"""`mesh models`: what can be had, and what is here."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from mesh.store.shelf import Listing, ModelStore
from nodes.memory_size import format_memory_size
from nodes.options import data_dir_option, json_option
from nodes.present import print_json, print_table


@click.command()
@data_dir_option
@json_option
def command(data_dir: Path, as_json: bool) -> None:
    """List the models that can be pulled, and which of them are on this device."""
    listing = ModelStore(data_dir).listing()
    if as_json:
        print_json([_to_json(model) for model in listing])
    else:
        print_table(_table(listing))


def _to_json(model: Listing) -> dict[str, object]:
    return {
        "name": model.name,
        "about": model.about,
        "size_bytes": model.size_bytes,
        "sha256": model.digest,
        "path": str(model.path) if model.path else None,
    }


def _table(listing: tuple[Listing, ...]) -> Table:
    table = Table("model", "size", "here", "about")
    for model in listing:
        here = "[green]yes[/]" if model.path else f"mesh pull {model.name}"
        table.add_row(model.name, format_memory_size(model.size_bytes), here, model.about)
    return table
