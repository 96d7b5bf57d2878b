"""Small random networks of each family as transformers has them, and the folders that it saves."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import gguf
import numpy as np
import torch
from numpy.typing import NDArray

VOCABULARY = 128
LLAMA3_ROPE = {
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


class _Output(Protocol):
    logits: torch.Tensor


class Network(Protocol):
    """What the tests use of a transformers model."""

    def __call__(self, ids: torch.Tensor) -> _Output: ...

    def save_pretrained(self, folder: Path, max_shard_size: str = "1GB") -> None: ...

    def named_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]: ...

    def get_buffer(self, name: str) -> torch.Tensor: ...

    def to(self, kind: torch.dtype) -> Network: ...


@dataclass(frozen=True, slots=True)
class Shape:
    """What the tests vary."""

    family: str = "llama"
    tied: bool = False
    llama3: bool = False


def network(shape: Shape) -> Network:
    """Make a random network in float32; the same shape gives the same weights.

    Weights are large enough that every part shows in the logits, biases and norms included.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers
    prefix = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}[shape.family]
    rope = (
        {"rope_type": "llama3", **LLAMA3_ROPE}
        if shape.llama3
        else {"rope_type": "default", "rope_theta": 20_000.0}
    )
    config = getattr(transformers, f"{prefix}Config")(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32 if shape.family == "qwen3" else 16,
        rms_norm_eps=1e-6,
        max_position_embeddings=512,
        rope_parameters=rope,
        tie_word_embeddings=shape.tied,
    )
    made = getattr(transformers, f"{prefix}ForCausalLM")(config).eval()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for _, weights in sorted(made.named_parameters()):
            weights.copy_(_random(weights, generator))
    return cast("Network", made)


def _random(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if like.ndim == 1:
        return torch.rand(like.shape, generator=generator) + 0.5
    return torch.randn(like.shape, generator=generator) / math.sqrt(like.shape[1])


def save(made: Network, folder: Path, shard_size: str = "1GB") -> Path:
    """Save a network as transformers does; a small shard size makes several files and an index."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.save_pretrained(folder, max_shard_size=shard_size)
    return folder


def write_gguf(made: Network, path: Path, shape: Shape) -> Path:
    """Write a network in float32 as the usual converter does, by the `gguf` package's own names."""
    writer = gguf.GGUFWriter(path, shape.family)
    for add, value in _METADATA:
        getattr(writer, add)(value)
    head_dim = 32 if shape.family == "qwen3" else 16
    writer.add_key_length(head_dim)
    writer.add_rope_freq_base(LLAMA3_ROPE["rope_theta"] if shape.llama3 else 20_000.0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[shape.family.upper()], 3)
    for own, weights in made.named_parameters():
        turned = shape.family == "llama" and own.endswith(("q_proj.weight", "k_proj.weight"))
        numbers = weights.detach().numpy()
        writer.add_tensor(names.get_name(own, (".weight", ".bias")), _turn(numbers) if turned else numbers)
    if shape.llama3:
        plain = 1.0 / LLAMA3_ROPE["rope_theta"] ** (np.arange(0, head_dim, 2) / head_dim)
        scaled = made.get_buffer("model.rotary_emb.inv_freq").numpy()
        writer.add_tensor("rope_freqs.weight", (plain / scaled).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


_METADATA: tuple[tuple[str, int | float], ...] = (
    ("add_block_count", 3),
    ("add_context_length", 512),
    ("add_embedding_length", 64),
    ("add_feed_forward_length", 96),
    ("add_head_count", 4),
    ("add_head_count_kv", 2),
    ("add_layer_norm_rms_eps", 1e-6),
)


def _turn(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Interleave the halves of each head of 16 rows, as the converter's `permute` does."""
    halves = weights.reshape(-1, 2, 8, weights.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weights.shape))


def logits_of_network(made: Network, ids: torch.Tensor) -> torch.Tensor:
    """Return [tokens, vocab] float32 for ids [tokens]."""
    with torch.inference_mode():
        logits: torch.Tensor = made(ids[None]).logits[0]
    return logits
