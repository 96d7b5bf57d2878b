"""From a Hugging Face config.json to the metadata of a GGUF file.

Owns the keys of config.json, and the refusal of what would run but compute something else than the model
means. Must not know tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mesh.errors import ModelCorrupt, UnsupportedModel
from mesh.model.family import NETWORKS, Family
from mesh.model.metadata import Keys, Value


@dataclass(frozen=True, slots=True)
class Config:
    """What a config.json says; made by `read_config`."""

    family: Family
    metadata: dict[str, Value]
    """Under the names that GGUF gives the keys."""
    rope_factors: tuple[float, ...]
    """What the rotary frequencies are divided by; empty where they are not scaled."""
    tied: bool | None
    """Whether the embedding serves as output head; None where the tensors have to tell."""


def read_config(path: Path, content: Mapping[str, object]) -> Config:
    """Understand a config.json.

    Raises UnsupportedModel naming a network or variant that is not computed, with what is; ModelCorrupt
    naming a key that is missing or makes no sense.
    """
    family = _family(path, content)
    keys = Keys(path, content)
    _refuse_variants(keys, family)
    head_dim = keys.count("head_dim", keys.count("hidden_size") // keys.count("num_attention_heads"))
    rope = _rope(path, content)
    base = rope.number("rope_theta", keys.number("rope_theta", 10_000.0))
    tied = keys.flag("tie_word_embeddings", False) if "tie_word_embeddings" in content else None
    metadata = _metadata(keys, family) | {
        f"{family.architecture}.attention.key_length": head_dim,
        f"{family.architecture}.rope.freq_base": base,
    }
    return Config(family, metadata, _rope_factors(rope, base, head_dim), tied)


def _metadata(keys: Keys, family: Family) -> dict[str, Value]:
    num_heads = keys.count("num_attention_heads")
    values: dict[str, Value] = {
        "block_count": keys.count("num_hidden_layers"),
        "embedding_length": keys.count("hidden_size"),
        "feed_forward_length": keys.count("intermediate_size"),
        "context_length": keys.count("max_position_embeddings"),
        "nextn_predict_layers": keys.count("num_nextn_predict_layers", 0),
        "attention.head_count": num_heads,
        "attention.head_count_kv": keys.count("num_key_value_heads", num_heads),
        "attention.layer_norm_rms_epsilon": keys.number("rms_norm_eps", 1e-6),
    }
    full = {f"{family.architecture}.{key}": value for key, value in values.items()}
    return {"general.architecture": family.architecture, **full}


def _family(path: Path, content: Mapping[str, object]) -> Family:
    named = content.get("architectures")
    network = named[0] if isinstance(named, list) and named else None
    if not isinstance(network, str):
        raise ModelCorrupt(f"{path} has no 'architectures'; take the folder of a whole model")
    family = NETWORKS.get(network)
    if family is None:
        supported = ", ".join(NETWORKS)
        raise UnsupportedModel(f"{path} is of the network '{network:.60}'; supported: {supported}")
    return family


def _refuse_variants(keys: Keys, family: Family) -> None:
    wrong = [key for key, plain in _PLAIN.items() if keys.metadata.get(key) not in (None, plain)]
    if keys.flag("attention_bias", False) and not family.attention_bias:
        wrong.append("attention_bias")
    if any(kind != "full_attention" for kind in _texts(keys.metadata.get("layer_types"))):
        wrong.append("layer_types")
    if wrong:
        shown = repr(keys.metadata[wrong[0]])[:60]
        raise UnsupportedModel(
            f"{keys.path} has {wrong[0]} {shown}, which is not computed; take another model"
        )


_PLAIN: dict[str, object] = {
    "hidden_act": "silu",
    "mlp_bias": False,
    "use_sliding_window": False,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}
"""What the network computes, by the keys under which others say that they differ."""


def _texts(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _rope(path: Path, content: Mapping[str, object]) -> Keys:
    """Return the settings of the rotary positions: `rope_parameters`, older folders have `rope_scaling`."""
    key = "rope_parameters" if content.get("rope_parameters") else "rope_scaling"
    found = content.get(key) or {}
    return Keys(path, found) if isinstance(found, dict) else Keys(path, content).wrong(key, "a JSON object")


def _rope_factors(rope: Keys, base: float, head_dim: int) -> tuple[float, ...]:
    kind = rope.text("rope_type", rope.text("type", "default"))
    if kind == "default":
        return ()
    if kind != "llama3":
        raise UnsupportedModel(
            f"{rope.path} scales its rotary positions ({kind:.40}); supported: default, llama3"
        )
    frequencies = (base ** (-2 * pair / head_dim) for pair in range(head_dim // 2))
    return tuple(_llama3_factor(rope, frequency) for frequency in frequencies)


def _llama3_factor(rope: Keys, frequency: float) -> float:
    """Return what one frequency is divided by: slow turns by `factor`, fast ones by 1, a ramp between.

    Source: Llama Team, The Llama 3 Herd of Models (2024), in the form of transformers'
    `_compute_llama3_parameters`.
    """
    factor, trained = rope.number("factor"), rope.number("original_max_position_embeddings")
    low, high = rope.number("low_freq_factor"), rope.number("high_freq_factor")
    turns = trained * frequency / (2 * math.pi)
    if high <= low:
        rope.wrong("high_freq_factor", "more than low_freq_factor")
    smooth = min(1.0, max(0.0, (turns - low) / (high - low)))
    return 1 / ((1 - smooth) / factor + smooth)
