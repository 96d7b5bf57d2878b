"""How many guessed tokens go along with a known one, so that an answer is made in the least time.

Owns what was seen of one session: how often guesses are right, how long a traversal of the stages takes with
so many rows, and the choice that follows. Pure. Must not know how guesses are made (`mesh.logic.drafting`),
nor how they are verified: that the last stage does, which draws the very tokens that it would have drawn
without them.

Guesses that were not sent are judged too, by what came: so it costs nothing to find out that they are getting
better, and text that cannot be guessed is not slowed down by trying.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mesh.logic.batching import FEW_ROWS
from mesh.logic.drafting import NOTHING, Drafter, Guess
from mesh.types import Guesses

MOST_DRAFTS = FEW_ROWS - 1
"""At once: with the known token before them they are still a short frame, which no stage cuts."""

_WORTH = 1.03  # times as many tokens a second as without: below it what was measured may be chance
_DOUBTS = 4.0  # trials that count for nothing was seen yet
_FADES = 0.95  # what an older trial weighs, for each one since
_ROW_SHARE = 0.2  # of a traversal's time, that each row more is taken for, before one was measured
_NEWEST = 0.25  # weight of the newest time
_GRADES = (3, 4, 8, 16)  # tokens in common from which on a guess belongs to the next class


@dataclass(slots=True)
class _Odds:
    """How often guesses of one class are right."""

    right: float
    trials: float

    def seen(self, num_right: int, num_wrong: int) -> None:
        for is_right in (*(True,) * num_right, *(False,) * num_wrong):
            self.right = self.right * _FADES + is_right
            self.trials = self.trials * _FADES + 1

    @property
    def chance(self) -> float:
        return self.right / self.trials


class Speculation:
    """The guessing for one session."""

    def __init__(self, drafter: Drafter, depth: int | None = None) -> None:
        """`depth`: so many tokens are guessed each time, whatever it is worth; None: as many as pay."""
        self._drafter = drafter
        self._depth = depth
        self._odds: dict[int, _Odds] = {}
        self._guess: Guess = NOTHING
        """For the token that is waited for, and those behind it."""
        self._sent: tuple[int, ...] = ()
        self._alone_s = 0.0
        """What a traversal with no guess takes; 0 while none was measured."""
        self._row_share = _ROW_SHARE
        self._num_drafted = self._num_right = self._num_traversals = 0

    @property
    def guesses(self) -> Guesses:
        """What was guessed so far."""
        return Guesses(self._drafter.name, self._num_drafted, self._num_right, self._num_traversals)

    def begin(self, history: Sequence[int]) -> None:
        """The session has these tokens."""
        self._drafter.came(history)

    def came(self, tokens: Sequence[int]) -> None:
        """The tokens that were waited for came, at least one: as many more as guesses were right."""
        self._num_traversals += 1
        self._num_drafted += len(self._sent)
        self._num_right += len(tokens) - 1
        judged = self._sent or self._guess.tokens[:1]
        if judged:
            num_right = sum(1 for _ in _alike(judged, tokens))
            self._odds_of(self._guess).seen(num_right, int(num_right < len(judged)))
        self._drafter.came(tokens)

    def took(self, seconds: float) -> None:
        """The traversal that brought what came took so long."""
        if not self._sent:
            self._alone_s += (seconds - self._alone_s) * (_NEWEST if self._alone_s else 1.0)
        elif self._alone_s:
            share = (seconds / self._alone_s - 1) / len(self._sent)
            self._row_share += (min(1.0, max(0.0, share)) - self._row_share) * _NEWEST

    def drafts(self, most: int) -> tuple[int, ...]:
        """Return what goes along with the known token this time: so many tokens at most."""
        self._guess = self._drafter.guess(min(most, MOST_DRAFTS)) if most > 0 else NOTHING
        depth = self._best_depth() if self._depth is None else self._depth
        self._sent = self._guess.tokens[:depth]
        return self._sent

    def nothing_sent(self) -> None:
        """What is on its way has no guesses: the route was opened anew."""
        self._guess, self._sent = NOTHING, ()

    def _best_depth(self) -> int:
        """By tokens that are expected for the time that they take."""
        chance = self._odds_of(self._guess).chance
        best, best_rate = 0, _WORTH
        expected, likely = 1.0, 1.0
        for depth in range(1, len(self._guess.tokens) + 1):
            likely *= chance
            expected += likely
            rate = expected / (1 + depth * self._row_share)
            if rate > best_rate:
                best, best_rate = depth, rate
        return best

    def _odds_of(self, guess: Guess) -> _Odds:
        grade = sum(guess.grade >= least for least in _GRADES)
        hope = 0.2 + 0.15 * grade
        return self._odds.setdefault(grade, _Odds(_DOUBTS * hope, _DOUBTS))


def _alike(guessed: Sequence[int], came: Sequence[int]) -> list[int]:
    """The tokens that were guessed right, up to the first that was not."""
    right: list[int] = []
    for one, other in zip(guessed, came, strict=False):
        if one != other:
            break
        right.append(one)
    return right
