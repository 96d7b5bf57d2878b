"""What people ask, for scenarios that do not say it.

Owns the texts. A text of a given length counts one token a byte, as the simulator's codec does for ASCII;
the roles and marks that a conversation gets around it come on top.
"""

from __future__ import annotations

import random

QUESTIONS = (
    "What can I cook with two eggs, some rice and a leek?",
    "Explain to a child why the sky is blue.",
    "Write a short note to the neighbours about the party on Saturday.",
    "Which of my plants should I water today?",
    "How do I get red wine out of a white shirt?",
    "Tell me a story about a lighthouse in five sentences.",
    "Put these in order of size: a grain of rice, a cell, an atom.",
    "What is a polite way to say no to an invitation?",
    "Summarise the rules of chess in one paragraph.",
    "Translate into French: the train leaves at seven in the morning.",
)

_SENTENCES = (
    "Yesterday the kitchen light went on by itself at four in the morning.",
    "My sister thinks that the cat has learned to press the switch.",
    "The washing machine says that it needs eleven more minutes, and has said so for an hour.",
    "Please write down what we should buy before the guests come.",
    "There is bread left, but no butter, and the milk ends today.",
    "The heating in the small room should be lower while nobody is there.",
    "Grandmother called and asked whether the letter had arrived.",
    "We want to leave at nine, so the car should be charged by then.",
)


def question(rng: random.Random) -> str:
    """Draw something that one would ask."""
    return rng.choice(QUESTIONS)


def text_of(num_tokens: int, rng: random.Random) -> str:
    """Make a text of so many tokens (bytes of ASCII) out of whole sentences, the last one cut."""
    first = rng.randrange(len(_SENTENCES))
    order = _SENTENCES[first:] + _SENTENCES[:first]
    once = " ".join(order) + " "
    text = (once * (num_tokens // len(once) + 1))[:num_tokens]
    return text[:-1] + "." if text[-1] == " " else text
