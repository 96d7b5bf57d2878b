"""How often the MTP layer guesses what the main network then says.

Owns the comparison, on given text. Must not know how text is made, or training.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.tiny_mimo.network import (
    MAIN_NORM,
    MTP_NORM,
    Chain,
    Shape,
    Weights,
    guess_hidden,
    main_hidden,
    scores,
)


def acceptance(weights: Weights, shape: Shape, tokens: Tensor, chain: Chain) -> tuple[float, ...]:
    """Return the share of each guess of a chain that the main network confirms, on tokens [rows, slots].

    A guess counts where its largest score is the main network's, too, once that has the token before it. All
    tokens come from the text, so each guess is judged as if those before it had been right.
    """
    with torch.inference_mode():
        hidden = main_hidden(weights, shape, tokens)
        said = scores(weights, hidden, MAIN_NORM).argmax(-1)[:, 1:]
        steps = guess_hidden(weights, shape, tokens, hidden, chain)
        guessed = [scores(weights, step, MTP_NORM).argmax(-1) for step in steps]
    return tuple(
        float((guess[:, at:] == said[:, at:]).float().mean().item()) for at, guess in enumerate(guessed)
    )
