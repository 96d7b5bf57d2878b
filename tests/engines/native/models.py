"""Small random models for the native engine, and rows run through their stages.

Each model lies in a folder of its own, because its packs lie beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import gguf
import numpy as np
from numpy.typing import NDArray

from mesh.engines.native import loading
from mesh.engines.native.cache import KvCache
from mesh.engines.native.kernels import Head, Kernels, Kind, load_kernels
from mesh.engines.native.kernels import Stage as StageStruct
from mesh.engines.native.packing import Packed
from mesh.engines.native.stage import Run, Stage
from mesh.model.quant import Floats
from mesh.spec import ModelSpec
from mesh.types import Precision, Span, StageKey
from tests.model.tiny import SPEC, tensor_shapes

Ids = NDArray[np.int64]

PLAIN = replace(SPEC, vocab_size=131)
"""Two query heads on each key-value head; its table has no multiple of 16 rows."""
WIDE = replace(
    PLAIN, num_layers=2, hidden_size=96, num_heads=6, num_kv_heads=2, head_dim=80, intermediate_size=160
)
"""Three on each, in heads that are longer than the 64 numbers taken at once, and no multiple of them."""
LONE = replace(PLAIN, num_layers=2, num_heads=5, num_kv_heads=1, head_dim=32)
"""Five on the only one."""
BIASED = replace(PLAIN, architecture="qwen2", num_layers=2, attention_bias=True)
NORMED = replace(PLAIN, architecture="qwen3", num_layers=2, head_norm=True, tied_embeddings=False)
SCALED = replace(PLAIN, num_layers=2, rope_factors=(1.0, 1.0, 1.5, 2.0, 4.0, 8.0, 8.0, 8.0))
SPECS = {"plain": PLAIN, "wide": WIDE, "lone": LONE, "biased": BIASED, "normed": NORMED, "scaled": SCALED}

KINDS = (*(kind for kind in load_kernels().kinds if kind != load_kernels().kind), load_kernels().kind)
"""What this processor runs, the fastest last."""


def kernels(kind: Kind | None = None) -> Kernels:
    """Load the kernels, for a processor of less abilities if told so."""
    loaded = load_kernels()
    loaded.kind = loaded.kind if kind is None else kind
    return loaded


def shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Name every tensor, those that some families have besides included."""
    named = tensor_shapes(spec)
    sizes = {"q": spec.num_heads * spec.head_dim, "k": spec.num_kv_heads * spec.head_dim}
    sizes["v"] = sizes["k"]
    for layer in range(spec.num_layers):
        if spec.attention_bias:
            named |= {f"blk.{layer}.attn_{role}.bias": (size,) for role, size in sizes.items()}
        if spec.head_norm:
            named |= {f"blk.{layer}.attn_{role}_norm.weight": (spec.head_dim,) for role in "qk"}
    return named


def write(
    folder: Path, spec: ModelSpec, linear: str = "Q4_1", changed: Mapping[str, Floats] | None = None
) -> Path:
    """Write a model of random weights; `changed` has some tensors' own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.gguf"
    writer = gguf.GGUFWriter(path, spec.architecture)
    generator = np.random.default_rng(11)
    for name, shape in shapes(spec).items():
        weights = (changed or {}).get(name, _random(generator, shape))
        kind = gguf.GGMLQuantizationType[linear if name.startswith("blk") else "Q8_0"]
        if weights.ndim == 1:
            writer.add_tensor(name, weights)
        else:
            writer.add_tensor(name, gguf.quants.quantize(weights, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _random(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    if len(shape) == 1:
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    normal: NDArray[np.float64] = generator.standard_normal(shape) / np.sqrt(shape[1])
    return normal.astype(np.float32)


def load(
    path: Path,
    spec: ModelSpec,
    span: Span | None = None,
    precision: Precision = Precision.INT4,
    kind: Kind | None = None,
) -> Stage:
    """Load a span, or all."""
    return loading.load(kernels(kind), path, spec, StageKey(spec.digest, span or spec.whole, precision)).stage


def some_ids(spec: ModelSpec, count: int, seed: int = 3) -> Ids:
    """Draw tokens."""
    return np.random.default_rng(seed).integers(0, spec.vocab_size, count)


def some_rows(spec: ModelSpec, count: int, seed: int = 5) -> Floats:
    """Draw hidden states of bf16 numbers, as one stage gives them to the next."""
    rows = np.random.default_rng(seed).standard_normal((count, spec.hidden_size)).astype(np.float32)
    rows.view(np.uint32)[:] &= np.uint32(0xFFFF0000)
    return rows


def fed(
    stage: Stage, rows: Ids | Floats, chunk: int = 1 << 20, cache: KvCache | None = None, num_threads: int = 1
) -> Floats:
    """Run tokens or hidden states through a stage, so many at once; return hidden states [rows, hidden]."""
    cache = cache or stage.new_cache(len(rows))
    parts = []
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        hidden = _hidden_of(stage, part)
        cache.begin(start, len(hidden))
        assert stage.forward([Run(cache, start, hidden)], num_threads) == [None]
        cache.finish(len(hidden))
        parts.append(hidden)
    return np.concatenate(parts)


def _hidden_of(stage: Stage, rows: Ids | Floats) -> Floats:
    if rows.dtype == np.int64:
        return stage.embed(cast("Ids", rows))
    return rows.astype(np.float32)


def same_bits(one: Floats, other: Floats) -> bool:
    """Whether all bits are equal, those of zeros and of what is no number too."""
    return one.shape == other.shape and one.tobytes() == other.tobytes()


def product(packed: Packed, rows: Floats, kind: Kind | None = None) -> Floats:
    """Norm rows and multiply them with a matrix of any bits, as the output head does."""
    stage = StageStruct(hidden=packed.num_columns, epsilon=1e-5)
    ones = np.ones(packed.num_columns, np.float32)
    built = kernels(kind)
    scratch = np.empty(built.scratch_bytes(stage, len(rows), 0, 1), np.uint8)
    head = Head(ones.ctypes.data, packed.matrix)
    return built.logits(stage, head, rows, scratch.ctypes.data, 1)
