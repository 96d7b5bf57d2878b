"""Writes small random models, in the layout of real ones, with the `gguf` package."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from mesh.spec import ModelSpec
from mesh.types import Digest

DIGEST = Digest("0" * 64)

SPEC = ModelSpec(
    name="tiny",
    digest=DIGEST,
    architecture="llama",
    num_layers=3,
    hidden_size=64,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    intermediate_size=96,
    vocab_size=128,
    context_length=2048,
    rope_base=10_000.0,
    rms_norm_eps=float(np.float32(1e-5)),
    tied_embeddings=True,
)
UNTIED = replace(SPEC, tied_embeddings=False)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a file is to contain."""

    spec: ModelSpec = SPEC
    linear: str = "Q4_1"
    table: str = "Q8_0"
    without: str = ""
    """A tensor to leave out."""
    misshapen: str = ""
    """A tensor to write with one row block too many."""
    spoilt: str = ""
    """A tensor with one weight that is no number."""
    large: str = ""
    """A tensor with one weight so large that float16 cannot hold its group's scale."""
    beside: tuple[tuple[str, int], ...] = ()
    """Further tensors, [size] each, with weights from 0.5 to 1.5."""
    extra: tuple[tuple[str, str | int], ...] = ()


def tensor_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Name every tensor of the model, as converters do."""
    hidden, inner = spec.hidden_size, spec.intermediate_size
    q_size, kv_size = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
    layer = {
        "attn_norm": (hidden,),
        "attn_q": (q_size, hidden),
        "attn_k": (kv_size, hidden),
        "attn_v": (kv_size, hidden),
        "attn_output": (hidden, q_size),
        "ffn_norm": (hidden,),
        "ffn_gate": (inner, hidden),
        "ffn_up": (inner, hidden),
        "ffn_down": (hidden, inner),
    }
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (spec.vocab_size, hidden)}
    for index in range(spec.num_layers):
        shapes |= {f"blk.{index}.{role}.weight": shape for role, shape in layer.items()}
    shapes["output_norm.weight"] = (hidden,)
    if not spec.tied_embeddings:
        shapes["output.weight"] = (spec.vocab_size, hidden)
    return shapes


def write(path: Path, recipe: Recipe | None = None) -> Path:
    """Write a model of random weights; the same recipe gives the same weights."""
    recipe = recipe or Recipe()
    writer = gguf.GGUFWriter(path, recipe.spec.architecture)
    _write_metadata(writer, recipe)
    generator = np.random.default_rng(7)
    for name, shape in tensor_shapes(recipe.spec).items():
        wrong = shape if name != recipe.misshapen else (shape[0] + 32, *shape[1:])
        weights = _weights(generator, wrong)
        if name == recipe.spoilt:
            weights.flat[7] = np.nan
        if name == recipe.large:
            weights.flat[7] = 4e6
        if name != recipe.without:
            _write_tensor(writer, name, weights, recipe)
    for name, size in recipe.beside:
        writer.add_tensor(name, _weights(generator, (size,)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _weights(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if len(shape) == 1:
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    normal: NDArray[np.float64] = generator.standard_normal(shape) / np.sqrt(shape[1])
    return normal.astype(np.float32)


def _write_metadata(writer: gguf.GGUFWriter, recipe: Recipe) -> None:
    spec = recipe.spec
    writer.add_block_count(spec.num_layers)
    writer.add_context_length(spec.context_length)
    writer.add_embedding_length(spec.hidden_size)
    writer.add_feed_forward_length(spec.intermediate_size)
    writer.add_head_count(spec.num_heads)
    writer.add_head_count_kv(spec.num_kv_heads)
    writer.add_rope_freq_base(spec.rope_base)
    writer.add_layer_norm_rms_eps(spec.rms_norm_eps)
    for key, value in recipe.extra:
        if isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_uint32(key, value)


def _write_tensor(writer: gguf.GGUFWriter, name: str, weights: NDArray[np.float32], recipe: Recipe) -> None:
    if weights.ndim == 1:
        writer.add_tensor(name, weights)
        return
    is_table = name in ("token_embd.weight", "output.weight")
    kind = gguf.GGMLQuantizationType[recipe.table if is_table else recipe.linear]
    writer.add_tensor(name, gguf.quants.quantize(weights, kind), raw_dtype=kind)
