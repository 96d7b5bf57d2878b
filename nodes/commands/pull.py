"""`mesh pull`: get a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from mesh.model.families import model_spec
from mesh.model.gguf import GgufFile
from mesh.model.text import GgufTextCodec
from mesh.store.files import Progress as Told
from mesh.store.pull import Puller
from mesh.store.shelf import ModelStore
from mesh.types import Digest
from nodes.options import data_dir_option


@click.command()
@click.argument("model")
@data_dir_option
def command(model: str, data_dir: Path) -> None:
    """Get MODEL: a name from `mesh models`, a GGUF file, or hf:OWNER/REPO/FILE.gguf."""
    store = ModelStore(data_dir)
    with _progress_bar(model) as told:
        pulled = Puller(store, progress=told, notice=_say, inspect=_inspect).pull(model)
    click.echo(f"{pulled.name} is at {store.file_of(pulled.name)}")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _inspect(path: Path) -> None:
    """Refuse a file from which no stage or tokenizer could ever be loaded."""
    with GgufFile.open(path) as file:
        model_spec(file, path.name, Digest(""))
        GgufTextCodec.from_metadata(file.metadata, datetime.now)


@contextmanager
def _progress_bar(model: str) -> Iterator[Told]:
    """Show how far a pull is, on a terminal only; a log file gets the last line."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(model, total=None)

        def told(done_bytes: int, total_bytes: int | None) -> None:
            progress.update(task, completed=done_bytes, total=total_bytes)

        yield told
