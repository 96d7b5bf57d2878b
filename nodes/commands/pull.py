"""`mesh pull`: get a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from mesh.errors import ModelError
from mesh.model.checkpoint import open_checkpoint
from mesh.model.families import check_tensors, model_spec
from mesh.model.text import ModelTextCodec
from mesh.store.files import Progress as Told
from mesh.store.files import silent
from mesh.store.pull import Puller
from mesh.store.shelf import ModelStore
from mesh.types import Digest
from nodes.options import data_dir_option


@click.command()
@click.argument("model")
@data_dir_option
def command(model: str, data_dir: Path) -> None:
    """Get MODEL: a name from `mesh models`, a GGUF file or a Hugging Face folder of your own, or
    hf:OWNER/REPO/FILE.gguf.
    """
    store = ModelStore(data_dir)
    with _progress_bar(model) as told:
        inspect = partial(_inspect, model)
        pulled = Puller(store, progress=told, notice=_say, inspect=inspect).pull(model)
    click.echo(f"{pulled.name} is at {store.path(pulled.name)}")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _inspect(model: str, path: Path) -> None:
    """Refuse a file that could never run, by the name that was asked for."""
    try:
        with open_checkpoint(path) as file:
            spec = model_spec(file, model, Digest(""))
            check_tensors(file, spec, spec.whole)
        ModelTextCodec.from_path(path, datetime.now)
    except ModelError as error:
        raise type(error)(str(error).replace(str(path), model)) from error


@contextmanager
def _progress_bar(model: str) -> Iterator[Told]:
    """Show how far a pull is, on a terminal only."""
    if not sys.stderr.isatty():
        yield silent
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(model, total=None)

        def told(done_bytes: int, total_bytes: int | None) -> None:
            progress.update(task, completed=done_bytes, total=total_bytes)

        yield told
