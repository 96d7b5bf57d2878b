"""How far a long work is, on standard error, where that is a terminal.

Owns the bars. rich is imported where a bar is shown and not before.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Protocol


class Show(Protocol):
    """Shows how far the work is."""

    def __call__(self, done: float, note: str = "", /) -> None:
        """Show what is done of the total, and a few words beside it."""


@contextmanager
def bar(title: str, total: float | None) -> Iterator[Show]:
    """Show a bar while the work lasts; without a total it only moves."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield _silent
        return
    progress = _progress()
    with progress:
        task = progress.add_task(title, total=total, note="")

        def show(done: float, note: str = "", /) -> None:
            progress.update(task, completed=done, note=note)

        yield show


def _silent(done: float, note: str = "", /) -> None:
    """Show nothing."""


class _Progress(Protocol):
    def __enter__(self) -> object: ...
    def __exit__(self, *error: object) -> object: ...
    def add_task(self, description: str, *, total: float | None, note: str) -> int: ...
    def update(self, task_id: int, *, completed: float, note: str) -> None: ...


def _progress() -> _Progress:
    shown, console = import_module("rich.progress"), import_module("rich.console")
    columns = (
        shown.TextColumn("{task.description}", markup=False),
        shown.BarColumn(),
        shown.TaskProgressColumn(),
        shown.TimeElapsedColumn(),
        shown.TextColumn("{task.fields[note]}", markup=False),
    )
    progress: _Progress = shown.Progress(*columns, console=console.Console(stderr=True), transient=True)
    return progress
