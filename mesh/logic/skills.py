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
class Candidate:
    """A model that is present, by a name that no other has; without a card it can chat and nothing else."""

    name: str
    card: ModelCard | None
    can_answer: bool = True
    """Whether the devices could answer with it now; who asks judges that."""
    trouble: str | None = None
    """Why its card cannot be read; None where it can, or where there is none."""

    def weight(self, skill: Skill) -> float | None:
        """Return how good it is at a skill, None where it lacks it; 0 for chat without a card."""
        if self.card is not None:
            return self.card.weight(skill)
        return 0.0 if skill is Skill.CHAT else None


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request says of the model that it wants; no skill means chat."""

    model: str | None = None
    """A name, which settles it, or `auto`; None means the same as `auto`."""
    skill: str | None = None
    language: str | None = None
    """A tag of BCP 47; a model whose card does not name the language is passed over."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A model and, in one line, why it stands where it does or why it was passed over."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The models that fit a wish, best first, and those that do not, by name; together all candidates."""

    fitting: tuple[Verdict, ...]
    passed_over: tuple[Verdict, ...]

    @property
    def best(self) -> str | None:
        """Name of the model to take, None where none fits."""
        return self.fitting[0].name if self.fitting else None


def choose(candidates: Iterable[Candidate], wish: Wish) -> Choice:
    """Order the models that fit a wish; raise UnknownSkill for a word that is none.

    A model that is asked for by name is the only one that fits, whatever its card says, whether it can answer
    and whether it is present: what is wrong with it, the request itself will tell. Else those fit that have
    the skill, name the language and can answer.

    Of two the better is the one with the higher score in the first benchmark of the skill in which they
    differ and both have one; else with the greater weight in its card, else with more parameters, else the
    first by name. Where three beat each other in a circle, first is who beats more of the others (Copeland).
    """
    skill = Skill.CHAT if wish.skill is None else Skill.named(wish.skill)
    present = sorted(candidates, key=lambda candidate: candidate.name)
    if wish.model is not None and wish.model != AUTO:
        return _by_name(present, wish.model)
    obstacles = {candidate.name: _obstacle(candidate, skill, wish.language) for candidate in present}
    fitting = [candidate for candidate in present if obstacles[candidate.name] is None]
    passed_over = (Verdict(name, reason) for name, reason in obstacles.items() if reason is not None)
    return Choice(_explained(_ordered(fitting, skill), skill), tuple(passed_over))


def _by_name(present: Sequence[Candidate], name: str) -> Choice:
    others = (candidate.name for candidate in present if candidate.name != name)
    passed_over = (Verdict(other, f"'{name}' was asked for by name") for other in others)
    return Choice((Verdict(name, "asked for by name"),), tuple(passed_over))


def _obstacle(candidate: Candidate, skill: Skill, language: str | None) -> str | None:
    """Say why a model does not fit, the lasting reasons first; None where it does."""
    if candidate.weight(skill) is None:
        if candidate.card is not None:
            return f"it lacks {skill}"
        has_none = "it has no card" if candidate.trouble is None else candidate.trouble
        return f"{has_none}, so it counts for chat only"
    if language is not None and (candidate.card is None or not candidate.card.languages):
        return f"its languages are not known, so it may not speak '{language[:80]}'"
    if language is not None and candidate.card is not None and not candidate.card.speaks(language):
        return f"it does not speak '{language[:80]}'"
    return None if candidate.can_answer else "it cannot answer now"


def _ordered(fitting: Sequence[Candidate], skill: Skill) -> list[Candidate]:
    """Put those first that beat most of the others; of those that beat equally many, the larger weight."""

    def rank(one: Candidate) -> tuple[int, float, int, str]:
        wins = sum(_beats(one, other, skill) for other in fitting if other is not one)
        return -wins, -(one.weight(skill) or 0.0), -_num_parameters(one), one.name

    return sorted(fitting, key=rank)


@dataclass(frozen=True, slots=True)
class _Difference:
    """The first thing in which two models differ that matters."""

    of: str
    ours: float
    theirs: float


def _beats(one: Candidate, other: Candidate, skill: Skill) -> bool:
    difference = _difference(one, other, skill)
    return one.name < other.name if difference is None else difference.ours > difference.theirs


def _difference(one: Candidate, other: Candidate, skill: Skill) -> _Difference | None:
    return next((found for found in _compared(one, other, skill) if found.ours != found.theirs), None)


def _compared(one: Candidate, other: Candidate, skill: Skill) -> Iterator[_Difference]:
    for benchmark in skill.benchmarks if one.card and other.card else ():
        ours, theirs = (each.card.percent(benchmark) if each.card else None for each in (one, other))
        if ours is not None and theirs is not None:
            yield _Difference(benchmark.value, ours, theirs)
    yield _Difference(f"weight for {skill}", one.weight(skill) or 0.0, other.weight(skill) or 0.0)
    yield _Difference("billions of parameters", _num_parameters(one) / 1e9, _num_parameters(other) / 1e9)


def _num_parameters(candidate: Candidate) -> int:
    return candidate.card.num_parameters if candidate.card else 0


def _explained(ordered: Sequence[Candidate], skill: Skill) -> tuple[Verdict, ...]:
    """Say of each what puts it before the next, and of the last what it has."""
    reasons = [_reason(one, following, skill) for one, following in pairwise(ordered)]
    reasons.extend(f"weight for {skill} {last.weight(skill) or 0.0:.4g}" for last in ordered[-1:])
    return tuple(Verdict(each.name, reason) for each, reason in zip(ordered, reasons, strict=True))


def _reason(one: Candidate, following: Candidate, skill: Skill) -> str:
    if not _beats(one, following, skill):
        return f"better than more of the others than '{following.name}'"
    difference = _difference(one, following, skill)
    if difference is None:
        return f"equal to '{following.name}', and before it by name"
    return f"{difference.of} {difference.ours:.4g} against {difference.theirs:.4g} of '{following.name}'"
