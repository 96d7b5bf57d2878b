"""The live picture of a demo: the devices, who holds which layers, the text as it comes, losses, the speed.

Owns the look at a terminal. Must not know how a demo is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mesh.types import Device, Plan, Recovery, Span, Summary
from nodes.demo.household import DemoDevice
from nodes.demo.story import Ended, Event, Killed, Met, Placed, Recovered, Said, Starting
from nodes.memory_size import format_memory_size
from nodes.present import answer_line, kill_line, recovery_line
from nodes.terminal import without_controls

_BAR_WIDTH, _LEAST_BAR = 30, 8
_TABLE_COLUMNS = 38  # of the table beside the bar and the layers
_PANEL_COLUMNS = 4  # of the frame around the answer
_OTHER_LINES = 10  # of the frames, the heads and the line below


@dataclass(slots=True)
class Picture:
    """What is known so far, and how it looks."""

    console: Console
    prompt: str = ""
    devices: tuple[DemoDevice, ...] = ()
    met: dict[str, Device] = field(default_factory=dict)
    plan: Plan | None = None
    reasoning: str = ""
    text: str = ""
    num_tokens: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    summary: Summary | None = None
    killed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    """Devices that a route went on without; they may come back."""
    notes: list[str] = field(default_factory=list)
    """What went wrong and how it went on, in lines."""

    def take(self, event: Event) -> None:
        """Bring the picture up to date."""
        match event:
            case Starting(devices, prompt):
                self.devices, self.prompt = devices, prompt
            case Met(devices):
                self.met = {device.record.name: device for device in devices}
            case Placed(plan):
                self.plan = plan
            case Said():
                self._hear(event)
            case Killed(name, num_tokens):
                self.killed.append(name)
                self.notes.append(kill_line(name, num_tokens))
            case Recovered(recovery):
                self._lose(recovery)
            case Ended(summary):
                self.summary = summary

    def _hear(self, said: Said) -> None:
        self.first_s = self.first_s or said.at_s
        self.reasoning += without_controls(said.reasoning)
        self.text += without_controls(said.text)
        self.num_tokens += said.num_tokens
        self.last_s = said.at_s

    def _lose(self, recovery: Recovery) -> None:
        self.gone.extend(recovery.lost)
        self.notes.append(recovery_line(recovery))

    def render(self) -> RenderableType:
        """Draw it as it is now."""
        notes = [Text(note, style="yellow") for note in self.notes]
        return Group(self._table(), Panel(self._tail(), title=Text(self.prompt)), *notes, self._status())

    def _tail(self) -> Text:
        """The end of the answer, as far as the screen has room; when it is complete, all of it."""
        gap = "\n\n" if self.reasoning and self.text else ""
        text = Text.assemble((self.reasoning + gap, "dim"), self.text)
        if self.summary:
            return text
        num_lines = max(3, self.console.height - len(self.devices) - len(self.notes) - _OTHER_LINES)
        lines = text.wrap(self.console, self.console.width - _PANEL_COLUMNS)
        return Text("\n").join(lines[-num_lines:])

    def _table(self) -> Table:
        table = Table("device", "found", "memory", "layers", "")
        for column in table.columns:
            column.no_wrap = True
        for device in self.devices:
            spans, memory = self._spans(device.name), format_memory_size(device.memory_bytes)
            row = (device.name, self._found(device.name), memory, _listed(spans))
            table.add_row(*row, self._bar(spans, "red" if self._is_lost(device.name) else "cyan"))
        return table

    def _is_lost(self, name: str) -> bool:
        return name in self.killed or (name in self.gone and not self._spans(name))

    def _found(self, name: str) -> str:
        if self._is_lost(name):
            return "[red]lost[/]"
        met = self.met.get(name)
        return f"[green]{met.source}[/]" if met else "[dim]starting[/]"

    def _spans(self, name: str) -> list[Span]:
        """What a device holds by the newest plan, maybe several spans after a loss."""
        return [stage.span for stage in self.plan.stages if stage.node.name == name] if self.plan else []

    def _bar(self, spans: Sequence[Span], style: str) -> Text:
        """Draw the layers of the model, the device's own filled; nothing for a device without any."""
        if not self.plan or not spans:
            return Text("")
        layers = max(len(_listed(self._spans(device.name))) for device in self.devices)
        width = max(_LEAST_BAR, min(_BAR_WIDTH, self.console.width - _TABLE_COLUMNS - layers))
        scale = width / self.plan.stages[-1].span.end
        bar = Text("░" * width, style="dim")
        for span in spans:
            start, end = round(span.start * scale), round(span.end * scale)
            bar = Text.assemble(bar[:start], ("█" * (end - start), style), bar[end:])
        return bar

    def _status(self) -> Text:
        if self.summary:
            return Text(answer_line(self.summary), style="dim")
        elapsed_s = self.last_s - self.first_s
        if self.num_tokens > 1 and elapsed_s > 0:
            return Text(f"{(self.num_tokens - 1) / elapsed_s:.1f} tokens a second", style="dim")
        have_met = len(self.met) == len(self.devices)
        return Text("loading the layers" if have_met else "finding each other by mDNS", style="dim")


def _listed(spans: Sequence[Span]) -> str:
    return ", ".join(map(str, spans))
