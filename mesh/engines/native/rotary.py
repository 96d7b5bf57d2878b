"""Cosines and sines by which heads are turned, position by position.

Owns the tables and their growth. Source: Su et al., RoFormer (2021), in the arithmetic of transformers'
Llama: angles are rounded to float32.
"""

from __future__ import annotations

import numpy as np

from mesh.spec import ModelSpec

_STEP = 1024  # positions by which the tables grow


class Rotary:
    """Tables [positions, head_dim / 2] float32."""

    def __init__(self, spec: ModelSpec) -> None:
        exponents = np.arange(0, spec.head_dim, 2, dtype=np.float32) / np.float32(spec.head_dim)
        frequencies = np.float32(1) / np.power(np.float32(spec.rope_base), exponents, dtype=np.float32)
        if spec.rope_factors:
            frequencies = frequencies / np.asarray(spec.rope_factors, np.float32)
        self._frequencies = frequencies.astype(np.float32)
        self.cosines = np.empty((0, spec.head_dim // 2), np.float32)
        self.sines = self.cosines

    def reserve(self, positions: int) -> None:
        """Make the tables reach at least so far; a position's numbers stay as they are."""
        if positions <= len(self.cosines):
            return
        wanted = np.arange(-(-positions // _STEP) * _STEP, dtype=np.float32)
        angles = (wanted[:, None] * self._frequencies).astype(np.float64)
        self.cosines = np.cos(angles).astype(np.float32)
        self.sines = np.sin(angles).astype(np.float32)
