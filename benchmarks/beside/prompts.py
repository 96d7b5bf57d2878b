"""Prompts of a known length that have nothing in common, so that no cache of earlier ones can help.

Owns the words. Lengths count what the model reads: the template's tokens are part of them.
"""

from __future__ import annotations

import random

from mesh.ports import TextCodec
from mesh.types import ChatMessage

_TEXT = (
    "the house and a river in winter with old people who walk to school under grey rain while birds sing "
    "over green fields where horses sleep near small stones before night comes from far hills again"
)
_WORDS = tuple(_TEXT.split())
_TRIES = 64


class Prompts:
    """Makes prompts for one model."""

    def __init__(self, codec: TextCodec, rng: random.Random) -> None:
        self._codec = codec
        self._rng = rng

    def story(self) -> str:
        """A short prompt whose answer is long."""
        return f"Write a very long story about {' '.join(self._words(4))}."

    def of_length(self, num_tokens: int) -> str:
        """A prompt that the model reads as exactly so many tokens; more where its template has that many."""
        words = self._words(num_tokens)
        for _ in range(_TRIES):
            excess = self._length(words) - num_tokens
            if excess == 0 or (excess > 0 and len(words) == 1):
                break
            words = words[: max(1, len(words) - excess)] if excess > 0 else words + self._words(-excess)
        return " ".join(words)

    def _words(self, count: int) -> list[str]:
        return [self._rng.choice(_WORDS) for _ in range(count)]

    def _length(self, words: list[str]) -> int:
        return len(self._codec.encode_chat([ChatMessage("user", " ".join(words))]))
