"""Families of networks: how each differs from the plain Llama network.

Owns the one description of each family; a new family of this kind is one `Family` in the table. Must not
know containers, tensors or how a layer computes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """How one architecture differs from the plain Llama network."""

    architecture: str
    """Name in a GGUF's metadata, and prefix of its keys there."""
    network: str
    """Name under `architectures` in the config.json of a Hugging Face folder."""
    interleaved_rotary: bool = False
    """Whether GGUF files store rows of q and k for rotary pairs (0, 1), (2, 3)... not (i, i + half).

    Folders never do.
    """
    attention_bias: bool = False
    """Whether q, k and v have a bias each."""
    head_norm: bool = False
    """Whether each head of q and k is normalised before its rotary turn."""
    mtp: bool = False
    """Whether its models are trained with a layer for multi-token prediction (MTP)."""


_ALL = (
    Family("llama", "LlamaForCausalLM", interleaved_rotary=True),
    Family("qwen2", "Qwen2ForCausalLM", attention_bias=True),
    Family("qwen3", "Qwen3ForCausalLM", head_norm=True),
    # Its GGUF files say qwen2, which its main network is, and have no MTP layer.
    Family("mimo", "MiMoForCausalLM", attention_bias=True, mtp=True),
)

FAMILIES = {family.architecture: family for family in _ALL}
"""By the architecture that a GGUF names."""

NETWORKS = {family.network: family for family in _ALL}
"""By the class that a config.json names."""
