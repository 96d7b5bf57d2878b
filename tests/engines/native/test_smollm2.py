"""SmolLM2 itself: near float32 on plain English, the same tokens in any company, and quick to load again."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mesh.engines.native.engine import NativeEngine
from mesh.engines.native.stage import Stage
from mesh.model.gguf import GgufFile
from mesh.model.quant import Floats
from mesh.model.tokenizer import Tokenizer
from mesh.ports import Sampled, Step
from mesh.spec import ModelSpec
from mesh.types import CacheKey, Hidden, Payload, Precision, Sampling, SessionId, Span, StageKey, TokenIds
from tests.engines.native.models import Ids, fed, kernels, load, same_bits
from tests.engines.native.reference import Doubles

pytestmark = [pytest.mark.model, pytest.mark.slow]

ENGLISH = Path(__file__).parents[2] / "data" / "english.txt"
NUM_SCORED = 512

Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Return what shows figures though all goes well."""

    def shown(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")

    return shown


@pytest.fixture(scope="module")
def path(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the model in a folder of its own, so that the packs are these tests'."""
    link = tmp_path_factory.mktemp("smollm2") / "model.gguf"
    link.symlink_to(smollm2_path)
    return link


@pytest.fixture(scope="module")
def english(smollm2_path: Path) -> Ids:
    with GgufFile.open(smollm2_path) as file:
        return np.array(Tokenizer.from_metadata(file.metadata).encode(ENGLISH.read_text()))


@pytest.fixture(scope="module")
def whole(path: Path, smollm2_spec: ModelSpec) -> Stage:
    return load(path, smollm2_spec)


@pytest.fixture(scope="module")
def exact(smollm2_path: Path, smollm2_spec: ModelSpec, english: Ids) -> Floats:
    """Return float32's logits: [positions, vocab]."""
    import torch

    from mesh.model.stage import Stage as TorchStage

    stage = TorchStage.load(smollm2_path, smollm2_spec, smollm2_spec.whole, Precision.F32)
    ids = torch.from_numpy(english[:NUM_SCORED])
    logits: Floats = stage.logits(stage.forward(ids, 0, stage.new_cache(NUM_SCORED))).numpy()
    return logits


def log_probabilities(logits: Floats) -> Doubles:
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(-1, keepdims=True)))


def divergence(exact: Floats, near: Floats) -> float:
    """Return the mean of Kullback and Leibler's divergence over all positions."""
    total = 0.0
    for row, other in zip(exact, near, strict=True):
        scores = log_probabilities(row)
        total += float((np.exp(scores) * (scores - log_probabilities(other))).sum())
    return total / len(exact)


def perplexity(logits: Floats, ids: Ids) -> float:
    """Return how many tokens the model hesitates between, in the mean, at each of a text's."""
    scores = [log_probabilities(row)[token] for row, token in zip(logits, ids[1:], strict=False)]
    return float(np.exp(-np.mean(scores)))


@pytest.mark.parametrize(
    ("precision", "most_apart", "most_perplexed"),
    [
        (Precision.INT4, 0.004, 0.01),
        (Precision.INT8, 0.006, 0.015),  # the weights of this file, which has 4 bits, are rounded once more
    ],
)
def test_it_stays_near_float32_on_english(
    path: Path,
    smollm2_spec: ModelSpec,
    english: Ids,
    exact: Floats,
    precision: Precision,
    most_apart: float,
    most_perplexed: float,
    say: Say,
) -> None:
    assert len(english) > NUM_SCORED
    stage = load(path, smollm2_spec, precision=precision)
    near = stage.logits(fed(stage, english[:NUM_SCORED]), 1)
    apart, ours, theirs = divergence(exact, near), perplexity(near, english), perplexity(exact, english)
    say(f"{precision}: mean divergence {apart:.5f}, perplexity {ours:.3f} beside {theirs:.3f} of float32")
    assert apart <= most_apart
    assert abs(ours / theirs - 1) <= most_perplexed


