"""Prompts of a known length."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from benchmarks.beside.prompts import Prompts
from mesh.ports import Pieces
from mesh.types import ChatMessage, SamplingAdvice


class Wordy:
    """A codec in which a word has one token, a long one two, and the template ten."""

    stop_ids: frozenset[int] = frozenset()
    thinks = False
    vocabulary = "words"
    advice: SamplingAdvice | None = None

    def encode_chat(self, messages: Sequence[ChatMessage]) -> tuple[int, ...]:
        words = messages[0].content.split()
        return (0,) * (10 + sum(2 if len(word) > 5 else 1 for word in words))

    def pieces(self) -> Pieces:
        raise NotImplementedError

    def opens_thinking(self, prompt: Sequence[int]) -> bool:
        raise NotImplementedError


@pytest.mark.parametrize("num_tokens", [11, 48, 1024])
def test_a_prompt_has_the_tokens_that_were_asked_for(num_tokens: int) -> None:
    prompt = Prompts(Wordy(), random.Random(1)).of_length(num_tokens)
    assert len(Wordy().encode_chat([ChatMessage("user", prompt)])) == num_tokens


def test_a_template_that_is_longer_than_the_prompt_ends_with_one_word() -> None:
    assert len(Prompts(Wordy(), random.Random(1)).of_length(5).split()) == 1


def test_no_two_prompts_are_alike() -> None:
    prompts = Prompts(Wordy(), random.Random(1))
    assert prompts.of_length(48) != prompts.of_length(48)
    assert prompts.story() != prompts.story()
