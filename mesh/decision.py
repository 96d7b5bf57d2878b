"""What is decided for a request, and why: the values that explain it.

Owns the words of a decision: what a request may use, which ways there are to answer it, what each is
expected to take, and which was chosen. Must not know how any of that is reckoned.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mesh.errors import BadSetting
from mesh.types import Plan, Span


class Privacy(StrEnum):
    """How far a request may go."""

    DEVICE = "device"
    """Not beyond the device that it was asked on."""
    MESH = "mesh"
    """Not beyond the devices of the mesh, and servers in the house."""
    CLOUD = "cloud"
    """Anywhere."""

    @classmethod
    def parse(cls, text: str) -> Privacy:
        """Read one; raise BadSetting that names the text and the valid words."""
        try:
            return cls(text)
        except ValueError:
            raise BadSetting(f"'{text}' is no privacy; say one of: {', '.join(cls)}") from None


class OptionKind(StrEnum):
    """In which way a request is answered."""

    DEVICE = "device"
    """One device holds the whole model."""
    SPLIT = "split"
    """Several share its layers."""
    UPSTREAM = "upstream"
    """A server that is not of the mesh."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What an answer is expected to take, in seconds."""

    load_s: float
    """Until the weights are in memory; 0 where they are."""
    prefill_s: float
    """From there to the first token: the prompt, and the ways."""
    token_s: float
    """For each further token."""
    num_tokens: int
    """Of the answer, as it is taken for; at least 1."""
    energy_j: float = 0.0
    """Joules of all devices, by what such devices draw; 0 where that is not known."""
    battery_j: float = 0.0
    """Of these, from batteries that are not charged."""

    @property
    def first_token_s(self) -> float:
        """Until the first token."""
        return self.load_s + self.prefill_s

    @property
    def last_token_s(self) -> float:
        """Until the last token."""
        return self.first_token_s + (self.num_tokens - 1) * self.token_s


@dataclass(frozen=True, slots=True)
class Share:
    """The part of one device in an option."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Option:
    """One way to answer a request."""

    kind: OptionKind
    model: str
    shares: tuple[Share, ...] = ()
    """In the order of the layers; none for an upstream."""
    upstream: str | None = None
    """Its name."""
    prediction: Prediction | None = None
    """None where too little is known."""
    excluded: str | None = None
    """Why it is not to be had; None where it is."""
    waits_for: str | None = None
    """The device that lacks the memory until other answers end; None where there is room now."""

    @property
    def name(self) -> str:
        """Who answers: 'tv', 'phone + car', or an upstream's name."""
        if self.upstream is not None:
            return self.upstream
        return " + ".join(share.name for share in self.shares)


@dataclass(frozen=True, slots=True)
class Decision:
    """How a request is answered, and what else there was."""

    model: str
    privacy: Privacy
    num_prompt: int
    """Positions of the prompt."""
    options: tuple[Option, ...]
    """The best first; those that are not to be had last."""
    reason: str
    """A sentence that says why the first is the best, or why there is none."""
    notes: tuple[str, ...] = ()
    """What of that which devices announce is not believed, a sentence each."""

    @property
    def chosen(self) -> Option | None:
        """The best; None where none is to be had."""
        return next((option for option in self.options if option.excluded is None), None)


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a request would be answered if it were made now."""

    decision: Decision
    plan: Plan | None
    """The best of the mesh; None where it has none."""
