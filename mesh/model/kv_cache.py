"""Keys and values of one session at one stage.

Owns their memory, and how far it is filled. Must not know attention's arithmetic or weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mesh.errors import ContextExceeded, PositionGap
from mesh.model.attention import padded_keys
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


class KvCache:
    """A session's keys and values for all layers of a stage; position is the truth.

    The memory is allotted once, in whole pages, and is zero where nothing was written. Attention's padding
    may read behind the last page; those positions are never written, so the system gives them no memory,
    and `num_bytes` leaves them out.
    """

    def __init__(self, spec: ModelSpec, span: Span, precision: Precision, context: int) -> None:
        self.context = context
        self.num_bytes = spec.cache_bytes(span, context, precision)
        self._length = 0
        positions = padded_keys(-(-context // CACHE_PAGE) * CACHE_PAGE)
        shape = (span.num_layers, 2, spec.num_kv_heads, positions, spec.head_dim)
        self._layers = tuple(LayerCache(layer[0], layer[1]) for layer in _zeros(shape, precision))

    @property
    def length(self) -> int:
        """Positions that are filled."""
        return self._length

    def layer(self, index: int) -> LayerCache:
        """Return the memory of a layer, counted from the stage's first."""
        return self._layers[index]

    def begin(self, start: int, num_tokens: int) -> None:
        """Cut back to `start` and make sure that a frame of rows fits behind it.

        Raises PositionGap when the cache ends before `start` and ContextExceeded when the frame would not
        fit; the cache is then as it was.
        """
        if start > self._length:
            raise PositionGap(
                f"the frame starts at position {start} but the cache ends at {self._length}; "
                "send the positions between them first"
            )
        if start + num_tokens > self.context:
            raise ContextExceeded(
                f"{start + num_tokens} positions do not fit the session's context of {self.context}; "
                "shorten the conversation or open it with a longer context"
            )
        self._length = start

    def finish(self, num_tokens: int) -> None:
        """Count the rows of the frame that began as filled."""
        self._length += num_tokens


def _zeros(shape: tuple[int, ...], precision: Precision) -> Tensor:
    """Return zeros whose memory the system provides on first write, which torch.zeros does not."""
    if precision is Precision.F32:
        return torch.from_numpy(np.zeros(shape, np.float32))
    return torch.from_numpy(np.zeros(shape, np.uint16)).view(torch.bfloat16)
