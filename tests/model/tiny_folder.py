"""Writes small Hugging Face folders without torch: random weights, a config, and the tiny tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from mesh.model.hf_names import spelled
from tests.model.tiny import SPEC, tensor_shapes
from tests.model.tokenizer_metadata import CONTROL, IM_END, IM_START, MERGES, NORMAL_TOKENS, USER_DEFINED

CONFIG: dict[str, object] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": SPEC.hidden_size,
    "intermediate_size": SPEC.intermediate_size,
    "max_position_embeddings": SPEC.context_length,
    "num_attention_heads": SPEC.num_heads,
    "num_hidden_layers": SPEC.num_layers,
    "num_key_value_heads": SPEC.num_kv_heads,
    "rms_norm_eps": SPEC.rms_norm_eps,
    "rope_theta": SPEC.rope_base,
    "tie_word_embeddings": True,
}

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder is to contain, by the names that tensors have in it."""

    config: dict[str, object] = field(default_factory=dict)
    """Changes to CONFIG; None leaves a key out."""
    without: str = ""
    extra: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    """Further tensors, or others in the place of the right ones."""


def weights(folder: Folder) -> dict[str, NDArray[np.generic]]:
    """Return random tensors by the names in a folder."""
    generator = np.random.default_rng(7)
    made: dict[str, NDArray[np.generic]] = {
        spelled(name): (generator.standard_normal(shape) / 8).astype(np.float32)
        for name, shape in tensor_shapes(SPEC).items()
    }
    made |= folder.extra
    made.pop(folder.without, None)
    return made


def write_folder(path: Path, folder: Folder | None = None) -> Path:
    """Write a folder with one file of tensors, and with a tokenizer."""
    folder = folder or Folder()
    path.mkdir(exist_ok=True)
    config = {key: value for key, value in (CONFIG | folder.config).items() if value is not None}
    (path / "config.json").write_text(json.dumps(config))
    save_file(weights(folder), path / "model.safetensors")
    write_tokenizer(path)
    return path


def write_shards(path: Path) -> Path:
    """Write a folder with two files of tensors and an index."""
    write_folder(path)
    (path / "model.safetensors").unlink()
    tensors = weights(Folder())
    halves = {name: SECOND if ".2." in name else FIRST for name in tensors}
    for shard in (FIRST, SECOND):
        save_file({name: tensors[name] for name in tensors if halves[name] == shard}, path / shard)
    (path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": halves}))
    return path


def tokenizer_json() -> dict[str, object]:
    """Return the tokenizer of `tiny_metadata` as Hugging Face would write it."""
    ids = {text: token for token, text in enumerate([*NORMAL_TOKENS, *CONTROL, *USER_DEFINED])}
    digits = {"type": "Digits", "individual_digits": True}
    by_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": ids[text], "content": text, "special": text in CONTROL, **flags}
        for text in (*CONTROL, *USER_DEFINED)
    ]
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, by_bytes]},
        "post_processor": None,
        "decoder": by_bytes,
        "model": {
            "type": "BPE",
            "vocab": {text: ids[text] for text in (*NORMAL_TOKENS, *CONTROL)},
            "merges": MERGES,
            "unk_token": CONTROL[0],
        },
    }


def write_tokenizer(path: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json."""
    settings = {"eos_token": {"content": "<|im_end|>"}, "bos_token": "<|im_start|>"}
    (path / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": [IM_END, IM_START]}))
