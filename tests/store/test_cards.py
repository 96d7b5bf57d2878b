"""Cards say what was published, name what is wrong in them, and the one beside a model wins."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path

import msgspec
import pytest

from mesh.card import Benchmark, Score, Skill, SkillWeight
from mesh.errors import BadSetting
from mesh.store.cards import ScoresTable, SkillsTable, card_of, parse_card, shipped_card, shipped_cards
from mesh.store.catalogue import load_catalogue
from mesh.store.names import folder_name, is_name
from mesh.store.shelf import ModelStore
from mesh.types import SamplingAdvice

GOOD = """
name = "fat:1b"
family = "Fat"
num_parameters = 1_000
context_length = 512
licence = "MIT"
source = "https://a.b/c"
languages = ["en", "zh-Hans"]
[skills]
chat = 1
math = 0.5
[scores]
math-500 = { score = 95.8, source = "https://a.b/d" }
[sampling]
temperature = 0.6
top_k = 20
[prompting]
empty_system = true
"""


def test_a_card_is_read() -> None:
    card = parse_card(GOOD, "a.toml")
    assert (card.name, card.family, card.num_parameters, card.context_length) == ("fat:1b", "Fat", 1000, 512)
    assert (card.licence, card.source, card.languages) == ("MIT", "https://a.b/c", ("en", "zh-Hans"))
    assert card.skills == (SkillWeight(Skill.CHAT, 1.0), SkillWeight(Skill.MATH, 0.5))
    assert card.scores == (Score(Benchmark.MATH_500, 95.8, "https://a.b/d"),)
    assert (card.weight(Skill.CODE), card.percent(Benchmark.AIME24)) == (None, None)
    assert card.sampling == SamplingAdvice(temperature=0.6, top_k=20)
    assert (card.empty_system, card.thinks) == (True, False)


def test_a_card_need_not_say_how_its_model_is_asked() -> None:
    card = parse_card(GOOD[: GOOD.index("[sampling]")], "a.toml")
    assert (card.sampling, card.empty_system, card.thinks) == (None, False, False)


@pytest.mark.parametrize(
    ("good", "bad", "key"),
    [
        ("[skills]", "colour = 1\n[skills]", "unknown field `colour`"),
        ("chat = 1", "cooking = 1", r"unknown field `cooking` - at `\$.skills`"),
        ("math-500 =", "math-5000 =", r"unknown field `math-5000` - at `\$.scores`"),
        ("math-500 =", "math_500 =", r"unknown field `math_500` - at `\$.scores`"),
        ("score = 95.8,", "score = 95.8, year = 1,", r"unknown field `year` - at `\$.scores.math-500`"),
        ('family = "Fat"', "", "missing required field `family`"),
        ('family = "Fat"', 'family = " "', r"\$.family"),
        ("1_000", "0", r"\$.num_parameters"),
        ("512", '"512"', r"\$.context_length"),
        ("https://a.b/c", "a paper", r"\$.source"),
        ("zh-Hans", "Chinese (simplified)", r"\$.languages"),
        ("math = 0.5", "math = 0", r"\$.skills.math"),
        ("math = 0.5", "math = 1.1", r"\$.skills.math"),
        ("math = 0.5", "math = nan", r"\$.skills.math"),
        ("95.8", "101", r"\$.scores.math-500.score"),
        ("95.8", "nan", r"\$.scores.math-500.score"),
        (', source = "https://a.b/d"', "", r"`source` - at `\$.scores.math-500`"),
        ("0.6", "-0.1", r"\$.sampling.temperature"),
        ("0.6", "inf", r"\$.sampling.temperature"),
        ("0.6", "nan", r"\$.sampling.temperature"),
        ("top_k = 20", "top_k = 0", r"\$.sampling.top_k"),
        ("top_k = 20", "top_p = 0", r"\$.sampling.top_p"),
        ("top_k = 20", "top_p = nan", r"\$.sampling.top_p"),
        ("top_k = 20", "min_p = 1.5", r"\$.sampling.min_p"),
        ("top_k = 20", "seed = 1", r"unknown field `seed` - at `\$.sampling`"),
        ("empty_system = true", "empty_system = 1", r"\$.prompting.empty_system"),
        ("empty_system = true", "system = true", r"unknown field `system` - at `\$.prompting`"),
        ("[skills]", "[skills", "is not TOML"),
    ],
)
def test_a_card_that_is_wrong_says_in_one_line_where(good: str, bad: str, key: str) -> None:
    assert good in GOOD
    with pytest.raises(BadSetting, match=f"^a.toml.*{key}") as caught:
        parse_card(GOOD.replace(good, bad), "a.toml")
    assert "\n" not in str(caught.value)


def test_the_tables_have_a_key_for_every_skill_and_benchmark() -> None:
    assert [field.encode_name for field in msgspec.structs.fields(SkillsTable)] == [*Skill]
    assert [field.encode_name for field in msgspec.structs.fields(ScoresTable)] == [*Benchmark]


def test_every_skill_but_translation_has_a_benchmark() -> None:
    assert [skill for skill in Skill if not skill.benchmarks] == [Skill.TRANSLATION]
    assert Skill.MATH.benchmarks[0] is Benchmark.MATH_500


@pytest.fixture
def beside(store: ModelStore) -> Path:
    path = store.file_of("fat:1b").parent / "card.toml"
    path.parent.mkdir(parents=True)
    return path


def test_the_card_beside_a_model_wins_over_the_shipped_one(store: ModelStore) -> None:
    path = store.file_of("smollm2:135m").parent / "card.toml"
    path.parent.mkdir(parents=True)
    assert card_of(store, "smollm2:135m") == shipped_card("smollm2:135m") is not None
    path.write_text(GOOD.replace("fat:1b", "smollm2:135m"))
    card = card_of(store, "smollm2:135m")
    assert card == replace(parse_card(GOOD, ""), name="smollm2:135m")


def test_a_model_without_any_card_has_none(store: ModelStore, beside: Path) -> None:
    assert card_of(store, "fat:1b") is None


def test_a_card_that_was_copied_from_another_model_is_refused(store: ModelStore, beside: Path) -> None:
    beside.write_text(GOOD.replace("fat:1b", "thin:1b"))
    with pytest.raises(BadSetting, match=r"card\.toml: 'name' is 'thin:1b', and the model's is 'fat:1b'$"):
        card_of(store, "fat:1b")


def test_a_card_that_is_no_text_is_one_line_with_its_path(store: ModelStore, beside: Path) -> None:
    beside.write_bytes(b"\xff")
    with pytest.raises(BadSetting, match=rf"^{beside} cannot be read: "):
        card_of(store, "fat:1b")
    beside.unlink()
    beside.mkdir()
    with pytest.raises(BadSetting, match=rf"^{beside} cannot be read: "):
        card_of(store, "fat:1b")


def test_shipped_cards_lie_under_their_names_and_no_two_share_one() -> None:
    files = [file.name for file in resources.files("mesh.store").joinpath("cards").iterdir()]
    assert sorted(files) == sorted(f"{folder_name(card.name)}.toml" for card in shipped_cards())
    every = [name for card in shipped_cards() for name in (card.name, *card.other_names)]
    assert len(set(every)) == len(every)
    assert all(is_name(name) for name in every)


def test_every_model_of_the_catalogue_has_a_card() -> None:
    entries = {entry.name: entry.license for entry in load_catalogue().entries}
    cards = {card.name: card.licence for card in shipped_cards()}
    assert entries.items() <= cards.items()


def test_the_card_of_mimo_has_what_its_makers_published() -> None:
    card = shipped_card("mimo:7b-rl")
    assert card is not None
    published = {score.benchmark: score.percent for score in card.scores}
    assert published[Benchmark.MATH_500] == 95.8
    assert (published[Benchmark.AIME24], published[Benchmark.AIME25]) == (68.2, 55.4)
    assert published[Benchmark.LIVECODEBENCH_2408_2502] == 57.8
    assert {score.source for score in card.scores} == {"https://arxiv.org/abs/2505.07608"}


@pytest.mark.parametrize("name", ["mimo:7b-rl", "mimo:7b-sft", "mimo-7b-rl-q4_k_m"])
def test_mimo_is_asked_as_its_makers_do(name: str) -> None:
    card = shipped_card(name)
    assert card is not None
    assert card.sampling == SamplingAdvice(temperature=0.6, top_p=0.95)
    assert (card.empty_system, card.thinks) == (True, True)


@pytest.mark.parametrize(
    ("asked", "card"),
    [
        ("qwen3:4b", "qwen3:4b"),
        ("qwen3-4b", "qwen3:4b"),
        ("qwen3-4b-q4_k_m", "qwen3:4b"),
        ("mimo-7b-rl.q8_0", "mimo:7b-rl"),
        ("smollm2-135m-instruct-f16", "smollm2:135m"),
        ("qwen3-4b-base", None),
        ("qwen2.5-7b", None),
        ("qwen3-4b-q4_k_m-tuned", None),
    ],
)
def test_a_model_that_came_as_a_file_is_known_by_the_file_s_name(asked: str, card: str | None) -> None:
    found, expected = shipped_card(asked), card and shipped_card(card)
    assert found == (expected and replace(expected, name=asked))
