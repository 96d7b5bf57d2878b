"""What one measurement gave.

Pure values; both systems give the same kind, so that they can be put side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Work:
    """How much is asked of both systems."""

    decode_tokens: int = 128
    """Longest answer, of one user and of each of many."""
    prompt_tokens: int = 1024
    """Of the prefill."""
    num_users: int = 8
    user_prompt_tokens: int = 48
    """Of a short prompt; the mesh's template alone takes 31."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement."""

    tokens_per_s: float
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds of processor by process, loading and warming up included where the tool does that each time."""