def test_a_second_load_reads_packs(path: Path, smollm2_spec: ModelSpec, whole: Stage, say: Say) -> None:
    began_s = time.perf_counter()  # noqa: TID251  what is measured is real time
    again = load(path, smollm2_spec)
    loaded_s = time.perf_counter() - began_s  # noqa: TID251
    megabytes = again.weights_bytes / 1e6
    say(f"{megabytes:.0f} MB from packs in {loaded_s:.2f} s")
    assert again.weights_bytes == whole.weights_bytes
    assert again.weights_bytes == smollm2_spec.weights_bytes(smollm2_spec.whole, Precision.INT4)


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation over one or several stages."""

    engine: NativeEngine
    keys: tuple[CacheKey, ...]

    def tokens(self, prompt: Sequence[int], chunk: int, count: int) -> list[int]:
        """Feed a prompt in chunks and draw so many tokens."""
        for at in range(0, len(prompt), chunk):
            drawn = self.feed(at, prompt[at : at + chunk])
        tokens = [drawn]
        for position in range(len(prompt), len(prompt) + count - 1):
            tokens.append(self.feed(position, tokens[-1:]))
        return tokens

    def feed(self, start: int, ids: Sequence[int]) -> int:
        """Run a frame through all stages; return the token that follows it."""
        payload: Payload = TokenIds(tuple(int(token) for token in ids))
        for key in self.keys:
            (result,) = self.engine.run([Step(key, start, payload, sample=True)])
            if isinstance(result, Hidden):
                payload = result
        assert isinstance(result, Sampled)
        return result.token

    def verify(self, start: int, known: int, drafts: tuple[int, ...]) -> list[int]:
        """Run a known token with guesses behind it through all stages; return what was drawn."""
        payload: Payload = TokenIds((known, *drafts))
        for key in self.keys:
            (result,) = self.engine.run([Step(key, start, payload, sample=True, drafts=drafts)])
            if isinstance(result, Hidden):
                payload = result
        assert isinstance(result, Sampled)
        assert result.position == start + 1
        return [result.token, *result.more]


@dataclass(frozen=True, slots=True)
class Home:
    """An engine that holds the model, whole and cut."""

    engine: NativeEngine
    path: Path
    spec: ModelSpec

    def session(self, name: str, edges: Sequence[int], seed: int = 5) -> Session:
        """Open a conversation over the stages between some edges."""
        sampling = Sampling(temperature=0.8, top_p=0.95, seed=seed)
        keys = []
        for start, end in pairwise(edges):
            stage = StageKey(self.spec.digest, Span(start, end), Precision.INT4)
            self.engine.load(stage, self.path, self.spec)
            keys.append(CacheKey(SessionId(name), stage))
            self.engine.open(keys[-1], 600, sampling)
        return Session(self.engine, tuple(keys))


@pytest.fixture(scope="module")
def home(path: Path, smollm2_spec: ModelSpec) -> Home:
    return Home(NativeEngine(kernels(), 1), path, smollm2_spec)


@pytest.fixture(scope="module")
def alone(home: Home, english: Ids) -> list[int]:
    """Return what one stage answers to a prompt fed at once."""
    return home.session("alone", (0, 30)).tokens(english[:300].tolist(), 300, 16)


@pytest.mark.parametrize("chunk", [16, 64, 256])
def test_chunks_change_no_token(home: Home, english: Ids, alone: list[int], chunk: int) -> None:
    assert home.session(f"chunks-{chunk}", (0, 30)).tokens(english[:300].tolist(), chunk, 16) == alone


@pytest.mark.parametrize("edges", [(0, 15, 30), (0, 11, 20, 30)], ids=str)
def test_stages_change_no_token(home: Home, english: Ids, alone: list[int], edges: tuple[int, ...]) -> None:
    assert home.session(f"stages-{len(edges)}", edges).tokens(english[:300].tolist(), 64, 16) == alone


@pytest.mark.parametrize("edges", [(0, 30), (0, 15, 30), (0, 11, 20, 30)], ids=str)
@pytest.mark.parametrize("num_drafts", [1, 3, 7])
def test_guesses_right_and_wrong_change_no_token(
    home: Home, english: Ids, alone: list[int], edges: tuple[int, ...], num_drafts: int
) -> None:
    prompt, chance = english[:300].tolist(), random.Random(num_drafts)
    session = home.session(f"guesses-{num_drafts}-{len(edges)}", edges)
    tokens = session.tokens(prompt, 300, 1)
    num_right = 0
    while len(tokens) < len(alone):
        truth = alone[len(tokens) : len(tokens) + num_drafts]
        drafts = tuple(token if chance.random() < 0.7 else token + 1 for token in truth)
        drawn = session.verify(len(prompt) + len(tokens) - 1, tokens[-1], drafts)
        num_right += len(drawn) - 1
        tokens.extend(drawn)
    assert tokens[: len(alone)] == alone
    assert num_right > 0


def test_a_batch_of_8_strangers_changes_no_token(home: Home, english: Ids, alone: list[int]) -> None:
    prompts = [english[:300].tolist()] + [english[at : at + 30 * at % 97 + 1].tolist() for at in range(1, 8)]
    by_themselves = [alone] + [
        home.session(f"one-{n}", (0, 30), seed=n).tokens(prompts[n], 300, 16) for n in range(1, 8)
    ]
    (keys,) = zip(*(home.session(f"all-{n}", (0, 30), seed=n or 5).keys for n in range(8)), strict=True)
    lasts, starts = prompts, [0] * 8
    together: list[list[int]] = [[] for _ in prompts]
    for _ in range(16):
        frames = zip(keys, starts, lasts, strict=True)
        results = home.engine.run(
            [Step(key, at, TokenIds(tuple(ids)), sample=True) for key, at, ids in frames]
        )
        for n, result in enumerate(results):
            assert isinstance(result, Sampled)
            together[n].append(result.token)
        starts = [at + len(ids) for at, ids in zip(starts, lasts, strict=True)]
        lasts = [tokens[-1:] for tokens in together]
    assert together == by_themselves


@pytest.mark.parametrize("chunk", [16, 100])
def test_chunks_and_threads_change_no_bit_of_the_logits(whole: Stage, english: Ids, chunk: int) -> None:
    ids = english[:120]
    expected = whole.logits(fed(whole, ids), 1)
    assert same_bits(whole.logits(fed(whole, ids, chunk, num_threads=2), 2), expected)
