"""Graphics cards of this device: which of them torch can compute on.

Owns the looking. First without torch, whose import takes seconds: most devices of a home have no such card.
"""

from __future__ import annotations

import platform
import sys
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mesh.model.placement import Placement


class Card(StrEnum):
    """A kind of graphics card, by torch's own name; the best first."""

    CUDA = "cuda"
    """NVIDIA's, and AMD's where torch was built for them; the first one that is visible."""
    MPS = "mps"
    """Apple's."""


_DEVICE_FILES = ("nvidiactl", "nvidia0", "nvmap", "kfd", "dxg")
"""Of the drivers of NVIDIA, of its Jetson boards, of AMD, and of Linux within Windows."""


def likely(devices: Path = Path("/dev")) -> tuple[Card, ...]:
    """Return the cards that may be here; looking costs nothing."""
    if sys.platform == "darwin":
        return (Card.MPS,) if platform.machine() == "arm64" else ()
    if sys.platform == "win32":
        return (Card.CUDA,)  # there is no file to look for
    return (Card.CUDA,) if any((devices / name).exists() for name in _DEVICE_FILES) else ()


def placement_on(card: Card) -> Placement | None:
    """Return how torch computes on a card; None where it cannot. Imports torch if the card is likely."""
    if card not in likely():
        return None
    found: Placement | None = import_module("mesh.model.placement").on_card(card.value)
    return found


def usable() -> tuple[Card, ...]:
    """Return the cards that torch can compute on."""
    return tuple(card for card in likely() if placement_on(card))
