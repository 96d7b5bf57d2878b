"""bf16, which numpy does not have: its bits are the upper half of a float32's.

Owns the two ways. Source: the format as torch and Intel's BF16 have it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_HALF = np.uint32(16)  # bits


def widen(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the numbers [*shape] float32 of bf16's bits [*shape]."""
    return (bits.astype(np.uint32) << _HALF).view(np.float32)


def narrow(numbers: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the bits [*shape] of numbers; what bf16 cannot hold is cut off."""
    return (numbers.view(np.uint32) >> _HALF).astype("<u2")
