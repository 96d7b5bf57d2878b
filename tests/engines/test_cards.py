"""Graphics cards: found without torch where there are none, chosen where they are worth it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mesh.engines import cards, choosing
from mesh.engines.cards import Card, likely, placement_on, usable
from mesh.engines.choosing import BestEngine, EngineName, engine_and_kind, engine_maker
from mesh.engines.engine import Engine
from mesh.engines.native.kernels import available
from mesh.errors import BadSetting
from mesh.types import Precision, StageKey
from tests.engines.test_choosing import Noting
from tests.model.tiny import SPEC

Home = Callable[..., None]
needs_kernels = pytest.mark.skipif(not available(), reason="the kernels were not built")


@pytest.mark.parametrize("name", ["nvidiactl", "nvidia0", "nvmap", "kfd", "dxg"])
def test_a_drivers_file_makes_a_card_likely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert likely(tmp_path) == ()
    (tmp_path / name).touch()
    assert likely(tmp_path) == (Card.CUDA,)


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [("darwin", "arm64", (Card.MPS,)), ("darwin", "x86_64", ()), ("win32", "AMD64", (Card.CUDA,))],
)
def test_elsewhere_the_system_says_what_is_likely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, machine: str, expected: tuple[Card, ...]
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert likely(tmp_path) == expected


def test_torch_is_not_imported_to_look_for_what_cannot_be_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> object:
        raise AssertionError(name)

    monkeypatch.setattr(cards, "likely", tuple)
    monkeypatch.setattr(cards, "import_module", refuse)
    assert usable() == ()
    assert placement_on(Card.CUDA) is None


@pytest.mark.slow  # imports torch
def test_a_card_that_torch_cannot_use_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(cards, "likely", lambda: (Card.CUDA,))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert usable() == ()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Noting]:
    """Put notes in the place of torch; return them by where they were made."""
    engines: dict[str, Noting] = {}

    def make_torch(num_threads: int, card: Card | None = None) -> Engine:
        return engines.setdefault(f"{card or 'cpu'} {num_threads}", Noting())

    monkeypatch.setattr(choosing, "make_torch", make_torch)
    return engines


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Home:
    """Put cards into this device."""

    def put(*here: Card) -> None:
        monkeypatch.setattr(choosing, "usable", lambda: here)
        monkeypatch.setattr(choosing, "placement_on", lambda card: card if card in here else None)

    return put


@pytest.mark.parametrize("card", list(Card))
def test_a_card_is_taken_where_it_was_asked_for(home: Home, made: dict[str, Noting], card: Card) -> None:
    home(card)
    engine = engine_maker(EngineName(card.value), 3)()
    assert made == {f"{card} 3": engine}
    assert engine_and_kind(EngineName(card.value)) == ("torch", card.value)


def test_asking_for_a_card_that_is_not_there_names_those_that_are(home: Home) -> None:
    home(Card.MPS)
    with pytest.raises(
        BadSetting, match=r"^--engine cuda: there is no .* card; torch can use mps here; or use"
    ):
        engine_maker(EngineName.CUDA, 1)
    home()
    with pytest.raises(
        BadSetting, match=r"^--engine mps: .*; torch can use none here; or use --engine auto$"
    ):
        engine_maker(EngineName.MPS, 1)


@needs_kernels
def test_auto_takes_a_card_for_what_our_kernels_do_not_run(
    home: Home, made: dict[str, Noting], tmp_path: Path
) -> None:
    home(Card.CUDA)
    engine = engine_maker(EngineName.AUTO, 3)()
    assert isinstance(engine, BestEngine)
    assert not made
    engine.load(StageKey(SPEC.digest, SPEC.whole, Precision.BF16), tmp_path, SPEC)
    assert {where: noting.asked for where, noting in made.items()} == {"cuda 3": ["load bf16"]}
    assert engine_and_kind(EngineName.AUTO)[0] == "native"


def test_auto_without_kernels_takes_a_card_for_all(
    home: Home, made: dict[str, Noting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "available", lambda: False)
    home(Card.MPS)
    engine_maker(EngineName.AUTO, 2)()
    assert list(made) == ["mps 2"]
    assert engine_and_kind(EngineName.AUTO) == ("torch", "mps")
    home()
    engine_maker(EngineName.AUTO, 2)()
    assert list(made) == ["mps 2", "cpu 2"]
    assert engine_and_kind(EngineName.AUTO) == ("torch", "cpu")


def test_torch_is_the_processor_whatever_cards_there_are(home: Home, made: dict[str, Noting]) -> None:
    home(Card.CUDA)
    engine_maker(EngineName.TORCH, 1)()
    assert list(made) == ["cpu 1"]
    assert engine_and_kind(EngineName.TORCH) == ("torch", "cpu")
