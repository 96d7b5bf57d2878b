"""MiMo's network for training: a Qwen2 network and one layer that guesses a token further.

Owns the mathematics, in plain torch on tensors under the names that they have in MiMo's folder. Must not
know text, losses or files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Mapping[str, Tensor]

EPSILON = 1e-5
ROPE_BASE = 640_000.0
MAIN_NORM, MTP_NORM = "model.norm", "model.mtp_layers.0.final_layernorm"
_EMBEDDING, _HEAD, _MTP = "model.embed_tokens.weight", "lm_head.weight", "model.mtp_layers.0"


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a network."""

    vocab_size: int
    hidden_size: int = 128
    num_layers: int = 6
    num_heads: int = 4
    num_kv_heads: int = 2
    head_dim: int = 32
    intermediate_size: int = 384

    @property
    def layers(self) -> tuple[str, ...]:
        """Prefixes of the main layers."""
        return tuple(f"model.layers.{layer}" for layer in range(self.num_layers))


@dataclass(frozen=True, slots=True)
class Chain:
    """How the MTP layer is applied again and again."""

    num_guesses: int = 1
    normed: bool = False
    """Whether a guess hands on what the final norm made, else what came before it."""


@dataclass(frozen=True, slots=True)
class KeysValues:
    """What one pass over all slots left behind: [rows, kv_heads, slots, head_dim] each."""

    keys: Tensor
    values: Tensor


