"""What happens in a demo, as events: the joint between running it and showing it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mesh.types import Device, Plan, Recovery, Summary
from nodes.demo.household import DemoDevice


@dataclass(frozen=True, slots=True)
class Starting:
    """The devices are being started."""

    devices: tuple[DemoDevice, ...]
    prompt: str


@dataclass(frozen=True, slots=True)
class Met:
    """The devices that have found each other so far."""

    devices: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """The layers have been dealt out, for the first time or anew."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Said:
    """More of the answer came."""

    text: str
    num_tokens: int
    at_s: float
    """By the clock of the event loop."""
    reasoning: str = ""
    """What the model thinks before its answer; it comes before the text."""


@dataclass(frozen=True, slots=True)
class Killed:
    """A device was killed, when so many tokens had come."""

    name: str
    num_tokens: int


@dataclass(frozen=True, slots=True)
class Recovered:
    """The answer went on after a loss."""

    recovery: Recovery


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer is complete."""

    summary: Summary


Event = Starting | Met | Placed | Said | Killed | Recovered | Ended
Show = Callable[[Event], None]
