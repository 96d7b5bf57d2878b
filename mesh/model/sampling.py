"""Sampling as a function: the same logits, settings, seed and position always give the same token.

Owns the draw. Must not know torch, and keeps no state: one uniform number from a counter-based generator
keyed by the seed, at the position as its counter. So a replay repeats the text at any temperature, and a
drafted token is verified by comparing tokens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mesh.errors import InternalError
from mesh.types import Sampling

Ids = NDArray[np.intp]
Doubles = NDArray[np.float64]

_FIRST_CANDIDATES = 256
"""Tokens looked at first for top-p; a full sort of 49,152 logits costs 4 ms, a quarter of a decode step."""


def sample(logits: NDArray[np.float32], sampling: Sampling, position: int) -> int:
    """Draw the token that stands at `position`, from the logits [vocab] of the row before it.

    Temperature 0 takes the largest logit, the lowest id among equals. Otherwise temperature, top-k, top-p
    and min-p apply in this order, as in transformers; tokens that tie with the k-th largest all stay.
    Raises InternalError when a logit is not a number or none is finite.
    """
    largest = logits.max()
    if not np.isfinite(largest):
        raise InternalError(f"logits at position {position} are not numbers; the model's file may be damaged")
    if sampling.temperature == 0.0:
        return int(logits.argmax())
    ids, weights = surviving(logits, sampling)
    cumulative = np.cumsum(weights)
    drawn = uniform(sampling.seed, position) * cumulative[-1]
    return int(ids[min(np.searchsorted(cumulative, drawn, side="right"), len(ids) - 1)])


def uniform(seed: int, position: int) -> float:
    """Return one number of [0, 1): the top 53 bits of a word of Philox4x64-10.

    Its key is (seed, 0) and its counter position + 1, for numpy counts up before it draws. Only the
    generator's raw output is used, which numpy keeps stable; its distributions may change.
    Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (2011).
    """
    raw = int(np.random.Philox(key=seed, counter=position).random_raw())
    return (raw >> 11) * 2.0**-53


def surviving(logits: NDArray[np.float32], sampling: Sampling) -> tuple[Ids, Doubles]:
    """Return the ids that may be drawn, ascending, and their weights, which need not sum to 1."""
    with np.errstate(over="ignore"):  # a tiny temperature sends all but the largest to minus infinity
        scaled = (logits.astype(np.float64) - float(logits.max())) / sampling.temperature
    ids = np.arange(len(logits))
    if sampling.top_k is not None and sampling.top_k < len(ids):
        ids = _at_least(scaled, ids, sampling.top_k)
    if sampling.top_p < 1.0:
        ids = _nucleus(scaled, ids, sampling.top_p)
    weights = np.exp(scaled[ids])
    if sampling.min_p > 0.0:
        kept = weights >= sampling.min_p  # the largest weight is exactly 1
        ids, weights = ids[kept], weights[kept]
    return ids, weights


def _at_least(scaled: Doubles, ids: Ids, count: int) -> Ids:
    """Return the `count` most likely of ids and all that tie with the last of them, in the order of ids."""
    values = scaled[ids]
    if count >= len(ids):
        return ids
    kept: Ids = ids[values >= np.partition(values, -count)[-count]]
    return kept


def _nucleus(scaled: Doubles, ids: Ids, top_p: float) -> Ids:
    """Return the fewest most likely of ids whose probability reaches top_p; equals enter by lowest id."""
    target = top_p * float(np.exp(scaled[ids]).sum())
    count = _FIRST_CANDIDATES
    while True:
        candidates = _at_least(scaled, ids, count)
        ranked = candidates[np.argsort(-scaled[candidates], kind="stable")]
        reached = np.cumsum(np.exp(scaled[ranked]))
        if reached[-1] >= target or len(ranked) == len(ids):
            return np.sort(ranked[: int(np.searchsorted(reached, target)) + 1])
        count *= 8
