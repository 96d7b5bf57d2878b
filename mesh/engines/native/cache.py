"""Keys and values of one session at one stage, as the kernels read them.

Owns their memory and how far it is filled. Keys lie in blocks of 16 positions, number by number, so that one
instruction meets 16 of them; values lie position after position.
"""

from __future__ import annotations

import numpy as np

from mesh.engines.native.kernels import LANES
from mesh.model.positions import Positions
from mesh.spec import CACHE_PAGE, ModelSpec
from mesh.types import Span


class KvCache(Positions):
    """A session's keys and values in float16 for all layers of a stage.

    The system gives memory when a page is first written, so what is allotted and not used costs nothing.
    """

    def __init__(self, spec: ModelSpec, span: Span, context: int) -> None:
        super().__init__(context)
        self.capacity = -(-context // CACHE_PAGE) * CACHE_PAGE
        """Positions that there is memory for."""
        layers, heads, size = span.num_layers, spec.num_kv_heads, spec.head_dim
        self.keys = np.zeros((layers, heads, self.capacity // LANES, size, LANES), np.uint16)
        self.values = np.zeros((layers, heads, self.capacity, size), np.uint16)

    @property
    def num_bytes(self) -> int:
        """Bytes that were allotted."""
        return self.keys.nbytes + self.values.nbytes

    def copy_from(self, source: KvCache, num_positions: int) -> None:
        """Begin with the first positions of another session's cache of the same stage."""
        num_blocks = -(-num_positions // LANES)
        self.keys[:, :, :num_blocks] = source.keys[:, :, :num_blocks]
        self.values[:, :, :num_positions] = source.values[:, :, :num_positions]
        self.length = num_positions
