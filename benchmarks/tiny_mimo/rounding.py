"""Weights as they are after rounding to 4 bits, for training that expects it.

Owns the rounding (groups of 32, from least to largest, to the nearest of 16 levels, as the mesh rounds) and
its gradient, which passes straight through. Must not know the network.
"""

from __future__ import annotations

from torch import Tensor

from benchmarks.tiny_mimo.network import Weights
from mesh.spec import INT4_GROUP

_MAX_INT4 = 15


def rounded(weights: Weights) -> dict[str, Tensor]:
    """Round the matrices of all layers; tables, norms and biases stay."""
    return {name: _through(it) if name.endswith("_proj.weight") else it for name, it in weights.items()}


def _through(matrix: Tensor) -> Tensor:
    """Round a matrix [out, in], with the gradient of not rounding (Bengio et al., 2013)."""
    groups = matrix.detach().view(len(matrix), -1, INT4_GROUP)
    least, largest = groups.aminmax(dim=-1, keepdim=True)
    scale = ((largest - least) / _MAX_INT4).clamp_min(1e-12)
    near = ((groups - least) / scale).round() * scale + least
    return matrix + (near.flatten(1) - matrix.detach())
