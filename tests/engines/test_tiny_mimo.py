"""A network that was really trained for multi-token prediction: how often its guesses are right."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mesh.engines.engine import Engine
from mesh.engines.native.engine import NativeEngine
from mesh.engines.native.kernels import available, load_kernels
from mesh.engines.torch_engine import TorchEngine
from mesh.model.checkpoint import open_checkpoint
from mesh.model.families import model_spec
from mesh.model.text import ModelTextCodec
from mesh.spec import ModelSpec
from mesh.types import ChatMessage, Digest, Precision, Sampling
from tests.engines.test_mtp import Chain
from tests.tiny_mimo import FOLDER, questions
from tests.torch_threads import one_torch_thread

LEAST_ACCEPTED = 0.8
LEAST_A_TRAVERSAL = 1.7
NUM_TOKENS = 120
"""Of one answer at most."""

Say = Callable[[str], None]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Return what shows figures though all goes well."""

    def shown(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")

    return shown


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model in a folder of its own, so that packs are not written beside the tests' data."""
    link = tmp_path_factory.mktemp("model") / FOLDER.name
    link.symlink_to(FOLDER)
    return link


@pytest.fixture(scope="module")
def spec(path: Path) -> ModelSpec:
    with open_checkpoint(path) as file:
        return model_spec(file, FOLDER.name, Digest("7" * 64))


@pytest.fixture(scope="module")
def codec(path: Path) -> ModelTextCodec:
    return ModelTextCodec.from_path(path, lambda: datetime(2026, 1, 1, tzinfo=UTC))


@dataclass(slots=True)
class Counted:
    """What was drawn and guessed in some answers."""

    answers: list[tuple[int, ...]] = field(default_factory=list)
    num_guesses: int = 0
    num_right: int = 0
    num_traversals: int = 0

    @property
    def acceptance(self) -> float:
        """Share of the guesses that were the token which was drawn next."""
        return self.num_right / self.num_guesses

    @property
    def a_traversal(self) -> float:
        """Tokens that one traversal of the stages brought."""
        return sum(map(len, self.answers)) / self.num_traversals

    def answer(self, chain: Chain, prompt: tuple[int, ...], ends: frozenset[int], num_drafts: int) -> None:
        """Draw an answer as a gateway would, with so many of the last stage's guesses going along."""
        text = prompt
        drawn = chain.send(0, prompt, wanted=num_drafts)
        while drawn is not None:
            self.num_traversals += 1
            came, guesses = (drawn.token, *drawn.more), drawn.guessed
            text += came
            if ends.intersection(came) or len(text) >= len(prompt) + NUM_TOKENS:
                break
            drawn = chain.send(len(text) - 1, (text[-1], *guesses), len(guesses), num_drafts)
            assert drawn is not None
            self.num_guesses += bool(guesses)
            self.num_right += guesses[:1] == (drawn.token,)
        made = text[len(prompt) :][:NUM_TOKENS]
        length = next((at for at, token in enumerate(made, 1) if token in ends), len(made))
        self.answers.append(made[:length])


def answered(chain: Chain, codec: ModelTextCodec, sampling: Sampling, num_drafts: int) -> Counted:
    """Answer questions of the grammar by a seed that training did not use."""
    counted = Counted()
    for question in questions(4)[2:]:  # a sum in steps, and a day, which nobody can know
        chain.opened(sampling)
        prompt = codec.encode_chat([ChatMessage("user", question)])
        counted.answer(chain, prompt, codec.stop_ids, num_drafts)
    return counted


def _native() -> Engine:
    return NativeEngine(load_kernels(), 1)


KERNELS = pytest.mark.skipif(not available(), reason="no kernels")
ENGINES = [
    pytest.param(_native, Precision.INT4, id="native-int4", marks=KERNELS),
    pytest.param(_native, Precision.INT8, id="native-int8", marks=KERNELS),
    pytest.param(TorchEngine, Precision.INT4, id="torch-int4", marks=pytest.mark.slow),
    pytest.param(TorchEngine, Precision.F32, id="torch-f32", marks=pytest.mark.slow),
]
CUTS = [pytest.param(cuts, id=f"{len(cuts) + 1} stages") for cuts in ((), (3,), (2, 4))]


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize(("make", "precision"), ENGINES)
def test_four_guesses_in_five_are_right_on_text_that_was_never_seen(
    path: Path,
    spec: ModelSpec,
    codec: ModelTextCodec,
    say: Say,
    make: Callable[[], Engine],
    precision: Precision,
    cuts: tuple[int, ...],
    temperature: float,
) -> None:
    chain = Chain.of(make(), path, spec, precision, *cuts)
    chain.context = 512
    counted = answered(chain, codec, Sampling(temperature=temperature, seed=3), num_drafts=1)
    say(
        f"{type(chain.engine).__name__}, {precision.value}, {len(cuts) + 1} stages, "
        f"temperature {temperature}: {counted.acceptance:.3f} of {counted.num_guesses} guesses right, "
        f"{counted.a_traversal:.2f} tokens a traversal"
    )
    assert counted.num_guesses > 100
    assert counted.acceptance >= LEAST_ACCEPTED
    assert counted.a_traversal >= LEAST_A_TRAVERSAL


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("num_drafts", [1, 3, 7])
@KERNELS
def test_guesses_change_no_token_however_many_go_along(
    path: Path, spec: ModelSpec, codec: ModelTextCodec, num_drafts: int, temperature: float
) -> None:
    sampling = Sampling(temperature=temperature, seed=5)
    chain = Chain.of(_native(), path, spec, Precision.INT4, 2, 4)
    chain.context = 512
    plain, guessed = (answered(chain, codec, sampling, count) for count in (0, num_drafts))
    assert guessed.answers == plain.answers
    assert guessed.num_traversals < plain.num_traversals / LEAST_A_TRAVERSAL
