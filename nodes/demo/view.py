"""What a person sees of a demo: at a terminal one live picture, elsewhere lines.

Owns the choice between them, and the lines. Must not know how a demo is run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.live import Live

from nodes.demo.picture import Picture
from nodes.demo.story import Ended, Event, Killed, Met, Placed, Recovered, Said, Show, Starting
from nodes.memory_size import format_memory_size
from nodes.present import answer_line, kill_line, plan_line, plan_table, print_table, recovery_line
from nodes.terminal import without_controls


@contextmanager
def showing(*, silent: bool) -> Iterator[Show]:
    """Yield what to tell the events to; on a terminal the last picture stays."""
    if silent:
        yield lambda event: None
    elif sys.stdout.isatty():
        console = Console()
        picture = Picture(console)
        with Live(get_renderable=picture.render, console=console, refresh_per_second=12) as live:
            yield picture.take
            live.vertical_overflow = "visible"  # the last picture may be taller than the screen
    else:
        yield Lines().take


class Lines:
    """The plain view: a line for each event, the text of the answer between them as it comes."""

    def __init__(self) -> None:
        self._is_mid_line = False
        self._is_placed = False

    def take(self, event: Event) -> None:
        """Print an event."""
        match event:
            case Starting(devices, prompt):
                names = ", ".join(f"{d.name} ({format_memory_size(d.memory_bytes)})" for d in devices)
                self._line(f"starting {names}")
                self._line(f"> {prompt}")
            case Placed(plan) if not self._is_placed:
                self._is_placed = True
                self._line(plan_line(plan))
                print_table(plan_table(plan))
            case Said():
                self._say(without_controls(event.text))
            case Killed():
                self._line(kill_line(event.name, event.num_tokens))
            case Recovered(recovery):
                self._line(recovery_line(recovery))
            case Ended(summary):
                self._line(answer_line(summary))
            case Met() | Placed():
                pass

    def _say(self, text: str) -> None:
        click.echo(text, nl=False)
        self._is_mid_line = (self._is_mid_line or bool(text)) and not text.endswith("\n")

    def _line(self, text: str) -> None:
        """Print a line of its own, also in the middle of the answer."""
        click.echo(f"\n{text}" if self._is_mid_line else text)
        self._is_mid_line = False
