"""What a person sees of a demo: the devices, who holds which layers, the text as it comes, the speed.

Owns the look: at a terminal one live picture, elsewhere lines. Must not know how a demo is run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mesh.types import Device, Plan, PlannedStage, Summary
from nodes.demo.household import DemoDevice
from nodes.demo.story import Ended, Event, Met, Placed, Said, Show, Starting
from nodes.memory_size import format_memory_size
from nodes.present import answer_line, plan_line, plan_table, print_table

_BAR_WIDTH, _LEAST_BAR = 30, 8
_TABLE_COLUMNS = 46  # of the table beside the bar
_PANEL_COLUMNS = 4  # of the frame around the answer
_OTHER_LINES = 10  # of the frames, the heads and the line below


@contextmanager
def showing(*, silent: bool) -> Iterator[Show]:
    """Yield what to tell the events to; on a terminal the last picture stays."""
    if silent:
        yield lambda event: None
    elif sys.stdout.isatty():
        console = Console()
        picture = _Picture(console)
        with Live(get_renderable=picture.render, console=console, refresh_per_second=12) as live:
            yield picture.take
            live.vertical_overflow = "visible"  # the last picture may be taller than the screen
    else:
        yield _print


def _print(event: Event) -> None:
    match event:
        case Starting(devices, prompt):
            names = ", ".join(f"{d.name} ({format_memory_size(d.memory_bytes)})" for d in devices)
            click.echo(f"starting {names}")
            click.echo(f"> {prompt}")
        case Placed(plan):
            click.echo(plan_line(plan))
            print_table(plan_table(plan))
        case Said(text):
            click.echo(text, nl=False)
        case Ended(summary):
            click.echo(f"\n{answer_line(summary)}")
        case Met():
            pass


@dataclass(slots=True)
class _Picture:
    """The state of the live view."""

    console: Console
    prompt: str = ""
    devices: tuple[DemoDevice, ...] = ()
    met: dict[str, Device] = field(default_factory=dict)
    plan: Plan | None = None
    text: str = ""
    num_tokens: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    summary: Summary | None = None

    def take(self, event: Event) -> None:
        match event:
            case Starting(devices, prompt):
                self.devices, self.prompt = devices, prompt
            case Met(devices):
                self.met = {device.record.name: device for device in devices}
            case Placed(plan):
                self.plan = plan
            case Said():
                self._hear(event)
            case Ended(summary):
                self.summary = summary

    def _hear(self, said: Said) -> None:
        self.first_s = self.first_s or said.at_s
        self.text += said.text
        self.num_tokens += said.num_tokens
        self.last_s = said.at_s

    def render(self) -> RenderableType:
        return Group(self._table(), Panel(self._tail(), title=Text(self.prompt)), self._status())

    def _tail(self) -> Text:
        """The end of the answer, as far as the screen has room; when it is complete, all of it."""
        text = Text(self.text)
        if self.summary:
            return text
        num_lines = max(3, self.console.height - len(self.devices) - _OTHER_LINES)
        lines = text.wrap(self.console, self.console.width - _PANEL_COLUMNS)
        return Text("\n").join(lines[-num_lines:])

    def _table(self) -> Table:
        table = Table("device", "found", "memory", "layers", "")
        for column in table.columns:
            column.no_wrap = True
        stages = {stage.node.name: stage for stage in self.plan.stages} if self.plan else {}
        for device in self.devices:
            met, stage = self.met.get(device.name), stages.get(device.name)
            found = f"[green]{met.source}[/]" if met else "[dim]starting[/]"
            layers = str(stage.span) if stage else ""
            row = (device.name, found, format_memory_size(device.memory_bytes), layers)
            table.add_row(*row, self._bar(stage) if stage else "")
        return table

    def _bar(self, stage: PlannedStage) -> Text:
        """Draw the layers of the model, the device's own filled."""
        num_layers = self.plan.stages[-1].span.end if self.plan else 1
        width = max(_LEAST_BAR, min(_BAR_WIDTH, self.console.width - _TABLE_COLUMNS))
        start, end = (round(edge * width / num_layers) for edge in (stage.span.start, stage.span.end))
        bar = Text("░" * start, style="dim")
        bar.append("█" * (end - start), style="cyan")
        return bar.append("░" * (width - end), style="dim")

    def _status(self) -> Text:
        if self.summary:
            return Text(answer_line(self.summary), style="dim")
        elapsed_s = self.last_s - self.first_s
        if self.num_tokens > 1 and elapsed_s > 0:
            return Text(f"{(self.num_tokens - 1) / elapsed_s:.1f} tokens a second", style="dim")
        return Text("loading the layers" if self.plan else "finding each other by mDNS", style="dim")
