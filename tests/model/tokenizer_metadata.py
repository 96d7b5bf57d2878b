"""The metadata of a tokenizer small enough to read: every byte, a few merges, control tokens."""

from __future__ import annotations

LETTERS = [
    *map(chr, range(0x100, 0x121)),  # bytes 0x00 to 0x20
    *map(chr, range(0x21, 0x7F)),
    *map(chr, range(0x121, 0x143)),  # bytes 0x7F to 0xA0
    *map(chr, range(0xA1, 0xAD)),
    chr(0x143),  # byte 0xAD
    *map(chr, range(0xAE, 0x100)),
]
"""GPT-2's letter for each byte, in order of the bytes: a letter's place is its byte."""

MERGES = ["h e", "l l", "he ll", "Ġ w", "1 2", "ð Ł", "e \u0301".replace("\u0301", "Ì")]
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
USER_DEFINED = ["<think>", "très"]

NORMAL_TOKENS = [*LETTERS, *(merge.replace(" ", "") for merge in MERGES)]
IM_START = len(NORMAL_TOKENS) + 1
IM_END = len(NORMAL_TOKENS) + 2
THINK = len(NORMAL_TOKENS) + 3


def tiny_metadata(**changes: object) -> dict[str, object]:
    """Return a GGUF's metadata of the tiny tokenizer; a change to None leaves that key out."""
    fields: dict[str, object] = {
        "model": "gpt2",
        "pre": "smollm",
        "tokens": (*NORMAL_TOKENS, *CONTROL, *USER_DEFINED),
        "token_type": (*[1] * len(NORMAL_TOKENS), *[3] * len(CONTROL), *[4] * len(USER_DEFINED)),
        "merges": tuple(MERGES),
        "eos_token_id": IM_END,
        **changes,
    }
    return {f"tokenizer.ggml.{name}": value for name, value in fields.items() if value is not None}
