"""The tiny model's folder: MiMo's files, as Hugging Face lays them out.

Owns the keys of the JSON files, the vocabulary and the chat template. Must not know training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.tiny_mimo.grammar import END, END_OF_TURN, START_OF_TURN
from benchmarks.tiny_mimo.network import EPSILON, ROPE_BASE, Shape, Weights
from mesh.model.hf_tokenizer import read_tokenizer
from mesh.model.tokenizer import Tokenizer

CONTEXT = 1024

_CHARACTERS = (chr(0x10A), chr(0x120), *map(chr, range(0x21, 0x7F)))
"""GPT-2's letters for newline and space, and the printable ones, which stand for themselves."""
_CONTROL = (END, START_OF_TURN, END_OF_TURN)
_THINKING = ("<think>", "</think>")
_IDS = {letter: token for token, letter in enumerate((*_CHARACTERS, *_CONTROL, *_THINKING))}
VOCAB_SIZE = -(-len(_IDS) // 16) * 16

TEMPLATE = (
    "{%- if messages[0]['role'] == 'system' %}"
    "{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>system\\n<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}"
    "{%- if not (loop.first and message['role'] == 'system') %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
"""ChatML, with an empty system message where the conversation brings none: so MiMo was tuned."""


def write_description(path: Path, shape: Shape) -> Tokenizer:
    """Write all files but the weights, and return the tokenizer as the mesh reads it."""
    path.mkdir(parents=True, exist_ok=True)
    for name, content in _files(shape).items():
        (path / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return read_tokenizer(path)


def write_weights(path: Path, weights: Weights) -> None:
    """Write the tensors in bfloat16."""
    halves = {name: tensor.detach().to(torch.bfloat16) for name, tensor in weights.items()}
    save_file(halves, path / "model.safetensors", {"format": "pt"})


def _files(shape: Shape) -> dict[str, Mapping[str, object]]:
    ends = {"bos_token_id": _IDS[END], "eos_token_id": [_IDS[END_OF_TURN], _IDS[END]]}
    return {
        "config.json": _config(shape),
        "tokenizer.json": _tokenizer(),
        "tokenizer_config.json": _tokenizer_config(),
        "generation_config.json": ends,
    }


def _config(shape: Shape) -> dict[str, object]:
    return {
        "architectures": ["MiMoForCausalLM"],
        "model_type": "mimo",
        "attention_bias": True,
        "attention_dropout": 0.0,
        "bos_token_id": _IDS[END],
        "eos_token_id": _IDS[END_OF_TURN],
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "max_position_embeddings": CONTEXT,
        "num_attention_heads": shape.num_heads,
        "num_hidden_layers": shape.num_layers,
        "num_key_value_heads": shape.num_kv_heads,
        "num_nextn_predict_layers": 1,
        "rms_norm_eps": EPSILON,
        "rope_scaling": None,
        "rope_theta": ROPE_BASE,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": shape.vocab_size,
    }


def _tokenizer() -> dict[str, object]:
    by_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": _IDS[name], "content": name, "special": name in _CONTROL, **flags}
        for name in (*_CONTROL, *_THINKING)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": by_bytes,
        "post_processor": by_bytes,
        "decoder": by_bytes,
        "model": {
            "type": "BPE",
            "vocab": {letter: _IDS[letter] for letter in _CHARACTERS},
            "merges": [],
        },
    }


def _tokenizer_config() -> dict[str, object]:
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "bos_token": None,
        "chat_template": TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": END_OF_TURN,
        "model_max_length": CONTEXT,
        "pad_token": END,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
