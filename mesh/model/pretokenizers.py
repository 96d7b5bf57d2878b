"""How text is cut into words before BPE merges their bytes: one entry for each `tokenizer.ggml.pre`.

Owns the table and its patterns. They are facts of the models, published in each model's own
`tokenizer.json`; a wrong one gives valid ids that the model was never trained on. Must not know
vocabularies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Regex
from tokenizers.normalizers import NFC, Normalizer
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split

from mesh.errors import UnsupportedModel

_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"


@dataclass(frozen=True, slots=True)
class PreTokenization:
    """What happens to text before BPE."""

    split: Callable[[], PreTokenizer]
    normalizer: Callable[[], Normalizer] | None = None
    ignore_merges: bool = False
    """Whether a word that is a token as it stands is taken whole, even where the merges miss it."""


def _gpt2() -> PreTokenizer:
    return ByteLevel(add_prefix_space=False, use_regex=True)


def _single_digits() -> PreTokenizer:
    return Sequence([Digits(individual_digits=True), _gpt2()])


def _cl100k(digits: str) -> PreTokenizer:
    """Return the cut of tiktoken's cl100k family, which differ in how many digits stay together."""
    pattern = Regex("|".join([_CONTRACTION, _WORD, digits, _SYMBOLS, _SPACES]))
    return Sequence([Split(pattern, "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])


_GPT2 = PreTokenization(_gpt2)
_QWEN2 = PreTokenization(lambda: _cl100k(r"\p{N}"), normalizer=NFC)
_LLAMA3 = PreTokenization(lambda: _cl100k(r"\p{N}{1,3}"), ignore_merges=True)

PRE_TOKENIZATIONS = {
    "default": _GPT2,
    "deepseek-r1-qwen": _QWEN2,
    "gpt-2": _GPT2,
    "llama-bpe": _LLAMA3,
    "llama-v3": _LLAMA3,
    "llama3": _LLAMA3,
    "qwen2": _QWEN2,
    "smollm": PreTokenization(_single_digits),
}
"""By the file's `tokenizer.ggml.pre`; "default" means that the converter did not know, and GPT-2 is meant."""


def pre_tokenization(name: str) -> PreTokenization:
    """Look up a pre-tokenizer; raise UnsupportedModel naming it and those that there are."""
    if found := PRE_TOKENIZATIONS.get(name):
        return found
    known = ", ".join(sorted(PRE_TOKENIZATIONS))
    raise UnsupportedModel(
        f"the model's pre-tokenizer '{name:.40}' is not supported; take a model of: {known}"
    )
