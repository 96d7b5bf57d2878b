"""Keys and values of one session at one stage.

Owns their memory. How far it is filled is in `mesh.model.positions`. Must not know attention's arithmetic or
weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mesh.model.attention import padded_keys
from mesh.model.placement import ON_PROCESSOR, Placement
from mesh.model.positions import Positions
from mesh.spec import CACHE_PAGE, ModelSpec
from mesh.types import Precision, Span


@dataclass(frozen=True, slots=True)
class LayerCache:
    """Keys and values of one layer: each [kv_heads, positions, head_dim]."""

    keys: Tensor
    values: Tensor

    def write(self, start: int, keys: Tensor, values: Tensor) -> None:
        """Store rows [tokens, kv_heads, head_dim] from a position on."""
        end = start + keys.shape[0]
        self.keys[:, start:end] = keys.transpose(0, 1)
        self.values[:, start:end] = values.transpose(0, 1)


class KvCache(Positions):
    """A session's keys and values for all layers of a stage.

    The memory is allotted once, in whole pages, and is zero where nothing was written. On a processor
    attention's padding may read behind the last page; those positions are never written, so the system gives
    them no memory, and `num_bytes` leaves them out.
    """

    def __init__(
        self,
        spec: ModelSpec,
        span: Span,
        precision: Precision,
        context: int,
        placement: Placement = ON_PROCESSOR,
    ) -> None:
        super().__init__(context)
        self.num_bytes = spec.cache_bytes(span, context, precision)
        positions = padded_keys(-(-context // CACHE_PAGE) * CACHE_PAGE, placement.form)
        shape = (span.num_layers, 2, spec.num_kv_heads, positions, spec.head_dim)
        self._all = _zeros(shape, placement.activation_type(precision), placement.device)
        self._layers = tuple(LayerCache(layer[0], layer[1]) for layer in self._all)

    def layer(self, index: int) -> LayerCache:
        """Return the memory of a layer, counted from the stage's first."""
        return self._layers[index]

    def copy_from(self, source: KvCache, num_positions: int) -> None:
        """Begin with the first positions of another session's cache of the same stage."""
        with torch.inference_mode():  # only there may caches be written, that were made there
            self._all[..., :num_positions, :] = source._all[..., :num_positions, :]
        self.length = num_positions

    def wipe(self, num_positions: int) -> None:
        """Set so many positions behind the end to zero.

        What is no number would spoil later frames from there: attention gives what it must not see the
        weight 0, and 0 times such a number is none.
        """
        with torch.inference_mode():
            self._all[..., self.length : self.length + num_positions, :] = 0


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return zeros; on a processor their memory comes with the first write, unlike that of torch.zeros."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    num_bytes = math.prod(shape) * dtype.itemsize
    return torch.from_numpy(np.zeros(num_bytes, np.uint8)).view(dtype).view(shape)
