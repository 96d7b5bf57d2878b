"""What is known of a model: its card, with what it can do and how well, as far as that was published.

Owns the vocabulary of skills, the benchmarks that measure each, and the card's shape. Must not know where
cards lie, how they are written, or how one model is chosen over another.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mesh.errors import UnknownSkill
from mesh.types import SamplingAdvice


class Skill(StrEnum):
    """What a model can be asked for; the vocabulary is closed, so that two cards mean the same by a word."""

    CHAT = "chat"
    MATH = "math"
    CODE = "code"
    REASONING = "reasoning"
    TRANSLATION = "translation"
    SUMMARY = "summary"

    @classmethod
    def named(cls, word: str) -> Skill:
        """Return the skill of exactly that name; raise UnknownSkill with the word and all that there are."""
        try:
            return cls(word)
        except ValueError:
            known = ", ".join(skill.value for skill in cls)
            raise UnknownSkill(f"no skill is called {word[:80]!r}; skills are {known}") from None

    @property
    def benchmarks(self) -> tuple[Benchmark, ...]:
        """Those that measure the skill, the one that says most first."""
        return tuple(benchmark for benchmark in Benchmark if benchmark.skill is self)


class Benchmark(StrEnum):
    """A published test; one name stands for one set of problems and one way to count, so scores compare.

    The same problems counted otherwise have another name: of Qwen2.5-1.5B-Instruct one laboratory published
    73.2 on GSM8K, another 42.8. Scores are in percent. The order is that of preference within a skill: for
    mathematics MATH-500 is first, with 500 problems of all kinds where an AIME has 30 of one.
    """

    MATH_500 = "math-500"
    AIME24 = "aime24"
    AIME25 = "aime25"
    MATH = "math"
    GSM8K = "gsm8k"
    GSM8K_LIGHTEVAL = "gsm8k-lighteval"
    """5 examples, counted by lighteval."""
    LIVECODEBENCH_2410_2502 = "livecodebench-2410-2502"
    """Problems of October 2024 to February 2025; the next two likewise: other months are other problems."""
    LIVECODEBENCH_2408_2502 = "livecodebench-2408-2502"
    LIVECODEBENCH_2305_2409 = "livecodebench-2305-2409"
    HUMANEVAL = "humaneval"
    MBPP = "mbpp"
    GPQA_DIAMOND = "gpqa-diamond"
    IFEVAL_STRICT = "ifeval-strict"
    """Share of prompts, strict."""
    IFEVAL_AVERAGE = "ifeval-average"
    """Mean over prompts and instructions, loose and strict."""
    IFEVAL_LIGHTEVAL = "ifeval-lighteval"
    """Mean over prompts and instructions, counted by lighteval."""
    TLDR9_ROUGEL = "tldr9-rougel"
    """Rouge-L of summaries, which is far from 100 for good ones too."""

    @property
    def skill(self) -> Skill:
        """Return the skill that it measures."""
        return _MEASURED[self]


_MEASURED = {
    Benchmark.MATH_500: Skill.MATH,
    Benchmark.AIME24: Skill.MATH,
    Benchmark.AIME25: Skill.MATH,
    Benchmark.MATH: Skill.MATH,
    Benchmark.GSM8K: Skill.MATH,
    Benchmark.GSM8K_LIGHTEVAL: Skill.MATH,
    Benchmark.LIVECODEBENCH_2410_2502: Skill.CODE,
    Benchmark.LIVECODEBENCH_2408_2502: Skill.CODE,
    Benchmark.LIVECODEBENCH_2305_2409: Skill.CODE,
    Benchmark.HUMANEVAL: Skill.CODE,
    Benchmark.MBPP: Skill.CODE,
    Benchmark.GPQA_DIAMOND: Skill.REASONING,
    Benchmark.IFEVAL_STRICT: Skill.CHAT,
    Benchmark.IFEVAL_AVERAGE: Skill.CHAT,
    Benchmark.IFEVAL_LIGHTEVAL: Skill.CHAT,
    Benchmark.TLDR9_ROUGEL: Skill.SUMMARY,
}


@dataclass(frozen=True, slots=True)
class Score:
    """What a model reached in a benchmark, in percent, and the address where that was published."""

    benchmark: Benchmark
    percent: float
    source: str


@dataclass(frozen=True, slots=True)
class SkillWeight:
    """How good the card's author believes a model to be at a skill, above 0 and at most 1."""

    skill: Skill
    weight: float


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of one model, by the name under which the mesh has it."""

    name: str
    family: str
    num_parameters: int
    context_length: int
    """In tokens."""
    licence: str
    source: str
    """Address of its makers' own description."""
    skills: tuple[SkillWeight, ...]
    other_names: tuple[str, ...] = ()
    """What the same model is called when it was pulled from a file of its makers."""
    languages: tuple[str, ...] = ()
    """Tags of BCP 47; empty where nobody said."""
    scores: tuple[Score, ...] = ()
    sampling: SamplingAdvice | None = None
    """How its makers would have its tokens drawn; None where they do not say."""
    empty_system: bool = False
    """Whether a conversation without a system message gets one without text, lest a template adds its own."""
    thinks: bool = False
    """Whether its answers may begin with what it thinks, between `<think>` and `</think>`."""

    def weight(self, skill: Skill) -> float | None:
        """Return how good it is at a skill, None where it lacks it."""
        return next((known.weight for known in self.skills if known.skill is skill), None)

    def percent(self, benchmark: Benchmark) -> float | None:
        """Return its published score in percent, None where there is none."""
        return next((score.percent for score in self.scores if score.benchmark is benchmark), None)

    def speaks(self, language: str) -> bool:
        """Whether one of its languages is that of the tag, or a variety of it, or the tag is one of its.

        `de-CH` is met by a card with `de`, and `zh` by one with `zh-Hans`; capitals do not matter. It follows
        the basic filtering of RFC 4647, made in both directions.
        """
        return any(_is_within(language, own) or _is_within(own, language) for own in self.languages)


def _is_within(tag: str, wider: str) -> bool:
    return f"{tag}-".lower().startswith(f"{wider}-".lower())
