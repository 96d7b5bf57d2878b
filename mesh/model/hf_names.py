"""What Hugging Face's networks of the Llama kind call their tensors.

Owns the translation to the canonical names and back. Must not know files or shapes.
"""

from __future__ import annotations

import re

_ENDS = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}

_ROLES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}

_KINDS = {"layers": "blk", "mtp_layers": "mtp"}

_OWN_ENDS = {canonical: own for own, canonical in _ENDS.items()}
_OWN_ROLES = {canonical: own for own, canonical in _ROLES.items()}
_OWN_KINDS = {canonical: own for own, canonical in _KINDS.items()}
_OF_A_LAYER = re.compile(r"model\.(layers|mtp_layers)\.(\d+)\.(.+)\.([^.]+)")
_CANONICAL = re.compile(r"(blk|mtp)\.(\d+)\.(.+)\.([^.]+)")


def canonical(own: str) -> str:
    """Translate a tensor's name; what a layer has beside the known tensors keeps its role's name."""
    if found := _OF_A_LAYER.fullmatch(own):
        kind, layer, role, part = found.groups()
        return f"{_KINDS[kind]}.{layer}.{_ROLES.get(role, role)}.{part}"
    return _ENDS.get(own, own)


def spelled(name: str) -> str:
    """Translate a canonical name back."""
    if found := _CANONICAL.fullmatch(name):
        kind, layer, role, part = found.groups()
        return f"model.{_OWN_KINDS[kind]}.{layer}.{_OWN_ROLES.get(role, role)}.{part}"
    return _OWN_ENDS.get(name, name)
