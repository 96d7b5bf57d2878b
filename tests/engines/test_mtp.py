"""Multi-token prediction against its formula, slot by slot, however a session goes back and on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from mesh.engines.engine import Engine
from mesh.engines.native.kernels import available
from mesh.engines.torch_engine import TorchEngine
from mesh.errors import ShapeMismatch
from mesh.model.prediction import Prediction
from mesh.model.stage import Stage
from mesh.ports import Prefix, Sampled, Step
from mesh.spec import ModelSpec
from mesh.types import CacheKey, Hidden, Payload, Precision, Sampling, SessionId, Span, StageKey, TokenIds
from tests.model import mimo
from tests.torch_threads import one_torch_thread

TEXT = tuple(token * 37 % mimo.VOCABULARY for token in range(1, 41))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mimo.write(tmp_path_factory.mktemp("mimo"))


@pytest.fixture(scope="module")
def reference() -> mimo.Reference:
    return mimo.Reference(mimo.tensors())


@dataclass(slots=True)
class Chain:
    """One session on stages of one engine, as a gateway drives it."""

    engine: Engine
    caches: list[CacheKey]
    context: int = 200

    @classmethod
    def of(cls, engine: Engine, path: Path, spec: ModelSpec, precision: Precision, *cuts: int) -> Chain:
        spans = [Span(start, end) for start, end in pairwise(sorted({0, *cuts, spec.num_layers}))]
        keys = [StageKey(spec.digest, span, precision) for span in spans]
        for key in keys:
            num_bytes, planned = engine.load(key, path, spec), spec.weights_bytes(key.span, precision)
            is_exact = precision is Precision.F32 or not isinstance(engine, TorchEngine)
            assert num_bytes == planned if is_exact else num_bytes <= planned
        return cls(engine, [CacheKey(SessionId("a"), key) for key in keys]).opened()

    def opened(self, sampling: Sampling | None = None, shared: int = 0, source: Chain | None = None) -> Chain:
        for cache, of in zip(self.caches, source.caches if source else self.caches, strict=True):
            prefix = Prefix(of, shared) if source else None
            assert self.engine.open(cache, self.context, sampling or Sampling(), prefix) == shared
        return self

    def named(self, name: str) -> Chain:
        return Chain(self.engine, [CacheKey(SessionId(name), cache.stage) for cache in self.caches])

    def send(
        self, start: int, ids: tuple[int, ...], drafts: int = 0, wanted: int = 0, sample: bool = True
    ) -> Sampled | None:
        payload: Payload = TokenIds(ids)
        guessed = ids[len(ids) - drafts :]
        for cache in self.caches:
            step = Step(cache, start, payload, sample, guessed, ids, wanted)
            (result,) = self.engine.run([step])
            if isinstance(result, Hidden):
                payload = result
        assert result is None or isinstance(result, Sampled)
        return result


def test_scores_are_those_of_the_formula(path: Path, reference: mimo.Reference) -> None:
    spec = mimo.spec_of(path)
    stage = Stage.load(path, spec, spec.whole, Precision.F32)
    prediction = Prediction.load(path, stage)
    hidden = stage.forward(torch.tensor(TEXT), 0, stage.new_cache(64))
    assert np.abs(hidden.numpy() - reference.hidden(TEXT)).max() < 1e-3
    made = prediction.forward(hidden[:-1], TEXT[1:], prediction.new_cache(64))
    expected = reference.predicted(TEXT)
    assert np.abs(made.numpy() - expected).max() < 1e-3
    scores = reference.prediction(expected)
    assert scores.std() > 0.3
    assert np.abs(prediction.logits(made).numpy() - scores).max() < 1e-3


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_guesses_are_those_of_the_formula(path: Path, reference: mimo.Reference, cut: int) -> None:
    chain = Chain.of(TorchEngine(), path, mimo.spec_of(path), Precision.F32, cut)
    drawn = chain.send(0, TEXT, wanted=3)
    assert drawn is not None
    assert drawn.token == reference.scores(reference.hidden(TEXT))[-1].argmax()
    assert drawn.guessed == tuple(reference.guesses((*TEXT, drawn.token), 3))


def test_guesses_do_not_depend_on_how_the_text_came(path: Path, reference: mimo.Reference) -> None:
    chain = Chain.of(TorchEngine(), path, mimo.spec_of(path), Precision.F32, 2)
    assert chain.send(0, TEXT[:7], sample=False) is None
    assert chain.send(7, TEXT[7:8], sample=False) is None
    drawn = chain.send(8, TEXT[8:], wanted=2)
    text = TEXT
    for round_ in range(12):
        assert drawn is not None
        text += (drawn.token, *drawn.more)
        assert drawn.guessed == tuple(reference.guesses(text, 2)), round_
        # Drafts as right, half right and wrong as they come: what was rejected leaves nothing behind.
        right = int(reference.scores(reference.hidden(text))[-1].argmax())
        drafts = [(right,), (right, 5), (9, 9), ()][round_ % 4]
        drawn = chain.send(len(text) - 1, (text[-1], *drafts), drafts=len(drafts), wanted=2)


def test_a_copied_beginning_guesses_on(path: Path, reference: mimo.Reference) -> None:
    chain = Chain.of(TorchEngine(), path, mimo.spec_of(path), Precision.F32, 1)
    chain.send(0, TEXT[:30], wanted=1)
    other = chain.named("b").opened(shared=25, source=chain)
    own = (*TEXT[:25], 3, 1, 4, 1, 5)
    drawn = other.send(25, own[25:], wanted=1)
    assert drawn is not None
    # Slot 24 wants the hidden state of position 24, which only the newest 16 rows have: 14 to 29.
    assert drawn.guessed == tuple(reference.guesses((*own, drawn.token), 1))


def test_what_was_never_seen_is_left_out(path: Path) -> None:
    chain = Chain.of(TorchEngine(), path, mimo.spec_of(path), Precision.F32, 1)
    chain.send(0, TEXT, wanted=1)
    other = chain.named("b").opened(shared=10, source=chain)  # its rows are not kept any more
    drawn = other.send(10, TEXT[10:], wanted=2)
    straight = chain.named("c").opened().send(0, TEXT, wanted=2)
    assert drawn is not None
    assert straight is not None
    assert (drawn.token, len(drawn.guessed)) == (straight.token, 2)


def test_nothing_is_guessed_without_tokens_or_wish_or_room(path: Path) -> None:
    chain = Chain.of(TorchEngine(), path, mimo.spec_of(path), Precision.F32, 0)
    (result,) = chain.engine.run([Step(chain.caches[0], 0, TokenIds(TEXT), True, num_wanted=2)])
    assert isinstance(result, Sampled)
    assert result.guessed == ()
    assert chain.send(0, TEXT) == result
    long = tuple(position % 100 for position in range(199))
    drawn = chain.send(0, long, wanted=4)
    assert drawn is not None
    assert len(drawn.guessed) == 0
    drawn = chain.send(0, long[:197], wanted=4)
    assert drawn is not None
    assert len(drawn.guessed) == 2


def test_tokens_must_be_those_of_the_rows(path: Path) -> None:
    chain = Chain.of(TorchEngine(), path, mimo.spec_of(path), Precision.F32, 0)
    for wrong in (TEXT[1:], (*TEXT[1:], mimo.VOCABULARY)):
        (result,) = chain.engine.run([Step(chain.caches[0], 0, TokenIds(TEXT), True, (), wrong)])
        assert isinstance(result, ShapeMismatch)


def _native() -> Engine:
    from mesh.engines.native.engine import NativeEngine
    from mesh.engines.native.kernels import load_kernels

    return NativeEngine(load_kernels(), 1)


ENGINES = [
    pytest.param(TorchEngine, Precision.INT8, id="torch"),
    pytest.param(
        _native, Precision.INT8, id="native", marks=pytest.mark.skipif(not available(), reason="no kernels")
    ),
]


@pytest.mark.parametrize(("make", "precision"), ENGINES)
def test_engines_in_8_bits_guess_nearly_as_the_formula(
    path: Path, reference: mimo.Reference, make: Callable[[], Engine], precision: Precision
) -> None:
    chain = Chain.of(make(), path, mimo.spec_of(path), precision, 2)
    num_alike = 0
    for end in range(5, 40):
        drawn = chain.send(0, TEXT[:end], wanted=1)
        assert drawn is not None
        num_alike += drawn.guessed == tuple(reference.guesses((*TEXT[:end], drawn.token), 1))
    assert num_alike >= 30


@pytest.mark.skipif(not available(), reason="no kernels")
@pytest.mark.parametrize("precision", [Precision.INT4, Precision.INT8])
def test_batches_and_chunks_change_no_guess(path: Path, precision: Precision) -> None:
    spec = mimo.spec_of(path)
    chain = Chain.of(_native(), path, spec, precision, 0)
    straight = chain.send(0, TEXT, wanted=3)
    others = [chain.named(name).opened() for name in "bcd"]
    for at in (0, 10, 20):
        others[0].send(at, TEXT[at : at + 10], sample=False)
    others[2].send(0, TEXT[:39], wanted=2)
    steps = [
        partial(Step, others[0].caches[0], 30, TokenIds(TEXT[30:]), True, (), TEXT[30:]),
        partial(Step, others[1].caches[0], 0, TokenIds(TEXT), True, (), TEXT),
        partial(Step, others[2].caches[0], 39, TokenIds(TEXT[39:]), True, (), TEXT[39:]),
    ]
    results = chain.engine.run([step(wanted) for step, wanted in zip(steps, (3, 1, 3), strict=True)])
    assert straight is not None
    assert [result for result in results if not isinstance(result, Sampled)] == []
    guessed = [result.guessed for result in results if isinstance(result, Sampled)]
    assert guessed == [straight.guessed, straight.guessed[:1], straight.guessed]


@pytest.mark.skipif(not available(), reason="no kernels")
def test_a_whole_model_guesses_by_going_on(path: Path) -> None:
    spec = mimo.spec_of(path)
    chain = Chain.of(_native(), path, replace(spec, has_mtp=False), Precision.INT4, 0)
    sampling = Sampling(temperature=0.8, seed=4)
    chain.opened(sampling)
    drawn = chain.send(0, TEXT, wanted=4)
    assert drawn is not None
    text = (*TEXT, drawn.token)
    for token in drawn.guessed:
        again = chain.send(len(text) - 1, text[-1:])
        assert again is not None
        assert again.token == token
        text += (token,)
    assert len(drawn.guessed) == 4
