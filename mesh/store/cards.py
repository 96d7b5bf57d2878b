"""Model cards on disk: the files' form, those that come with the package, and the one beside a model.

Owns `card.toml` in a model's folder, next to its receipt, and `cards/` of the package, one file for each
model. Must not know what a card is used for.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Annotated

import msgspec

from mesh.card import Benchmark, ModelCard, Score, Skill, SkillWeight
from mesh.errors import BadSetting
from mesh.store.shelf import ModelStore
from mesh.types import SamplingAdvice

CARD_FILE = "card.toml"
"""Beside the model's receipt, so that pulling the model again leaves it alone."""

_Weight = Annotated[float, msgspec.Meta(gt=0, le=1)]
_Temperature = Annotated[float, msgspec.Meta(ge=0, le=10)]
_Part = Annotated[float, msgspec.Meta(gt=0, le=1)]
_MinP = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
_Count = Annotated[int, msgspec.Meta(gt=0)]
_Text = Annotated[str, msgspec.Meta(pattern=r"\S")]
_Url = Annotated[str, msgspec.Meta(pattern=r"^https?://\S+$")]
_Language = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]

_QUANTS = re.compile(r"[._-](?:i?q\d(?:_[a-z0-9]+)*|f16|bf16|f32)$")
"""How a GGUF file's name ends that says how it was rounded: `-q4_k_m`."""


class ScoreTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A score in percent with the address where it was published."""

    score: _Percent
    source: _Url


class SkillsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[skills]`: a field for each Skill, so that an error names its key."""

    chat: _Weight | None = None
    math: _Weight | None = None
    code: _Weight | None = None
    reasoning: _Weight | None = None
    translation: _Weight | None = None
    summary: _Weight | None = None


class ScoresTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The table `[scores]`: a field for each Benchmark, with '_' for '-'."""

    math_500: ScoreTable | None = None
    aime24: ScoreTable | None = None
    aime25: ScoreTable | None = None
    math: ScoreTable | None = None
    gsm8k: ScoreTable | None = None
    gsm8k_lighteval: ScoreTable | None = None
    livecodebench_2410_2502: ScoreTable | None = None
    livecodebench_2408_2502: ScoreTable | None = None
    livecodebench_2305_2409: ScoreTable | None = None
    humaneval: ScoreTable | None = None
    mbpp: ScoreTable | None = None
    gpqa_diamond: ScoreTable | None = None
    ifeval_strict: ScoreTable | None = None
    ifeval_average: ScoreTable | None = None
    ifeval_lighteval: ScoreTable | None = None
    tldr9_rougel: ScoreTable | None = None


class SamplingTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[sampling]`: what its makers recommend, where they do."""

    temperature: _Temperature | None = None
    top_k: _Count | None = None
    top_p: _Part | None = None
    min_p: _MinP | None = None


class PromptingTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[prompting]`."""

    empty_system: bool = False
    thinks: bool = False


class CardTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A card's file."""

    name: _Text
    family: _Text
    num_parameters: _Count
    context_length: _Count
    licence: _Text
    source: _Url
    skills: SkillsTable
    other_names: tuple[_Text, ...] = ()
    languages: tuple[_Language, ...] = ()
    scores: ScoresTable = ScoresTable()
    sampling: SamplingTable | None = None
    prompting: PromptingTable = PromptingTable()


def parse_card(text: str, where: str) -> ModelCard:
    """Read a card; raise BadSetting with `where` and the key that is unknown, missing or wrong."""
    try:
        return _card(msgspec.convert(tomllib.loads(text), CardTable))
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"{where} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise BadSetting(f"{where}: {error}") from error


def card_of(store: ModelStore, name: str) -> ModelCard | None:
    """Return a model's card: the one beside it, else the one that comes with the package, else None.

    The model need not be on this device. Raises BadSetting for a card that cannot be read or names another
    model, as one that was copied does, and for what cannot be a model's name.
    """
    path = store.folder_of(name).parent / CARD_FILE
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return shipped_card(name)
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path} cannot be read: {error}") from error
    card = parse_card(text, str(path))
    if card.name != name:
        raise BadSetting(f"{path}: 'name' is {card.name[:80]!r}, and the model's is '{name}'")
    return card


def shipped_card(name: str) -> ModelCard | None:
    """Return the card that comes with the package for a name, and under that name.

    A model that was pulled from a file is called like the file: it is found by the card's other names, with
    or without the ending that says how it was rounded.
    """
    cards = _by_name()
    card = cards.get(name) or cards.get(_QUANTS.sub("", name))
    return replace(card, name=name) if card else None


@cache
def shipped_cards() -> tuple[ModelCard, ...]:
    """Return the cards that come with the package, by name."""
    files = resources.files("mesh.store").joinpath("cards").iterdir()
    texts = {file.name: file.read_text("utf-8") for file in files if file.name.endswith(".toml")}
    cards = (parse_card(text, f"cards/{file_name}") for file_name, text in texts.items())
    return tuple(sorted(cards, key=lambda card: card.name))


@cache
def _by_name() -> Mapping[str, ModelCard]:
    return {name: card for card in shipped_cards() for name in (card.name, *card.other_names)}


def _card(table: CardTable) -> ModelCard:
    return ModelCard(
        name=table.name,
        family=table.family,
        num_parameters=table.num_parameters,
        context_length=table.context_length,
        licence=table.licence,
        source=table.source,
        skills=_skills(table.skills),
        other_names=table.other_names,
        languages=table.languages,
        scores=_scores(table.scores),
        sampling=_sampling(table.sampling) if table.sampling else None,
        empty_system=table.prompting.empty_system,
        thinks=table.prompting.thinks,
    )


def _sampling(table: SamplingTable) -> SamplingAdvice:
    return SamplingAdvice(table.temperature, table.top_k, table.top_p, table.min_p)


def _skills(table: SkillsTable) -> tuple[SkillWeight, ...]:
    weights = {skill: getattr(table, skill.value) for skill in Skill}
    return tuple(SkillWeight(skill, weight) for skill, weight in weights.items() if weight is not None)


def _scores(table: ScoresTable) -> tuple[Score, ...]:
    found = {benchmark: getattr(table, benchmark.value.replace("-", "_")) for benchmark in Benchmark}
    return tuple(Score(benchmark, each.score, each.source) for benchmark, each in found.items() if each)
