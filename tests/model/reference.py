"""An independent network: transformers' Llama, filled with the weights that a file means."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Protocol, cast

import gguf
import numpy as np
import torch
from numpy.typing import NDArray

from mesh.spec import ModelSpec

_ROLES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_ENDS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


class _Output(Protocol):
    logits: torch.Tensor


def reference_logits(path: Path, spec: ModelSpec, ids: torch.Tensor) -> torch.Tensor:
    """Return [tokens, vocab] float32 for ids [tokens], computed at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import LlamaConfig, LlamaForCausalLM
    config = LlamaConfig(
        vocab_size=spec.vocab_size,
        hidden_size=spec.hidden_size,
        intermediate_size=spec.intermediate_size,
        num_hidden_layers=spec.num_layers,
        num_attention_heads=spec.num_heads,
        num_key_value_heads=spec.num_kv_heads,
        head_dim=spec.head_dim,
        rms_norm_eps=spec.rms_norm_eps,
        max_position_embeddings=spec.context_length,
        rope_parameters={"rope_type": "default", "rope_theta": spec.rope_base},
        tie_word_embeddings=spec.tied_embeddings,
    )
    network = LlamaForCausalLM(config).eval()
    missing, unexpected = network.load_state_dict(_state(path, spec), strict=False)
    assert not unexpected
    assert missing == (["lm_head.weight"] if spec.tied_embeddings else [])
    with torch.inference_mode():
        return cast("_Output", network(ids[None])).logits[0]


def _state(path: Path, spec: ModelSpec) -> dict[str, torch.Tensor]:
    return {
        _name(tensor.name): torch.from_numpy(_weights(tensor, spec))
        for tensor in gguf.GGUFReader(path).tensors
    }


def _name(name: str) -> str:
    if name in _ENDS:
        return _ENDS[name]
    _, layer, role, _ = name.split(".")
    return f"model.layers.{layer}.{_ROLES[role]}.weight"


def _weights(tensor: gguf.ReaderTensor, spec: ModelSpec) -> NDArray[np.float32]:
    shape = tuple(int(size) for size in reversed(tensor.shape))
    weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape).astype(np.float32)
    heads = {"attn_q": spec.num_heads, "attn_k": spec.num_kv_heads}.get(tensor.name.split(".")[-2])
    if heads is None:
        return np.array(weights)
    # undoes the converter's `permute`
    pairs = weights.reshape(heads, shape[0] // heads // 2, 2, shape[1])
    return np.array(pairs.swapaxes(1, 2).reshape(shape))
