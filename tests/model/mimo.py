"""Small random MiMo folders, and what they must compute: their formulas once more, in plain numpy.

Norms have strongly unequal weights: hidden_layernorm rescales what comes in, so with equal ones it would
hardly matter whether a hidden state is taken before or after the final norm.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from mesh.model.checkpoint import open_checkpoint
from mesh.model.families import model_spec
from mesh.spec import ModelSpec
from mesh.types import Digest

Numbers = NDArray[np.float64]
Tensors = dict[str, NDArray[np.float32]]

NUM_LAYERS, HIDDEN, HEADS, KV_HEADS, DIM, INNER, VOCABULARY = 3, 64, 4, 2, 16, 96, 128
ROPE_BASE, EPSILON = 640_000.0, 1e-5
MTP = "model.mtp_layers.0"

CONFIG: dict[str, object] = {
    "architectures": ["MiMoForCausalLM"],
    "model_type": "mimo",
    "attention_bias": True,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "max_position_embeddings": 512,
    "num_attention_heads": HEADS,
    "num_hidden_layers": NUM_LAYERS,
    "num_key_value_heads": KV_HEADS,
    "num_nextn_predict_layers": 1,
    "rms_norm_eps": EPSILON,
    "rope_theta": ROPE_BASE,
    "tie_word_embeddings": False,
    "vocab_size": VOCABULARY,
}


def tensors(seed: int = 5) -> Tensors:
    """Draw all tensors, in the names and shapes of the published checkpoints."""
    generator = np.random.default_rng(seed)
    return {name: _random(generator, shape) for name, shape in shapes().items()}


def shapes() -> dict[str, tuple[int, ...]]:
    """Name every tensor of a checkpoint."""
    named: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in (*(f"model.layers.{index}" for index in range(NUM_LAYERS)), MTP):
        named |= {f"{layer}.{name}": shape for name, shape in _LAYER.items()}
    named |= {f"{MTP}.{of}_layernorm.weight": (HIDDEN,) for of in ("token", "hidden", "final")}
    named[f"{MTP}.input_proj.weight"] = (HIDDEN, 2 * HIDDEN)
    return named | {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}


_LAYER: dict[str, tuple[int, ...]] = {
    "input_layernorm.weight": (HIDDEN,),
    "self_attn.q_proj.weight": (HEADS * DIM, HIDDEN),
    "self_attn.q_proj.bias": (HEADS * DIM,),
    "self_attn.k_proj.weight": (KV_HEADS * DIM, HIDDEN),
    "self_attn.k_proj.bias": (KV_HEADS * DIM,),
    "self_attn.v_proj.weight": (KV_HEADS * DIM, HIDDEN),
    "self_attn.v_proj.bias": (KV_HEADS * DIM,),
    "self_attn.o_proj.weight": (HIDDEN, HEADS * DIM),
    "post_attention_layernorm.weight": (HIDDEN,),
    "mlp.gate_proj.weight": (INNER, HIDDEN),
    "mlp.up_proj.weight": (INNER, HIDDEN),
    "mlp.down_proj.weight": (HIDDEN, INNER),
}


def _random(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    numbers: Numbers = np.exp(generator.uniform(-1.6, 1.6, shape))
    if len(shape) > 1:
        numbers = generator.standard_normal(shape) / np.sqrt(shape[1])
    return numbers.astype(np.float32)


def write(folder: Path, made: Tensors | None = None, changed: Mapping[str, object] | None = None) -> Path:
    """Write a folder; `changed` are keys of its config, None leaves one out."""
    folder.mkdir(exist_ok=True)
    config = {key: value for key, value in (CONFIG | dict(changed or {})).items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors() if made is None else made, folder / "model.safetensors")
    return folder


def spec_of(path: Path) -> ModelSpec:
    """Read the shape of a model."""
    with open_checkpoint(path) as file:
        return model_spec(file, "mimo:tiny", Digest("7" * 64))


class Reference:
    """The network by its formulas, all positions at once, in float64."""

    def __init__(self, made: Tensors) -> None:
        self._made = {name: weights.astype(np.float64) for name, weights in made.items()}

    def hidden(self, ids: Sequence[int]) -> Numbers:
        """Hidden states [tokens, hidden] behind the last layer, before the final norm."""
        rows = self._made["model.embed_tokens.weight"][list(ids)]
        for index in range(NUM_LAYERS):
            rows = self._layer(f"model.layers.{index}", rows)
        return rows

    def scores(self, hidden: Numbers) -> Numbers:
        """What the main network thinks of the next token: [tokens, vocab]."""
        return self._norm("model.norm", hidden) @ self._made["lm_head.weight"].T

    def joined(self, hidden: Numbers, ids: Sequence[int]) -> Numbers:
        """What goes into the layer for slots of these hidden states, and the token behind each."""
        embedded = self._made["model.embed_tokens.weight"][list(ids)]
        both = (self._norm(f"{MTP}.hidden_layernorm", hidden), self._norm(f"{MTP}.token_layernorm", embedded))
        return np.concatenate(both, axis=1) @ self._made[f"{MTP}.input_proj.weight"].T

    def predicted(self, ids: Sequence[int]) -> Numbers:
        """What the layer makes of all slots of a text: [tokens - 1, hidden], before its final norm."""
        return self._layer(MTP, self.joined(self.hidden(ids)[:-1], ids[1:]))

    def prediction(self, made: Numbers) -> Numbers:
        """Scores of the token two further on: [slots, vocab]."""
        return self._norm(f"{MTP}.final_layernorm", made) @ self._made["lm_head.weight"].T

    def guesses(self, ids: Sequence[int], count: int) -> list[int]:
        """The likeliest tokens behind a text's newest, by the layer applied again to its own output."""
        joined = self.joined(self.hidden(ids)[:-1], ids[1:])
        found: list[int] = []
        for _ in range(count):
            made = self._layer(MTP, joined)[-1:]
            found.append(int(self.prediction(made).argmax()))
            joined = np.concatenate((joined, self.joined(made, found[-1:])))
        return found

    def _norm(self, name: str, rows: Numbers) -> Numbers:
        sizes: Numbers = np.sqrt((rows**2).mean(-1, keepdims=True) + EPSILON)
        return rows / sizes * self._made[f"{name}.weight"]

    def _layer(self, layer: str, rows: Numbers) -> Numbers:
        normed = self._norm(f"{layer}.input_layernorm", rows)
        q, k, v = (
            normed @ self._made[f"{layer}.self_attn.{of}_proj.weight"].T
            + self._made[f"{layer}.self_attn.{of}_proj.bias"]
            for of in "qkv"
        )
        rows = rows + self._attention(q, k, v) @ self._made[f"{layer}.self_attn.o_proj.weight"].T
        normed = self._norm(f"{layer}.post_attention_layernorm", rows)
        gate, up = (normed @ self._made[f"{layer}.mlp.{of}_proj.weight"].T for of in ("gate", "up"))
        gated: Numbers = gate / (1 + np.exp(-gate)) * up
        return rows + gated @ self._made[f"{layer}.mlp.down_proj.weight"].T

    def _attention(self, q: Numbers, k: Numbers, v: Numbers) -> Numbers:
        count = len(q)
        queries = _turned(q.reshape(count, HEADS, DIM))
        keys = _turned(k.reshape(count, KV_HEADS, DIM)).repeat(HEADS // KV_HEADS, 1)
        values = v.reshape(count, KV_HEADS, DIM).repeat(HEADS // KV_HEADS, 1)
        scores = np.einsum("qhd,khd->hqk", queries, keys) / np.sqrt(DIM)
        scores[:, np.triu(np.ones((count, count), bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        shares = weights / weights.sum(-1, keepdims=True)
        mixed: Numbers = np.einsum("hqk,khd->qhd", shares, values)
        return mixed.reshape(count, HEADS * DIM)


def _turned(heads: Numbers) -> Numbers:
    """Turn heads [tokens, heads, dim] by their position; number i pairs with i + dim / 2."""
    frequencies = ROPE_BASE ** (-np.arange(0, DIM, 2) / DIM)
    angles = np.arange(len(heads))[:, None, None] * frequencies
    a, b = heads[..., : DIM // 2], heads[..., DIM // 2 :]
    return np.concatenate(
        (a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)), -1
    )