def initial(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw the weights that training begins with, ready for gradients."""
    quiet = 1 / math.sqrt(2 * shape.num_layers)  # what adds to the residual stream, as in GPT-2
    made: dict[str, Tensor] = {}
    for name, size in tensor_sizes(shape):
        if len(size) == 1:
            made[name] = torch.zeros(size) if name.endswith("bias") else torch.ones(size)
        else:
            scale = 0.05 * (quiet if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0)
            made[name] = torch.randn(size, generator=generator) * scale
    return {name: tensor.requires_grad_() for name, tensor in made.items()}


def tensor_sizes(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield every tensor's name and size, in the folder's spelling."""
    hidden, table = shape.hidden_size, (shape.vocab_size, shape.hidden_size)
    yield _EMBEDDING, table
    for prefix in (*shape.layers, _MTP):
        yield from _layer_sizes(shape, prefix)
    yield f"{_MTP}.input_proj.weight", (hidden, 2 * hidden)
    for norm in (f"{_MTP}.hidden_layernorm", f"{_MTP}.token_layernorm", MTP_NORM, MAIN_NORM):
        yield f"{norm}.weight", (hidden,)
    yield _HEAD, table


def main_hidden(weights: Weights, shape: Shape, tokens: Tensor) -> Tensor:
    """Run tokens [rows, slots] through the main layers: [rows, slots, hidden] before the final norm."""
    rows = F.embedding(tokens, weights[_EMBEDDING])
    mask = step_mask(tokens.shape[1], 1)
    for prefix in shape.layers:
        rows = _Layer(weights, shape, prefix).forward(rows, [], mask)
    return rows


def guess_hidden(
    weights: Weights, shape: Shape, tokens: Tensor, hidden: Tensor, chain: Chain
) -> list[Tensor]:
    """Apply the MTP layer to the main network's `hidden`, then again to its own output.

    Returns for each guess [rows, slots - 1, hidden] before the final norm. Slot i takes the embedding of
    token i + 1 and predicts token i + 2; in step s its hidden state comes from step s - 1 at slot i - 1, and
    it sees the keys that a chain of s guesses would have: true ones up to slot i - s + 1, its own after them.
    So slots below s - 1 mean nothing.
    """
    embedded, rows = F.embedding(tokens[:, 1:], weights[_EMBEDDING]), hidden[:, :-1]
    earlier: list[KeysValues] = []
    steps: list[Tensor] = []
    for step in range(1, chain.num_guesses + 1):
        entered, mask = _entered(weights, rows, embedded), step_mask(embedded.shape[1], step)
        steps.append(_Layer(weights, shape, _MTP).forward(entered, earlier, mask))
        handed = norm(weights, MTP_NORM, steps[-1]) if chain.normed else steps[-1]
        rows = F.pad(handed, (0, 0, 1, 0))[:, :-1]
    return steps


def scores(weights: Weights, hidden: Tensor, norm_name: str) -> Tensor:
    """Score hidden states [..., hidden] with the shared head: [..., vocab]."""
    return F.linear(norm(weights, norm_name, hidden), weights[_HEAD])


def norm(weights: Weights, name: str, rows: Tensor) -> Tensor:
    """Divide rows by their root mean square, and weigh."""
    return F.rms_norm(rows, rows.shape[-1:], weights[f"{name}.weight"], EPSILON)


def step_mask(slots: int, step: int) -> Tensor | None:
    """Say who sees whom in a chain's step: [slots, step * slots]; None for plain causal attention.

    Keys stand pass after pass. Of the first pass slot i sees those up to i - step + 1, of a later pass t only
    slot i - step + t, which is the chain's own.
    """
    if step == 1:
        return None
    ahead = torch.arange(slots)[:, None] - torch.arange(slots)  # [query, key]
    passes = [ahead >= step - 1, *(ahead == step - later for later in range(2, step + 1))]
    return torch.cat(passes, 1)


def _entered(weights: Weights, hidden: Tensor, embedded: Tensor) -> Tensor:
    """Join what was computed of a token with the token after it, both [rows, slots, hidden]."""
    computed = norm(weights, f"{_MTP}.hidden_layernorm", hidden)
    following = norm(weights, f"{_MTP}.token_layernorm", embedded)
    return F.linear(torch.cat([computed, following], -1), weights[f"{_MTP}.input_proj.weight"])


def _layer_sizes(shape: Shape, prefix: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, intermediate = shape.hidden_size, shape.intermediate_size
    q_size, kv_size = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    yield f"{prefix}.input_layernorm.weight", (hidden,)
    for name, size in (("q", q_size), ("k", kv_size), ("v", kv_size)):
        yield f"{prefix}.self_attn.{name}_proj.weight", (size, hidden)
        yield f"{prefix}.self_attn.{name}_proj.bias", (size,)
    yield f"{prefix}.self_attn.o_proj.weight", (hidden, q_size)
    yield f"{prefix}.post_attention_layernorm.weight", (hidden,)
    yield f"{prefix}.mlp.gate_proj.weight", (intermediate, hidden)
    yield f"{prefix}.mlp.up_proj.weight", (intermediate, hidden)
    yield f"{prefix}.mlp.down_proj.weight", (hidden, intermediate)


@dataclass(frozen=True, slots=True)
class _Layer:
    """One Qwen2 layer, by the prefix of its tensors."""

    weights: Weights
    shape: Shape
    prefix: str

    def forward(self, rows: Tensor, earlier: list[KeysValues], mask: Tensor | None) -> Tensor:
        """Compute [rows, slots, hidden]; adds this pass's keys and values to `earlier` and sees them all."""
        rows = rows + self._attention(self._norm("input_layernorm", rows), earlier, mask)
        entered = self._norm("post_attention_layernorm", rows)
        gated = F.silu(self._linear("mlp.gate_proj", entered)) * self._linear("mlp.up_proj", entered)
        return rows + self._linear("mlp.down_proj", gated)

    def _attention(self, rows: Tensor, earlier: list[KeysValues], mask: Tensor | None) -> Tensor:
        query, key, value = (self._heads(f"self_attn.{name}_proj", rows) for name in "qkv")
        earlier.append(KeysValues(_turned(key), value))
        keys = torch.cat([one.keys for one in earlier], 2)
        values = torch.cat([one.values for one in earlier], 2)
        mixed = self._mixed(_turned(query), (keys, values), mask)
        return self._linear("self_attn.o_proj", mixed.transpose(1, 2).flatten(2))

    def _mixed(self, query: Tensor, seen: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        """Attend, each head to its group's keys and values: [rows, heads, slots, head_dim]."""
        group = self.shape.num_heads // self.shape.num_kv_heads
        keys, values = (part.repeat_interleave(group, 1) for part in seen)
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, is_causal=mask is None)

    def _heads(self, name: str, rows: Tensor) -> Tensor:
        """Project to [rows, heads, slots, head_dim]."""
        projected = self._linear(name, rows)
        return projected.view(*rows.shape[:2], -1, self.shape.head_dim).transpose(1, 2)

    def _linear(self, name: str, rows: Tensor) -> Tensor:
        full = f"{self.prefix}.{name}"
        return F.linear(rows, self.weights[f"{full}.weight"], self.weights.get(f"{full}.bias"))

    def _norm(self, name: str, rows: Tensor) -> Tensor:
        return norm(self.weights, f"{self.prefix}.{name}", rows)


def _turned(heads: Tensor) -> Tensor:
    """Turn [rows, heads, slots, head_dim] by their positions, in pairs (i, i + half)."""
    slots, head_dim = heads.shape[-2:]
    frequencies = ROPE_BASE ** (-torch.arange(0, head_dim, 2) / head_dim)
    angles = torch.arange(slots)[:, None] * frequencies  # [slots, head_dim / 2]
    cosine, sine = angles.cos(), angles.sin()
    first, second = heads.chunk(2, -1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)
