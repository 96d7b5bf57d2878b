"""Which model answers, where a request names a skill instead of a model.

Owns the order of models for a skill, and the reasons that are told for it. Pure, and the same for the same
cards in whatever order they come. Must not know how cards are read, whether a model fits the devices, or what
a prompt says: nothing is inferred from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mesh.card import ModelCard, Skill

AUTO = "auto"
"""In place of a model's name: the mesh chooses."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is present, by a name that no other has; without a card it can chat and nothing else."""

    name: str
    card: ModelCard | None
    trouble: str | None = None
    """Why its card cannot be read; None where it can, or where there is none."""

    def weight(self, skill: Skill) -> float | None:
        """Return how good it is at a skill, None where it lacks it; 0 for chat without a card."""
        if self.card is not None:
            return self.card.weight(skill)
        return 0.0 if skill is Skill.CHAT else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A model and, in one line, why it stands where it does or why it was passed over."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The models that fit, best first, and those that do not, by name; together all that are present."""

    fitting: tuple[Verdict, ...]
    passed_over: tuple[Verdict, ...]


def choose(models: Iterable[Model], skill: str | None, language: str | None = None) -> Choice:
    """Order the models that fit; raise UnknownSkill for a word that is none.

    Those fit that have the skill, which is chat where none is named, and whose cards name the language, a tag
    of BCP 47, where one is asked for.

    Of two the better is the one with the higher score in the first benchmark of the skill in which they
    differ and both have one; else with the greater weight in its card, else with more parameters, else the
    first by name. Where three beat each other in a circle, first is who beats more of the others (Copeland).
    """
    wanted = Skill.CHAT if skill is None else Skill.named(skill)
    present = sorted(models, key=lambda model: model.name)
    obstacles = {model.name: _obstacle(model, wanted, language) for model in present}
    fitting = [model for model in present if obstacles[model.name] is None]
    passed_over = (Verdict(name, reason) for name, reason in obstacles.items() if reason is not None)
    return Choice(_explained(_ordered(fitting, wanted), wanted), tuple(passed_over))


def _obstacle(model: Model, skill: Skill, language: str | None) -> str | None:
    """Say why a model does not fit; None where it does."""
    if model.weight(skill) is None:
        if model.card is not None:
            return f"it lacks {skill}"
        has_none = "it has no card" if model.trouble is None else model.trouble
        return f"{has_none}, so it counts for chat only"
    if language is None:
        return None
    if model.card is None or not model.card.languages:
        return f"its languages are not known, so it may not speak '{language[:80]}'"
    return None if model.card.speaks(language) else f"it does not speak '{language[:80]}'"


def _ordered(fitting: Sequence[Model], skill: Skill) -> list[Model]:
    """Put those first that beat most of the others; of those that beat equally many, the larger weight."""

    def rank(one: Model) -> tuple[int, float, int, str]:
        wins = sum(_beats(one, other, skill) for other in fitting if other is not one)
        return -wins, -(one.weight(skill) or 0.0), -_num_parameters(one), one.name

    return sorted(fitting, key=rank)


@dataclass(frozen=True, slots=True)
class _Difference:
    """The first thing in which two models differ that matters."""

    of: str
    ours: float
    theirs: float


def _beats(one: Model, other: Model, skill: Skill) -> bool:
    difference = _difference(one, other, skill)
    return one.name < other.name if difference is None else difference.ours > difference.theirs


def _difference(one: Model, other: Model, skill: Skill) -> _Difference | None:
    return next((found for found in _compared(one, other, skill) if found.ours != found.theirs), None)


def _compared(one: Model, other: Model, skill: Skill) -> Iterator[_Difference]:
    for benchmark in skill.benchmarks if one.card and other.card else ():
        ours, theirs = (each.card.percent(benchmark) if each.card else None for each in (one, other))
        if ours is not None and theirs is not None:
            yield _Difference(benchmark.value, ours, theirs)
    yield _Difference(f"weight for {skill}", one.weight(skill) or 0.0, other.weight(skill) or 0.0)
    yield _Difference("billions of parameters", _num_parameters(one) / 1e9, _num_parameters(other) / 1e9)


def _num_parameters(model: Model) -> int:
    return model.card.num_parameters if model.card else 0


def _explained(ordered: Sequence[Model], skill: Skill) -> tuple[Verdict, ...]:
    """Say of each what puts it before the next, and of the last what it has."""
    reasons = [_reason(one, following, skill) for one, following in pairwise(ordered)]
    reasons.extend(f"weight for {skill} {last.weight(skill) or 0.0:.4g}" for last in ordered[-1:])
    return tuple(Verdict(each.name, reason) for each, reason in zip(ordered, reasons, strict=True))


def _reason(one: Model, following: Model, skill: Skill) -> str:
    if not _beats(one, following, skill):
        return f"better than more of the others than '{following.name}'"
    difference = _difference(one, following, skill)
    if difference is None:
        return f"equal to '{following.name}', and before it by name"
    return f"{difference.of} {difference.ours:.4g} against {difference.theirs:.4g} of '{following.name}'"
