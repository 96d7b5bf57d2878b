"""One tensor of a model's file after the other, checked, in the forms that memory holds.

Owns the check that weights are numbers, and the order of rows that turns into the half-split rotary form.
Must not know layers, or what the weights are packed into.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mesh.errors import ModelCorrupt
from mesh.model.checkpoint import Checkpoint
from mesh.model.quant import Floats, Groups, Int8Groups, dequantise, to_groups, to_int8_groups
from mesh.spec import ModelSpec

_HALF_ENDS = 65520.0  # what is as large becomes infinite in float16
_TURNED = ("attn_q.weight", "attn_k.weight")


class Reader:
    """Reads tensors by name; each method raises ModelCorrupt naming one with weights that are no numbers."""

    def __init__(self, file: Checkpoint, spec: ModelSpec, *, scales_in_half: bool) -> None:
        self._file = file
        self._spec = spec
        self._scales_end = _HALF_ENDS if scales_in_half else np.inf

    def floats(self, name: str) -> Floats:
        """Return a tensor's weights [*shape] float32."""
        info = self._file.tensors[name]
        weights = dequantise(self._file.raw(name), info.type, info.shape)
        self._check(name, weights, end=np.inf)
        return weights[self._rows(name)]

    def int4(self, name: str) -> Groups:
        """Return a matrix in 4 bits."""
        info, rows = self._file.tensors[name], self._rows(name)
        groups = to_groups(self._file.raw(name), info.type, info.shape)
        self._check(name, groups.scale, groups.minimum, end=self._scales_end)
        return Groups(groups.quants[rows], groups.scale[rows], groups.minimum[rows])

    def int8(self, name: str) -> Int8Groups:
        """Return a matrix in 8 bits."""
        info, rows = self._file.tensors[name], self._rows(name)
        groups = to_int8_groups(self._file.raw(name), info.type, info.shape)
        self._check(name, groups.scale, end=self._scales_end)
        return Int8Groups(groups.quants[rows], groups.scale[rows])

    def _rows(self, name: str) -> NDArray[np.intp] | slice:
        """Return the order that brings rows to the half-split rotary form."""
        if not (self._file.interleaved_rotary and name.endswith(_TURNED)):
            return slice(None)
        num_rows, head_dim = self._file.tensors[name].shape[0], self._spec.head_dim
        order = np.arange(num_rows).reshape(-1, head_dim // 2, 2)  # [heads, pairs, 2]
        return order.transpose(0, 2, 1).reshape(-1)

    def _check(self, name: str, *numbers: Floats, end: float) -> None:
        """Raise ModelCorrupt where a number is none, or so large as `end`."""
        if not all(-end < part.min() and part.max() < end for part in numbers):  # never so for NaN
            own = self._file.spell(name)
            text = f"{self._file.path} has weights in '{own}' that are no numbers; pull the model again"
            raise ModelCorrupt(text)
