"""Trains the tiny MiMo and writes its folder: `python -m benchmarks.tiny_mimo.train --out FOLDER`.

Owns the lessons: what is read when, the loss, the optimiser. The main network and the MTP layer learn
together, the layer also on its own output, so that a chain of guesses holds; towards the end every other step
computes with weights rounded to 4 bits. Same seed, machine and threads, same weights; tests/data/tiny-mimo is
what `--threads 1` wrote.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.tiny_mimo.acceptance import acceptance
from benchmarks.tiny_mimo.folder import VOCAB_SIZE, write_description, write_weights
from benchmarks.tiny_mimo.grammar import documents
from benchmarks.tiny_mimo.network import (
    MAIN_NORM,
    MTP_NORM,
    Chain,
    Shape,
    Weights,
    guess_hidden,
    initial,
    main_hidden,
    scores,
)
from benchmarks.tiny_mimo.rounding import rounded
from mesh.model.tokenizer import Tokenizer

_UNSEEN = 1_000_003  # added to the seed for text that is measured on
_NUM_MEASURED = 3  # guesses in a chain


@dataclass(frozen=True, slots=True)
class Lessons:
    """How long and on what to train."""

    num_steps: int = 2000
    seed: int = 1
    num_tokens: int = 1536
    """Of one step."""
    row_length: int = 256
    long_row_length: int = 768
    """Of the last fifth of the steps, so that far positions are known."""
    rate: float = 3e-3
    guess_weights: tuple[float, ...] = (0.5, 0.2)
    """What the loss of each guess in a chain counts beside the main network's."""
    report_every: int = 100

    def row_length_at(self, step: int) -> int:
        """Tokens in a row."""
        return self.long_row_length if step >= 0.8 * self.num_steps else self.row_length

    def rate_at(self, step: int) -> float:
        """Rise for a twentieth of the steps, then fall to nothing along half a cosine."""
        rising = (step + 1) / (0.05 * self.num_steps + 1)
        return self.rate * min(rising, 0.5 + 0.5 * math.cos(math.pi * step / self.num_steps))

    def is_rounded(self, step: int) -> bool:
        """Whether a step computes with rounded weights."""
        return step >= 0.7 * self.num_steps and step % 2 == 1


def train(path: Path, shape: Shape, lessons: Lessons) -> dict[str, Tensor]:
    """Train a network, and write its folder; returns the weights in float32."""
    tokenizer = write_description(path, shape)
    weights = initial(shape, torch.Generator().manual_seed(lessons.seed))
    optimizer = _optimizer(weights)
    random = Random(lessons.seed)
    for step in range(lessons.num_steps):
        tokens = batch(tokenizer, random, lessons.num_tokens, lessons.row_length_at(step))
        used = rounded(weights) if lessons.is_rounded(step) else weights
        losses = _losses(used, shape, tokens, len(lessons.guess_weights))
        _learn(optimizer, losses, lessons, step)
        if (step + 1) % lessons.report_every == 0:
            _report(step + 1, losses, accepted(weights, shape, tokenizer, lessons))
    write_weights(path, weights)
    return weights


def batch(tokenizer: Tokenizer, random: Random, num_tokens: int, row_length: int) -> Tensor:
    """Return tokens [rows, row_length]; each row begins with a document."""
    return torch.tensor([_row(tokenizer, random, row_length) for _ in range(num_tokens // row_length)])


def accepted(weights: Weights, shape: Shape, tokenizer: Tokenizer, lessons: Lessons) -> tuple[float, ...]:
    """Measure a chain's guesses on text that the training never sees."""
    random = Random(lessons.seed + _UNSEEN)
    tokens = batch(tokenizer, random, lessons.num_tokens, lessons.row_length)
    return acceptance(weights, shape, tokens, Chain(_NUM_MEASURED))


def _row(tokenizer: Tokenizer, random: Random, row_length: int) -> list[int]:
    ids: list[int] = []
    for document in documents(random):
        ids += tokenizer.encode(document)
        if len(ids) >= row_length:
            break
    return ids[:row_length]


def _optimizer(weights: Weights) -> torch.optim.Optimizer:
    matrices = [one for one in weights.values() if one.ndim > 1]
    others = [one for one in weights.values() if one.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95))


def _losses(weights: Weights, shape: Shape, tokens: Tensor, num_guesses: int) -> list[Tensor]:
    """Return the cross entropies of the main network and of each guess in a chain."""
    hidden = main_hidden(weights, shape, tokens)
    steps = guess_hidden(weights, shape, tokens, hidden, Chain(num_guesses))
    losses = [_cross_entropy(scores(weights, hidden[:, :-1], MAIN_NORM), tokens[:, 1:])]
    for at, step in enumerate(steps):
        losses.append(_cross_entropy(scores(weights, step[:, at:-1], MTP_NORM), tokens[:, 2 + at :]))
    return losses


def _cross_entropy(predicted: Tensor, tokens: Tensor) -> Tensor:
    return F.cross_entropy(predicted.flatten(0, 1), tokens.flatten())


def _learn(optimizer: torch.optim.Optimizer, losses: list[Tensor], lessons: Lessons, step: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lessons.rate_at(step)
    counted = zip((1.0, *lessons.guess_weights), losses, strict=True)
    optimizer.zero_grad()
    torch.stack([weight * loss for weight, loss in counted]).sum().backward()  # type: ignore[no-untyped-call]
    for group in optimizer.param_groups:
        torch.nn.utils.clip_grad_norm_(group["params"], 1.0)
    optimizer.step()


def _report(step: int, losses: list[Tensor], shares: tuple[float, ...]) -> None:
    shown = " ".join(f"{loss.item():.3f}" for loss in losses)
    print(f"{step:5} losses {shown}, accepted {' '.join(f'{share:.3f}' for share in shares)}", flush=True)  # noqa: T201


def main() -> None:
    """Train as the command line says."""
    usual = Lessons()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=usual.num_steps)
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    train(given.out, Shape(VOCAB_SIZE), Lessons(given.steps, given.seed))


if __name__ == "__main__":
    main()
