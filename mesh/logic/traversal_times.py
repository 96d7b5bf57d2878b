"""What a traversal of the stages takes, by how much goes along and how much is to be guessed at its end.

Owns the estimate: a time alone, and what each row and each guess adds to it, by least squares over what was
seen of each combination. Pure. What was never varied is taken for what is usual.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum

_FADES = 0.995  # what a combination weighs, for each other traversal since
_NEWEST = 0.25  # weight of the newest time among those of its combination
_MOST_WEIGHT = 8.0  # of one combination: then its time is known well
_USUAL = (0.1, 0.05)  # of a traversal's time, that a row and a guess add, before any was seen
_LATE = 3.0  # times as long as expected: more says something of that moment and not of the stages
_DOUBT = 0.3  # weight of what is usual
_LEAST = 0.05  # of what was seen, that a traversal takes alone

_Matrix = list[list[float]]


@dataclass(slots=True)
class _Seen:
    """What traversals with so many drafts and guesses took."""

    seconds: float
    weight: float = 0.0

    def saw(self, seconds: float) -> None:
        self.seconds += (seconds - self.seconds) * _NEWEST
        self.weight = min(_MOST_WEIGHT, self.weight + 1)


class TraversalTimes:
    """The times of one session's traversals."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], _Seen] = {}
        self._parts = (0.0, 0.0, 0.0)

    @property
    def is_known(self) -> bool:
        """Whether one was seen."""
        return bool(self._seen)

    @property
    def alone_s(self) -> float:
        """With nothing that goes along, and nothing to be guessed; 0 while none was seen."""
        return self._parts[0]

    def of(self, num_drafts: int, num_wanted: int) -> float:
        """Return what a traversal takes with so many drafts, at whose end so many tokens are guessed."""
        alone_s, row_s, guess_s = self._parts
        return alone_s + num_drafts * row_s + num_wanted * guess_s

    def saw(self, seconds: float, num_drafts: int, num_wanted: int) -> None:
        """One took so long; what took no time was there already, and says nothing."""
        if seconds <= 0:
            return
        if self._seen:
            seconds = min(seconds, _LATE * self.of(num_drafts, num_wanted))
        for other in self._seen.values():
            other.weight *= _FADES
        self._seen.setdefault((num_drafts, num_wanted), _Seen(seconds)).saw(seconds)
        self._parts = self._solved(self.alone_s or seconds)

    def _solved(self, usual_s: float) -> tuple[float, float, float]:
        """Solve for the three parts; none is negative."""
        matrix, wanted = self._equations(usual_s)
        whole = _determinant(matrix)
        row_s, guess_s = (max(0.0, _determinant(_with_column(matrix, at, wanted)) / whole) for at in (1, 2))
        # What was cut off above belongs to the time alone.
        rest_s = (wanted[0] - matrix[0][1] * row_s - matrix[0][2] * guess_s) / matrix[0][0]
        return max(rest_s, _LEAST * usual_s), row_s, guess_s

    def _equations(self, usual_s: float) -> tuple[_Matrix, list[float]]:
        """The normal equations, with what is usual as if it had been seen."""
        rows = [((1, n, w), seen.seconds, seen.weight) for (n, w), seen in self._seen.items()]
        rows += [((0, 1, 0), _USUAL[0] * usual_s, _DOUBT), ((0, 0, 1), _USUAL[1] * usual_s, _DOUBT)]
        matrix = [[fsum(x[a] * x[b] * weight for x, _, weight in rows) for b in range(3)] for a in range(3)]
        return matrix, [fsum(x[a] * seconds * weight for x, seconds, weight in rows) for a in range(3)]


def _with_column(matrix: _Matrix, at: int, column: list[float]) -> _Matrix:
    return [[*row[:at], one, *row[at + 1 :]] for row, one in zip(matrix, column, strict=True)]


def _determinant(m: _Matrix) -> float:
    return fsum(
        m[0][a] * (m[1][b] * m[2][c] - m[1][c] * m[2][b]) for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1))
    )
