"""The model for a skill: the better score, else the weight, else the size; and a reason for every one."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.card import Benchmark, ModelCard, Score, Skill, SkillWeight
from mesh.errors import UnknownSkill
from mesh.logic.skills import Choice, Model, Verdict, choose
from mesh.store.cards import shipped_cards

MATH = "math"
Scores = dict[Benchmark, float]
M500, AIME, GSM8K = Benchmark.MATH_500, Benchmark.AIME24, Benchmark.GSM8K
HUMANEVAL = Benchmark.HUMANEVAL


def model(
    name: str,
    weight: float = 0.5,
    scores: Scores | None = None,
    billions: int = 1,
    skill: Skill = Skill.MATH,
    languages: tuple[str, ...] = (),
) -> Model:
    published = tuple(
        Score(benchmark, percent, "https://a.b") for benchmark, percent in (scores or {}).items()
    )
    skills = (SkillWeight(skill, weight),)
    card = ModelCard(name, "F", billions * 10**9, 8, "MIT", "https://a.b", skills, (), languages, published)
    return Model(name, card)


def names(choice: Choice) -> list[str]:
    return [verdict.name for verdict in choice.fitting]


@pytest.mark.parametrize(
    ("better", "worse", "reason"),
    [
        (model("b", 0.1, {M500: 95.8}), model("a", 0.9, {M500: 93.4}), "math-500 95.8 against 93.4 of 'a'"),
        (model("b", 0.9, {M500: 10}), model("a", 0.1, {AIME: 90}), "weight for math 0.9 against 0.1 of 'a'"),
        (model("b", 0.9), model("a", 0.1, {M500: 99}), "weight for math 0.9 against 0.1 of 'a'"),
        (
            model("b", 0.1, {AIME: 11, M500: 77.6}),
            model("a", 0.9, {AIME: 9, M500: 77.6}),
            "aime24 11 against 9 of 'a'",
        ),
        (
            model("b", 0.1, {AIME: 9, M500: 78}),
            model("a", 0.9, {AIME: 11, M500: 77}),
            "math-500 78 against 77 of 'a'",
        ),
        (
            model("b", 0.9, {HUMANEVAL: 10}),
            model("a", 0.1, {HUMANEVAL: 90}),
            "weight for math 0.9 against 0.1 of 'a'",
        ),
        (model("b", billions=8), model("a", billions=4), "billions of parameters 8 against 4 of 'a'"),
        (model("a"), model("b"), "equal to 'b', and before it by name"),
    ],
)
def test_the_better_of_two_is_first_and_says_by_what(better: Model, worse: Model, reason: str) -> None:
    for order in permutations([better, worse]):
        choice = choose(order, MATH)
        assert choice.fitting[0] == Verdict(better.name, reason)
        assert names(choice)[1:] == [worse.name]


def test_the_last_says_what_it_has() -> None:
    assert choose([model("a", 0.25)], MATH).fitting == (Verdict("a", "weight for math 0.25"),)


def test_in_a_circle_the_order_is_that_of_wins_then_weights() -> None:
    """By scores a beats b and b beats c, by weight c beats a; d is beaten by all but c."""
    a, b = model("a", 0.2, {M500: 90}), model("b", 0.1, {M500: 80, AIME: 50})
    c, d = model("c", 0.3, {AIME: 40, GSM8K: 1}), model("d", 0.05, {GSM8K: 2})
    choice = choose([d, c, b, a], MATH)
    assert names(choice) == ["a", "b", "c", "d"]
    assert choice.fitting[2].reason == "better than more of the others than 'd'"


@pytest.mark.parametrize(
    ("one", "skill", "language", "reason"),
    [
        (model("a", skill=Skill.CHAT), MATH, None, "it lacks math"),
        (model("a", skill=Skill.MATH), None, None, "it lacks chat"),
        (Model("a", None), MATH, None, "it has no card, so it counts for chat only"),
        (model("a", languages=("en",)), MATH, "de", "it does not speak 'de'"),
        (model("a"), MATH, "de", "its languages are not known, so it may not speak 'de'"),
        (Model("a", None), None, "de", "its languages are not known, so it may not speak 'de'"),
    ],
)
def test_who_is_passed_over_says_why(
    one: Model, skill: str | None, language: str | None, reason: str
) -> None:
    assert choose([one], skill, language) == Choice((), (Verdict("a", reason),))


def test_without_a_card_a_model_can_chat_behind_those_that_have_one() -> None:
    choice = choose([Model("a", None), model("b", 0.01, skill=Skill.CHAT)], None)
    assert names(choice) == ["b", "a"]
    assert choice.fitting[1].reason == "weight for chat 0"


@pytest.mark.parametrize(
    ("own", "wanted", "fits"),
    [
        ("de", "de", True),
        ("de", "de-CH", True),
        ("zh-Hans", "zh", True),
        ("pt-BR", "PT-br", True),
        ("pt-BR", "pt-PT", False),
        ("d", "de", False),
        ("den", "de", False),
    ],
)
def test_a_language_is_met_by_itself_its_varieties_and_what_it_is_a_variety_of(
    own: str, wanted: str, fits: bool
) -> None:
    choice = choose([model("a", languages=("xx", own))], MATH, wanted)
    assert names(choice) == (["a"] if fits else [])


@pytest.mark.parametrize("word", ["maths", "Math", ""])
def test_an_unknown_skill_is_refused_with_those_that_there_are(word: str) -> None:
    known = "skills are chat, math, code, reasoning, translation, summary$"
    with pytest.raises(UnknownSkill, match=f"^no skill is called '{word}'; {known}"):
        choose([], word)


MODELS = st.lists(
    st.builds(
        model,
        name=st.sampled_from("abcdef"),
        weight=st.sampled_from([0.2, 0.4]),
        scores=st.dictionaries(st.sampled_from([M500, AIME, GSM8K]), st.sampled_from([10.0, 20.0])),
        skill=st.sampled_from([Skill.MATH, Skill.CODE]),
    ),
    unique_by=lambda one: one.name,
)


@settings(max_examples=20)
@given(MODELS.flatmap(lambda models: st.tuples(st.just(models), st.permutations(models))))
def test_everyone_is_judged_once_whatever_the_order_of_asking(
    orders: tuple[list[Model], list[Model]],
) -> None:
    models, shuffled = orders
    choice = choose(models, MATH)
    judged = [verdict.name for verdict in (*choice.fitting, *choice.passed_over)]
    assert sorted(judged) == sorted(one.name for one in models)
    assert choose(shuffled, MATH) == choice


@pytest.mark.parametrize("skill", Skill)
def test_the_shipped_cards_stand_in_one_order_without_a_circle(skill: Skill) -> None:
    present = [Model(card.name, card) for card in shipped_cards()]
    position = {name: at for at, name in enumerate(names(choose(present, skill)))}
    for one, other in combinations([each for each in present if each.name in position], 2):
        assert names(choose([one, other], skill)) == sorted([one.name, other.name], key=position.__getitem__)


@pytest.mark.parametrize(
    ("skill", "best"),
    [(None, "qwen3:4b"), ("math", "qwen3:4b"), ("reasoning", "qwen3:4b"), ("summary", "qwen3:4b")],
)
def test_of_small_and_large_shipped_models_the_published_best_is_taken(skill: str | None, best: str) -> None:
    home = ("smollm2:135m", "llama3.2:1b", "mimo:7b-rl", "qwen3:4b", "qwen2.5:7b")
    present = [Model(card.name, card) for card in shipped_cards() if card.name in home]
    assert names(choose(present, skill))[0] == best
