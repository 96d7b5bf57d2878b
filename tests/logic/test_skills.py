"""The model for a skill: the better score, else the weight, else the size; and a reason for every one."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.card import Benchmark, ModelCard, Score, Skill, SkillWeight
from mesh.errors import UnknownSkill
from mesh.logic.skills import AUTO, Candidate, Choice, Verdict, Wish, choose
from mesh.store.cards import shipped_cards

MATH = Wish(AUTO, "math")
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
    can_answer: bool = True,
) -> Candidate:
    published = tuple(
        Score(benchmark, percent, "https://a.b") for benchmark, percent in (scores or {}).items()
    )
    skills = (SkillWeight(skill, weight),)
    card = ModelCard(name, "F", billions * 10**9, 8, "MIT", "https://a.b", skills, (), languages, published)
    return Candidate(name, card, can_answer)


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
def test_the_better_of_two_is_first_and_says_by_what(
    better: Candidate, worse: Candidate, reason: str
) -> None:
    for order in permutations([better, worse]):
        choice = choose(order, MATH)
        assert choice.best == better.name
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
    ("candidate", "wish", "reason"),
    [
        (model("a", skill=Skill.CHAT), MATH, "it lacks math"),
        (model("a", skill=Skill.MATH), Wish(), "it lacks chat"),
        (Candidate("a", None), MATH, "it has no card, so it counts for chat only"),
        (model("a", can_answer=False), MATH, "it cannot answer now"),
        (model("a", languages=("en",)), Wish(AUTO, "math", "de"), "it does not speak 'de'"),
        (model("a"), Wish(None, "math", "de"), "its languages are not known, so it may not speak 'de'"),
        (Candidate("a", None), Wish(language="de"), "its languages are not known, so it may not speak 'de'"),
        (model("a", skill=Skill.CHAT, can_answer=False), MATH, "it lacks math"),
    ],
)
def test_who_is_passed_over_says_why(candidate: Candidate, wish: Wish, reason: str) -> None:
    choice = choose([candidate], wish)
    assert choice == Choice((), (Verdict("a", reason),))
    assert choice.best is None


def test_without_a_card_a_model_can_chat_behind_those_that_have_one() -> None:
    choice = choose([Candidate("a", None), model("b", 0.01, skill=Skill.CHAT)], Wish())
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
    choice = choose([model("a", languages=("xx", own))], Wish(AUTO, "math", wanted))
    assert (choice.best == "a") is fits


@pytest.mark.parametrize("skill", [None, "math", "code"])
@pytest.mark.parametrize("name", ["weak", "away", "bare"])
def test_a_name_always_wins(name: str, skill: str | None) -> None:
    present = [model("strong", 1), model("weak", 0.1, can_answer=False), Candidate("bare", None)]
    choice = choose(present, Wish(name, skill, "de"))
    assert choice.fitting == (Verdict(name, "asked for by name"),)
    others = sorted({"strong", "weak", "bare"} - {name})
    assert choice.passed_over == tuple(Verdict(other, f"'{name}' was asked for by name") for other in others)


@pytest.mark.parametrize("word", ["maths", "Math", ""])
@pytest.mark.parametrize("name", [None, AUTO, "a"])
def test_an_unknown_skill_is_refused_with_those_that_there_are(name: str | None, word: str) -> None:
    known = "skills are chat, math, code, reasoning, translation, summary$"
    with pytest.raises(UnknownSkill, match=f"^no skill is called '{word}'; {known}"):
        choose([], Wish(name, word))


CANDIDATES = st.lists(
    st.builds(
        model,
        name=st.sampled_from("abcdef"),
        weight=st.sampled_from([0.2, 0.4]),
        scores=st.dictionaries(st.sampled_from([M500, AIME, GSM8K]), st.sampled_from([10.0, 20.0])),
        skill=st.sampled_from([Skill.MATH, Skill.CODE]),
        can_answer=st.booleans(),
    ),
    unique_by=lambda candidate: candidate.name,
)


@settings(max_examples=20)
@given(CANDIDATES.flatmap(lambda candidates: st.tuples(st.just(candidates), st.permutations(candidates))))
def test_everyone_is_judged_once_whatever_the_order_of_asking(
    orders: tuple[list[Candidate], list[Candidate]],
) -> None:
    candidates, shuffled = orders
    choice = choose(candidates, MATH)
    judged = [verdict.name for verdict in (*choice.fitting, *choice.passed_over)]
    assert sorted(judged) == sorted(candidate.name for candidate in candidates)
    assert choose(shuffled, MATH) == choice


@pytest.mark.parametrize("skill", Skill)
def test_the_shipped_cards_stand_in_one_order_without_a_circle(skill: Skill) -> None:
    present = [Candidate(card.name, card) for card in shipped_cards()]
    wish = Wish(AUTO, skill.value)
    position = {name: at for at, name in enumerate(names(choose(present, wish)))}
    for one, other in combinations([each for each in present if each.name in position], 2):
        assert names(choose([one, other], wish)) == sorted([one.name, other.name], key=position.__getitem__)


@pytest.mark.parametrize(
    ("skill", "best"),
    [(None, "qwen3:4b"), ("math", "qwen3:4b"), ("reasoning", "qwen3:4b"), ("summary", "qwen3:4b")],
)
def test_of_small_and_large_shipped_models_the_published_best_is_taken(skill: str | None, best: str) -> None:
    home = ("smollm2:135m", "llama3.2:1b", "mimo:7b-rl", "qwen3:4b", "qwen2.5:7b")
    present = [Candidate(card.name, card) for card in shipped_cards() if card.name in home]
    assert choose(present, Wish(skill=skill)).best == best
