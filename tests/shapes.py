"""Shapes of models that several tests reckon with."""

from __future__ import annotations

from mesh.spec import ModelSpec
from mesh.types import Digest

SMOLLM2 = ModelSpec(
    name="smollm2:135m",
    digest=Digest("a" * 64),
    architecture="llama",
    num_layers=30,
    hidden_size=576,
    num_heads=9,
    num_kv_heads=3,
    head_dim=64,
    intermediate_size=1536,
    vocab_size=49152,
    context_length=8192,
    rope_base=100_000.0,
    rms_norm_eps=1e-5,
    tied_embeddings=True,
)
"""SmolLM2-135M-Instruct, as its file says."""
