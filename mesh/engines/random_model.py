"""A model's file of random weights: as large and as slow as the real one, for devices that have none yet.

Owns the shape and the writing. Must not know what is measured on it. Matrices are Q4_0, the table is Q8_0.

Source of the format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mesh.model.families import EMBEDDING, FINAL_NORM, LayerNames
from mesh.model.tensors import TensorType
from mesh.spec import ModelSpec
from mesh.types import Digest

SHAPE = ModelSpec(
    name="smollm2:135m",
    digest=Digest("0" * 64),
    architecture="llama",
    num_layers=30,
    hidden_size=576,
    num_heads=9,
    num_kv_heads=3,
    head_dim=64,
    intermediate_size=1536,
    vocab_size=49_152,
    context_length=8192,
    rope_base=100_000.0,
    rms_norm_eps=1e-5,
    tied_embeddings=True,
)
"""That of the small model which a fresh home starts with."""

_ALIGNMENT = 32
_SCALE = np.float16(0.01)
_POOL_BLOCKS = 1 << 16  # random blocks that are drawn once and repeated; no kernel could tell
_STRING = 8  # a type of value


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    kind: TensorType

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) // self.kind.block_size * self.kind.block_bytes

    @property
    def padding(self) -> int:
        return -self.num_bytes % _ALIGNMENT


def write_random_model(path: Path, spec: ModelSpec = SHAPE) -> None:
    """Write a file of that shape, always with the same weights; only shapes of the llama family are known."""
    tensors = list(_tensors(spec))
    pools = {kind: _pool(kind) for kind in (TensorType.Q4_0, TensorType.Q8_0)}
    with path.open("wb") as file:
        header = _header(spec, tensors)
        file.write(header + bytes(-len(header) % _ALIGNMENT))
        for tensor in tensors:
            file.write(_content(tensor, pools).tobytes() + bytes(tensor.padding))


def _tensors(spec: ModelSpec) -> Iterator[_Tensor]:
    hidden, inner = spec.hidden_size, spec.intermediate_size
    q_size, kv_size = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
    yield _Tensor(EMBEDDING, (spec.vocab_size, hidden), TensorType.Q8_0)
    for names in map(LayerNames, range(spec.num_layers)):
        yield _Tensor(names.attention_norm, (hidden,), TensorType.F32)
        yield _Tensor(names.feed_forward_norm, (hidden,), TensorType.F32)
        yield _Tensor(names.query, (q_size, hidden), TensorType.Q4_0)
        yield _Tensor(names.key, (kv_size, hidden), TensorType.Q4_0)
        yield _Tensor(names.value, (kv_size, hidden), TensorType.Q4_0)
        yield _Tensor(names.attention_output, (hidden, q_size), TensorType.Q4_0)
        yield _Tensor(names.gate, (inner, hidden), TensorType.Q4_0)
        yield _Tensor(names.up, (inner, hidden), TensorType.Q4_0)
        yield _Tensor(names.down, (hidden, inner), TensorType.Q4_0)
    yield _Tensor(FINAL_NORM, (hidden,), TensorType.F32)


def _header(spec: ModelSpec, tensors: list[_Tensor]) -> bytes:
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), 1)]
    parts += [_text("general.architecture"), struct.pack("<I", _STRING), _text(spec.architecture)]
    offset = 0
    for tensor in tensors:
        sizes = tensor.shape[::-1]  # the file counts from the innermost
        parts += [_text(tensor.name), struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)]
        parts.append(struct.pack("<IQ", tensor.kind, offset))
        offset += tensor.num_bytes + tensor.padding
    return b"".join(parts)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _pool(kind: TensorType) -> NDArray[np.uint8]:
    """Random blocks as the format lays them out: one scale, then the numbers."""
    blocks = np.random.default_rng(0).integers(0, 256, (_POOL_BLOCKS, kind.block_bytes), dtype=np.uint8)
    blocks[:, :2] = np.frombuffer(_SCALE.tobytes(), np.uint8)
    return blocks.reshape(-1)


def _content(tensor: _Tensor, pools: dict[TensorType, NDArray[np.uint8]]) -> NDArray[np.generic]:
    """Norms are ones, all else comes from a pool."""
    if tensor.kind is TensorType.F32:
        return np.ones(tensor.shape, np.float32)
    return np.resize(pools[tensor.kind], tensor.num_bytes)
