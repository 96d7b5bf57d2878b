"""The tiny MiMo: its text, and that what its training computes and writes is what the mesh reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.tiny_mimo.acceptance import acceptance
from benchmarks.tiny_mimo.folder import VOCAB_SIZE, write_description
from benchmarks.tiny_mimo.grammar import chatml, documents, text, turn
from benchmarks.tiny_mimo.home import ROOMS, WATTS
from benchmarks.tiny_mimo.network import (
    MAIN_NORM,
    Chain,
    Shape,
    Weights,
    guess_hidden,
    initial,
    main_hidden,
    scores,
    step_mask,
    tensor_sizes,
)
from benchmarks.tiny_mimo.rounding import rounded
from benchmarks.tiny_mimo.train import Lessons, batch, train
from mesh.model.chat_template import ChatTemplate
from mesh.model.families import model_spec
from mesh.model.hf_folder import HfFolder
from mesh.model.hf_tokenizer import read_template, read_tokenizer
from mesh.model.quant import round_to_groups
from mesh.model.stage import Stage
from mesh.spec import INT4_GROUP, ModelSpec
from mesh.types import ChatMessage, Digest, Precision
from tests.torch_threads import one_torch_thread

SMALL = Shape(
    VOCAB_SIZE, hidden_size=32, num_layers=3, num_heads=2, num_kv_heads=1, head_dim=16, intermediate_size=64
)
SHORT = Lessons(num_steps=4, num_tokens=128, row_length=64, long_row_length=64, rate=0.01, report_every=4)
SUM = re.compile(r"(\d+) \+ (\d+) = (\d+)")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def folder(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny-mimo")
    train(path, SMALL, SHORT)
    return path


@pytest.fixture
def spec(folder: Path) -> ModelSpec:
    with HfFolder.open(folder) as file:
        return model_spec(file, "tiny-mimo", Digest("0" * 64))


@pytest.fixture
def weights() -> Weights:
    return initial(SMALL, torch.Generator().manual_seed(5))


def test_a_seed_always_gives_the_same_text_and_another_seed_another() -> None:
    assert text(3, 4000) == text(3, 4000)
    assert text(3, 4000) != text(4, 4000)
    assert text(3, 4000)[:1000] == text(3, 1000)
    assert len(text(3, 1000)) == 1000


def test_the_sums_in_the_text_are_right() -> None:
    sums = [tuple(map(int, found)) for found in SUM.findall(text(5, 60_000))]
    assert len(sums) > 500
    assert all(first + second == result for first, second, result in sums)


def test_every_thing_of_the_home_has_its_watts_and_one_room() -> None:
    things = [thing for room in ROOMS.values() for thing in room]
    assert sorted(things) == sorted(WATTS)


def test_every_character_of_the_text_is_a_token(tmp_path: Path) -> None:
    tokenizer = write_description(tmp_path, SMALL)
    sample = text(7, 20_000)
    ids = tokenizer.encode(sample)
    marks = re.findall(r"<\|\w+\|>", sample)
    assert len(ids) == len(sample) - sum(len(mark) - 1 for mark in marks)
    assert max(ids) < VOCAB_SIZE
    plain = re.sub(r"<\|\w+\|>", "", sample)
    assert tokenizer.decode(tokenizer.encode(plain)) == plain


def test_a_thought_is_marked_by_single_tokens(tmp_path: Path) -> None:
    tokenizer = write_description(tmp_path, SMALL)
    assert len(tokenizer.encode("<think>\n</think>")) == 3
    assert tokenizer.decode(tokenizer.encode("<think>\n</think>")) == "<think>\n</think>"


@pytest.mark.parametrize("system", ["", "Be brief."])
def test_conversations_are_written_as_the_chat_template_writes_them(tmp_path: Path, system: str) -> None:
    write_description(tmp_path, SMALL)
    template = read_template(tmp_path)
    assert template is not None
    question, answer = turn(Random(2))
    messages = [ChatMessage("user", question)]
    if system:
        messages.insert(0, ChatMessage("system", system))
    rendered = ChatTemplate.compile(template).render(messages, datetime.now(UTC))
    assert f"{rendered}{answer}<|im_end|>\n" == chatml([(question, answer)], system)


@pytest.mark.slow  # torch's optimisers take a second to import
def test_answers_end_at_the_end_of_a_turn_and_of_a_document(folder: Path) -> None:
    tokenizer = read_tokenizer(folder)
    assert tokenizer.stop_ids == frozenset(tokenizer.encode("<|im_end|><|endoftext|>"))


@pytest.mark.slow  # torch's optimisers take a second to import
def test_the_folder_has_the_tensors_of_mimo(folder: Path, spec: ModelSpec) -> None:
    found = load_file(folder / "model.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == dict(tensor_sizes(SMALL))
    assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}
    assert (spec.architecture, spec.num_layers, spec.attention_bias) == ("mimo", 3, True)
    assert not spec.tied_embeddings


@pytest.mark.slow  # torch's optimisers take a second to import
def test_the_mesh_computes_what_the_training_computes(folder: Path, spec: ModelSpec) -> None:
    weights = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
    tokens = batch(read_tokenizer(folder), Random(9), 60, 60)
    stage = Stage.load(folder, spec, spec.whole, Precision.F32)
    expected = scores(weights, main_hidden(weights, SMALL, tokens), MAIN_NORM)[0]
    found = stage.logits(stage.forward(tokens[0], 0, stage.new_cache(60)))
    assert expected.std() > 0.1
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.slow  # torch's optimisers take a second to import
def test_training_is_repeated_by_its_seed_and_learns(folder: Path, tmp_path: Path) -> None:
    train(tmp_path, SMALL, SHORT)
    again, first = (load_file(path / "model.safetensors") for path in (tmp_path, folder))
    begun = initial(SMALL, torch.Generator().manual_seed(SHORT.seed))
    for name, tensor in again.items():
        assert torch.equal(tensor, first[name]), name
        assert not torch.equal(tensor.float(), begun[name].bfloat16().float()), name


def test_rounding_is_the_one_of_the_mesh_and_lets_gradients_through(weights: Weights) -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    near = rounded(weights)[name]
    groups = round_to_groups(weights[name].detach().numpy())
    steps = groups.quants.reshape(*groups.scale.shape, INT4_GROUP)
    expected = steps * groups.scale[..., None] + groups.minimum[..., None]
    assert torch.allclose(near.detach(), torch.from_numpy(expected).reshape(near.shape), atol=1e-6)
    near.sum().backward()  # type: ignore[no-untyped-call]
    gradient = weights[name].grad
    assert gradient is not None
    assert torch.equal(gradient, torch.ones_like(near))


def test_a_guess_further_on_sees_true_keys_and_then_its_own() -> None:
    mask = step_mask(4, 3)
    assert mask is not None
    # The third pass at slot 3: true keys of slots 0 and 1, the second pass's of slot 2, its own of slot 3.
    assert mask[3].nonzero().flatten().tolist() == [0, 1, 4 + 2, 8 + 3]


def test_a_guess_depends_on_nothing_that_is_not_known_yet(weights: Weights) -> None:
    tokens = torch.arange(12)[None]
    changed = tokens.clone()
    changed[0, 8:] += 20
    first, second = (
        guess_hidden(weights, SMALL, ids, main_hidden(weights, SMALL, ids), Chain(3))
        for ids in (tokens, changed)
    )
    for one, other in zip(first, second, strict=True):
        assert torch.allclose(one[:, :7], other[:, :7], atol=1e-6)  # slot 6 knows tokens up to 7
        assert not torch.allclose(one[:, 7:], other[:, 7:], atol=1e-3)


def test_acceptance_is_a_share_for_each_guess(weights: Weights) -> None:
    shares = acceptance(weights, SMALL, torch.arange(40)[None], Chain(3))
    assert len(shares) == 3
    assert all(0 <= share <= 1 for share in shares)


def test_documents_end_with_their_mark() -> None:
    made = documents(Random(1))
    assert all(next(made).count("<|endoftext|>") == 1 for _ in range(50))
