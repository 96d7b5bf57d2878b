"""What is measured, and what it should come to.

Owns the list of measures with their targets, and the sums over rounds. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from statistics import median

from benchmarks.beside.links import LOOPBACK, Link
from benchmarks.beside.sample import Sample


class Kind(StrEnum):
    """What is asked of both."""

    DECODE = "decode"
    PREFILL = "prefill"
    USERS = "users"
    WHOLE = "whole"
    """Decode by a mesh of one node, beside the bare engine instead of llama.cpp."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table."""

    name: str
    title: str
    kind: Kind
    link: Link
    at_least: float
    """Ratio of the mesh to its peer that is to be reached."""
    stretch: float


MEASURES = (
    Measure("decode", "decode, one user, loopback", Kind.DECODE, LOOPBACK, 1.25, 1.6),
    Measure("prefill", "prefill of 1,024 tokens, loopback", Kind.PREFILL, LOOPBACK, 3.0, 5.0),
    Measure("users", "8 users' decode in all, loopback", Kind.USERS, LOOPBACK, 3.5, 5.0),
    Measure("decode-1ms", "decode, one user, 1 ms one way", Kind.DECODE, Link(0.001), 1.5, 2.0),
    Measure("decode-2.5ms", "decode, one user, 2.5 ms one way", Kind.DECODE, Link(0.0025), 1.5, 2.0),
    Measure("whole", "whole mesh on one node, bare engine", Kind.WHOLE, LOOPBACK, 0.93, 0.97),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One measure in one round: both systems, one right after the other."""

    mesh: Sample
    peer: Sample | None
    """None where the peer could not be had."""

    @property
    def ratio(self) -> float | None:
        """Of the mesh to its peer."""
        return None if self.peer is None else self.mesh.tokens_per_s / self.peer.tokens_per_s


@dataclass(frozen=True, slots=True)
class Spread:
    """Several rounds in three numbers."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        digits = 0 if self.median >= 100 else 1 if self.median >= 10 else 2
        return f"{self.median:.{digits}f} ({self.least:.{digits}f} to {self.most:.{digits}f})"


def spread(values: Sequence[float]) -> Spread | None:
    """Sum up values; None where there are none."""
    return Spread(median(values), min(values), max(values)) if values else None


def ratios(pairs: Sequence[Pair]) -> Spread | None:
    """The ratio round by round, which outlives a machine whose speed swings."""
    return spread([pair.ratio for pair in pairs if pair.ratio is not None])


def table(rounds: Mapping[str, Sequence[Pair]]) -> str:
    """Medians and ratios with their spread, beside what is to be reached."""
    head = ("tokens/s, median (least to most)", "mesh", "peer", "ratio", "at least", "stretch")
    lines = [_line(measure, rounds[measure.name]) for measure in MEASURES if rounds.get(measure.name)]
    return "\n".join(f"{a:36} {b:>20} {c:>20} {d:>20} {e:>8} {f:>7}" for a, b, c, d, e, f in (head, *lines))


def _line(measure: Measure, pairs: Sequence[Pair]) -> tuple[str, ...]:
    figures = (_mesh(pairs), _peer(pairs), ratios(pairs))
    shown = tuple("-" if figure is None else str(figure) for figure in figures)
    return (measure.title, *shown, f"{measure.at_least:g}", f"{measure.stretch:g}")


def record(rounds: Mapping[str, Sequence[Pair]]) -> dict[str, object]:
    """What is kept of the measures: sums, targets, and every round with its seconds of processor."""
    return {
        measure.name: {
            "title": measure.title,
            "unit": "tokens/s",
            "link": asdict(measure.link),
            "mesh": _kept(_mesh(rounds[measure.name])),
            "peer": _kept(_peer(rounds[measure.name])),
            "ratio": _kept(ratios(rounds[measure.name])),
            "at_least": measure.at_least,
            "stretch": measure.stretch,
            "rounds": [asdict(pair) for pair in rounds[measure.name]],
        }
        for measure in MEASURES
        if rounds.get(measure.name)
    }


def _mesh(pairs: Sequence[Pair]) -> Spread | None:
    return spread([pair.mesh.tokens_per_s for pair in pairs])


def _peer(pairs: Sequence[Pair]) -> Spread | None:
    return spread([pair.peer.tokens_per_s for pair in pairs if pair.peer is not None])


def _kept(figure: Spread | None) -> dict[str, float] | None:
    return None if figure is None else {name: round(value, 3) for name, value in asdict(figure).items()}
