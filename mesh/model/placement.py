"""Where a torch stage lives, and in which form.

Owns the choice of numbers' types and of the form of matrices. Must not know weights, caches or how a card is
chosen: a placement is made once, when a stage is loaded, and nothing in the arithmetic asks for the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

import torch

from mesh.types import Precision


class Form(Enum):
    """How a stage computes."""

    PROCESSOR = auto()
    """By torch's operators for 4 and 8 bits on this processor, in shapes that keep a position's bits."""
    ANYWHERE = auto()
    """By plain operators that every device of torch has: matrices are spread out for each product."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A device of torch, the form in which stages compute there, and their type of numbers.

    In the form PROCESSOR `narrow` is bf16 and the device is the processor. ANYWHERE runs on the processor as
    well, slowly.
    """

    device: torch.device
    form: Form
    narrow: torch.dtype = torch.bfloat16
    """Of hidden states, keys and values in all precisions but f32: bf16, or float16 where the device has no
    bf16. In float16 numbers beyond 65,504 are none, and some models make such."""

    def activation_type(self, precision: Precision) -> torch.dtype:
        """Type of hidden states, keys and values inside a stage."""
        return torch.float32 if precision is Precision.F32 else self.narrow


def row_type(precision: Precision) -> torch.dtype:
    """Type of hidden states between stages, wherever these live: float32 for f32, else bf16."""
    return torch.float32 if precision is Precision.F32 else torch.bfloat16


ON_PROCESSOR = Placement(torch.device("cpu"), Form.PROCESSOR)


def on_card(name: str) -> Placement | None:
    """Return the placement on a graphics card, "cuda" or "mps"; None where torch cannot use one."""
    if name == "cuda" and torch.cuda.is_available():
        # Emulated bf16 is slower than float16.
        return _on(name, has_bf16=torch.cuda.is_bf16_supported(including_emulation=False))
    if name == "mps" and torch.backends.mps.is_available():
        return _on(name, has_bf16=torch.backends.mps.is_macos_or_newer(14, 0))
    return None


def _on(name: str, *, has_bf16: bool) -> Placement:
    return Placement(torch.device(name), Form.ANYWHERE, torch.bfloat16 if has_bf16 else torch.float16)
