"""Sampling: a function of its arguments, that keeps the right tokens and draws them at the right rate."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mesh.errors import InternalError
from mesh.model.sampling import sample, surviving, uniform
from mesh.types import Sampling

PINNED = {
    (0, 0): 0.011546754286331562,
    (0, 1): 0.5023796042735054,
    (1, 0): 0.3035680343067586,
    (1, 7): 0.3458819940993094,
    (2**64 - 1, 8191): 0.27645601336032455,
}
"""Uniforms by (seed, position): a release of numpy that draws others would change every text."""


def _logits(seed: int = 1, size: int = 2000) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal(size) * 3).astype(np.float32)


def _survivors(logits: NDArray[np.float32], sampling: Sampling) -> list[int]:
    return [int(token) for token in surviving(logits, sampling)[0]]


def test_uniforms_are_pinned() -> None:
    assert {key: uniform(*key) for key in PINNED} == PINNED


def _philox(key: int, counter: int) -> int:
    """First word of Philox4x64-10, written down from its paper."""
    mask, words, keys = 2**64 - 1, [counter, 0, 0, 0], [key, 0]
    for _ in range(10):
        left, right = 0xD2E7470EE14C6C93 * words[0], 0xCA5A826395121157 * words[2]
        words = [
            (right >> 64) ^ words[1] ^ keys[0],
            right & mask,
            (left >> 64) ^ words[3] ^ keys[1],
            left & mask,
        ]
        keys = [(keys[0] + 0x9E3779B97F4A7C15) & mask, (keys[1] + 0xBB67AE8584CAA73B) & mask]
    return words[0]


def test_uniforms_are_those_of_the_published_generator() -> None:
    for seed, position in [*PINNED, (123_456_789, 31)]:
        assert uniform(seed, position) == (_philox(seed, position + 1) >> 11) * 2.0**-53


def test_temperature_zero_takes_the_largest_and_the_lowest_id_of_equals() -> None:
    logits = np.array([0.0, 5.0, 1.0, 5.0], np.float32)
    assert sample(logits, Sampling(temperature=0.0, seed=9), 3) == 1


def test_the_same_arguments_draw_the_same_token_and_positions_differ() -> None:
    logits, sampling = _logits(), Sampling(temperature=1.0, seed=4)
    first = [sample(logits, sampling, position) for position in range(50)]
    assert first == [sample(logits.copy(), sampling, position) for position in range(50)]
    assert len(set(first)) > 10
    assert first != [sample(logits, replace(sampling, seed=5), position) for position in range(50)]


def test_frequencies_follow_the_distribution() -> None:
    logits = np.array([1.0, 0.0, -1.0, 0.5, -2.0], np.float32)
    sampling = Sampling(temperature=0.7, seed=11)
    exact = np.exp(logits.astype(np.float64) / 0.7)
    exact /= exact.sum()
    num_draws = 4000
    drawn = np.bincount([sample(logits, sampling, p) for p in range(num_draws)], minlength=5)
    chi_squared = float(((drawn - num_draws * exact) ** 2 / (num_draws * exact)).sum())
    assert chi_squared < 18.5  # 4 degrees of freedom: 1 in 1,000 by chance, and the draws are fixed


def test_top_k_keeps_all_that_tie_with_the_last() -> None:
    logits = np.array([3.0, 1.0, 2.0, 2.0, 0.0], np.float32)
    assert _survivors(logits, Sampling(temperature=1.0, top_k=2)) == [0, 2, 3]
    assert _survivors(logits, Sampling(temperature=1.0, top_k=99)) == [0, 1, 2, 3, 4]


def test_top_p_lets_equals_enter_by_lowest_id() -> None:
    logits = np.zeros(4, np.float32)
    assert _survivors(logits, Sampling(temperature=1.0, top_p=0.5)) == [0, 1]
    assert _survivors(logits, Sampling(temperature=1.0, top_p=0.51)) == [0, 1, 2]


def test_top_p_is_the_same_however_many_candidates_it_takes() -> None:
    logits = (np.random.default_rng(2).standard_normal(20_000) * 0.1).astype(np.float32)
    for top_p in (0.01, 0.2, 0.9, 0.9999):
        order = np.argsort(-logits, kind="stable")
        weights = np.exp(logits[order].astype(np.float64) - float(logits.max()))
        count = int((np.cumsum(weights) < top_p * weights.sum()).sum()) + 1
        kept = _survivors(logits, Sampling(temperature=1.0, top_p=top_p))
        assert abs(len(kept) - count) <= 1
        assert set(order[: count - 1]) <= set(kept)


def test_a_tiny_temperature_is_greedy_and_raises_nothing() -> None:
    logits = _logits()
    for temperature in (1e-3, 1e-300):
        sampling = Sampling(temperature=temperature, top_p=0.9, min_p=0.1, top_k=5, seed=1)
        assert sample(logits, sampling, 5) == int(logits.argmax())


def test_a_logit_of_minus_infinity_is_never_drawn() -> None:
    logits = np.full(100, -np.inf, np.float32)
    logits[[7, 8]] = 0.0
    sampling = Sampling(temperature=1.0, top_p=0.99)
    assert {sample(logits, sampling, position) for position in range(64)} == {7, 8}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_numbers_raise(bad: float, temperature: float) -> None:
    logits = _logits()
    logits[1234] = bad
    with pytest.raises(InternalError, match="position 17 are not numbers"):
        sample(logits, Sampling(temperature=temperature), 17)


def test_logits_without_any_finite_one_raise() -> None:
    with pytest.raises(InternalError, match="not numbers"):
        sample(np.full(9, -np.inf, np.float32), Sampling(temperature=1.0), 0)


@settings(deadline=None, max_examples=50)
@given(
    values=st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=40),
    temperature=st.floats(0, 5),
    top_k=st.none() | st.integers(1, 50),
    top_p=st.floats(1e-6, 1),
    min_p=st.floats(0, 1),
    position=st.integers(0, 2**40),
)
def test_any_settings_draw_a_token_of_the_vocabulary(
    values: list[float], temperature: float, top_k: int | None, top_p: float, min_p: float, position: int
) -> None:
    logits = np.array(values, np.float32)
    sampling = Sampling(temperature, top_k, top_p, min_p, seed=3)
    assert 0 <= sample(logits, sampling, position) < len(values)
    if temperature:
        assert int(logits.argmax()) in _survivors(logits, sampling)


@pytest.mark.slow
def test_the_same_tokens_survive_as_in_transformers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from transformers.generation import logits_process
    chain = [
        Sampling(temperature=0.7, top_k=50),
        Sampling(temperature=1.3, top_p=0.9),
        Sampling(temperature=0.9, min_p=0.05),
        Sampling(temperature=0.8, top_k=40, top_p=0.8, min_p=0.1),
        Sampling(temperature=2.0, top_k=1000, top_p=0.95, min_p=0.02),
    ]
    for seed, sampling in enumerate(chain * 4):
        logits = _logits(seed)
        scores = torch.from_numpy(logits.copy())[None]
        scores = logits_process.TemperatureLogitsWarper(sampling.temperature)(None, scores)
        if sampling.top_k:
            scores = logits_process.TopKLogitsWarper(sampling.top_k)(None, scores)
        scores = logits_process.TopPLogitsWarper(sampling.top_p)(None, scores)
        scores = logits_process.MinPLogitsWarper(sampling.min_p)(None, scores)
        expected = torch.isfinite(scores[0]).nonzero().flatten().tolist()
        assert _survivors(logits, sampling) == expected
