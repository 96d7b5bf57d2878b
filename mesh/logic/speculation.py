"""How many guessed tokens go along with a known one, and ahead of it, so that an answer is soon made.

Owns what was seen of one session: how often guesses are right, how long a traversal of the stages takes with
so many rows, and the choice that follows. Pure. Must not know how guesses are made (`mesh.logic.drafting`),
nor how they are verified: that the last stage does, which draws the very tokens that it would have drawn
without them.

Guesses go along with the known token in its frame. Where the model is split, further ones go ahead in frames
of their own, one behind the other, so that the stages work at the same time, each on another frame. As long
as all is right, a frame comes back each time that the slowest stage has done one; at the first wrong guess,
what is under way is void.

Guesses that were not sent are judged too, by what came: so it costs nothing to find out that they are getting
better, and text that cannot be guessed is not slowed down by trying.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import ceil, prod

from mesh.logic.batching import FEW_ROWS
from mesh.logic.drafting import NOTHING, Drafter, Guess, Kind, Told
from mesh.logic.traversal_times import TraversalTimes
from mesh.types import Drafted, Drafting, Guesses

MOST_DRAFTS = FEW_ROWS - 1
"""In one frame: with the token before them they are still a short frame, which no stage cuts."""

MOST_AHEAD = 8
"""Frames ahead of the one that is verified: as many as stages and ways between them can hold in a home."""

MOST_PENDING = MOST_DRAFTS + MOST_AHEAD * (MOST_DRAFTS + 1)
"""Guessed tokens that are under way at once."""

MOST_WANTED = 24
"""Tokens that a model is asked to guess at once."""

_WORTH = 1.03  # times as many tokens a second as without: below it what was measured may be chance
_DOUBTS = 4.0  # trials that count for nothing was seen yet
_FADES = 0.95  # what an older trial weighs, for each one since
_SUREST = 0.98  # no guess counts as more certain
_HOPED = 2.0  # what comes of filling is hoped to be so many times better, while nobody has seen it
_CURIOUS = 16  # traversals in which a model is asked for one guess more than is sent: maybe more would pay
_SELDOM = 4  # times, after these, in which it is asked so once


@dataclass(slots=True)
class _Odds:
    """How often guesses of one kind are right."""

    right: float
    trials: float

    def seen(self, *, is_right: bool) -> None:
        self.right = self.right * _FADES + is_right
        self.trials = self.trials * _FADES + 1

    @property
    def chance(self) -> float:
        return min(_SUREST, self.right / self.trials)


@dataclass(frozen=True, slots=True)
class Sending:
    """What goes out in one frame: guesses behind the known token, or ahead of what is verified."""

    guess: Guess
    is_ahead: bool
    num_wanted: int
    """Tokens that a model is asked to guess with it."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """The guessed tokens."""
        return self.guess.tokens


@dataclass(frozen=True, slots=True)
class _Choice:
    """How guesses are sent."""

    guess: Guess
    depth: int
    """Along with the known token."""
    num_ahead: int
    """Frames ahead, each of one token more than `depth`."""
    rate: float
    """Tokens for the time that one traversal takes without guesses."""

    @property
    def num_tokens(self) -> int:
        return self.depth + self.num_ahead * (self.depth + 1)


_NO_CHOICE = _Choice(NOTHING, 0, 0, 1.0)


class Speculation:
    """The guessing for one session."""

    def __init__(
        self, drafters: Sequence[Drafter], depth: int | None = None, num_ahead: int | None = None
    ) -> None:
        """`depth`: so many tokens go along each time, whatever it is worth; None: as many as pay.

        `num_ahead`: the same for frames ahead.
        """
        self._drafters = tuple(drafters)
        self._told = {drafter.name for drafter in drafters if isinstance(drafter, Told)}
        """Those whose guesses take a model's time."""
        self._depth, self._num_ahead = depth, num_ahead
        self._num_stages = 1
        self._has_begun = False
        self._odds: dict[Kind, _Odds] = {}
        self._flight: deque[Sending] = deque()
        """What is under way, the frame whose tokens come next first."""
        self._shown = NOTHING
        """A guess that was not sent, and is judged by what comes in its place."""
        self._choice = _NO_CHOICE
        self._times = TraversalTimes()
        self._intervals = TraversalTimes()
        """Between two frames that follow each other through the stages."""
        self._num_told = 0
        """Guesses that a model was waited for."""
        self._num_traversals = 0
        """That were waited for: what was sent ahead comes in the time of those before it."""
        self._counts = {drafter.name: [0, 0] for drafter in drafters}
        """By drafter, tokens that were guessed and sent, and those of them that were right."""

    @property
    def guesses(self) -> Guesses:
        """What was guessed so far."""
        drafted = (Drafted(name, sent, right) for name, (sent, right) in self._counts.items())
        return Guesses(self._num_traversals, tuple(drafted))

    @property
    def has_begun(self) -> bool:
        """Whether it knows the session's tokens."""
        return self._has_begun

    @property
    def is_of_traversal(self) -> bool:
        """Whether the tokens that come next were asked for when those before them were known."""
        return not (self._flight and self._flight[0].is_ahead)

    @property
    def pending(self) -> tuple[int, ...]:
        """Guessed tokens that are under way."""
        return tuple(token for sending in self._flight for token in sending.tokens)

    @property
    def asks_stage(self) -> bool:
        """Whether the last stage is to guess."""
        return any(drafter.name == Drafting.MTP for drafter in self._drafters)

    @property
    def num_wanted(self) -> int:
        """Tokens that a model is to guess behind the next one that it verifies: no more than may be used."""
        if self._depth is not None:
            return min(MOST_WANTED, self._depth + (self._num_ahead or 0) * (self._depth + 1))
        is_curious = self._num_traversals < _CURIOUS or self._num_traversals % _SELDOM == 0
        is_used = self._is_told(self._choice.guess)
        return min(MOST_WANTED, self._choice.num_tokens * is_used + is_curious)

    def route(self, num_stages: int) -> None:
        """The session has so many stages."""
        self._num_stages = num_stages

    def begin(self, history: Sequence[int]) -> None:
        """The session has these tokens."""
        self._has_begun = True
        for drafter in self._drafters:
            drafter.came(history)

    def told(self, name: str, guessed: Sequence[int]) -> None:
        """A model has guessed what may follow all that came."""
        for drafter in self._drafters:
            if isinstance(drafter, Told) and drafter.name == name:
                drafter.told(guessed)
        self._num_told = 0 if name == Drafting.MTP else len(guessed)

    def took(self, seconds: float) -> None:
        """The tokens that are waited for came so long after those before them."""
        if not self._flight:
            return
        first = self._flight[0]
        times = self._intervals if first.is_ahead else self._times
        times.saw(seconds, len(first.tokens), first.num_wanted)

    def came(self, tokens: Sequence[int]) -> None:
        """The tokens that were waited for came, at least one: as many more as guesses were right."""
        self._num_traversals += self.is_of_traversal
        first = self._flight.popleft().guess if self._flight else NOTHING
        following = self._flight[0].guess if self._flight else NOTHING
        sent = Guess(first.tokens + following.tokens[:1], first.kinds + following.kinds[:1])
        num_right = self._judge(sent if sent.tokens else self._shown, tokens)
        self._count(sent, num_right)
        if following.tokens and num_right == len(sent.tokens):
            self._flight[0] = replace(self._flight[0], guess=following.behind(1))
        else:
            for void in self._flight:
                self._count(void.guess.behind(1) if void.guess is following else void.guess, 0)
            self.nothing_sent()
        for drafter in self._drafters:
            drafter.came(tokens)

    def sending(self, most: int) -> list[Sending]:
        """Return what goes out now: so many guessed tokens at most.

        The first goes along with the known token, unless that is under way; all others go ahead.
        """
        left = most - len(self.pending)
        if not self._flight:
            self._choice = self._best(left)
            self._shown = NOTHING if self._choice.num_tokens else self._choice.guess.first(1)
            guess = self._choice.guess.first(self._choice.depth)
            num_wanted = self.num_wanted if self.asks_stage else self._num_told
            self._flight.append(Sending(guess, is_ahead=False, num_wanted=num_wanted))
            self._num_told = 0
            return [self._flight[0], *self._ahead(self._choice.guess.behind(self._choice.depth))]
        if not self._choice.num_ahead or left <= 0:
            return []
        pending = self.pending
        found = (drafter.guess(min(left, MOST_WANTED), pending) for drafter in self._drafters)
        return self._ahead(max(found, key=lambda guess: len(guess.tokens)))

    def nothing_sent(self) -> None:
        """What is under way has no guesses: it was taken back, or the route was opened anew."""
        self._flight.clear()
        self._shown = NOTHING

    def _ahead(self, guess: Guess) -> list[Sending]:
        """Fill up what goes ahead, with what was guessed behind all that is under way."""
        made: list[Sending] = []
        each = self._choice.depth + 1
        while guess.tokens and len(self._flight) <= self._choice.num_ahead:
            num_wanted = self.num_wanted if self.asks_stage else 0
            made.append(Sending(guess.first(each), is_ahead=True, num_wanted=num_wanted))
            self._flight.append(made[-1])
            guess = guess.behind(each)
        return made

    def _judge(self, guess: Guess, tokens: Sequence[int]) -> int:
        """Compare a guess with what came; return how many tokens were right, up to the first that was not."""
        for at, (guessed, kind, token) in enumerate(zip(guess.tokens, guess.kinds, tokens, strict=False)):
            self._odds_of(kind).seen(is_right=guessed == token)
            if guessed != token:
                return at
        return min(len(guess.tokens), len(tokens))

    def _count(self, sent: Guess, num_right: int) -> None:
        for at, kind in enumerate(sent.kinds):
            self._counts[kind.drafter][0] += 1
            self._counts[kind.drafter][1] += at < num_right

    def _best(self, most: int) -> _Choice:
        """By tokens that are expected for the time that they take."""
        if most <= 0:
            return _NO_CHOICE
        guesses = [drafter.guess(min(most, MOST_WANTED)) for drafter in self._drafters]
        if self._depth is not None:
            longest = max(guesses, key=lambda guess: len(guess.tokens))
            return _Choice(longest, min(self._depth, MOST_DRAFTS), self._num_ahead or 0, 1.0)
        shown = max(guesses, key=lambda guess: sum(kind.hope for kind in guess.kinds[:1]))
        if not self._times.is_known:
            return _Choice(shown, 0, 0, 1.0)  # first see what a traversal takes
        worth = [choice for guess in guesses for choice in self._choices(guess) if choice.rate > _WORTH]
        return max(worth, key=lambda choice: choice.rate, default=_Choice(shown, 0, 0, 1.0))

    def _choices(self, guess: Guess) -> Iterator[_Choice]:
        # None counts as more likely than the one before it: behind a wrong one nothing is judged.
        chances = list(accumulate((self._odds_of(kind).chance for kind in guess.kinds), min))
        expected, likely = 1.0, 1.0
        is_told, may_fill = self._is_told(guess), self._may_fill(guess)
        for depth in range(min(MOST_DRAFTS, len(chances)) + 1):
            if depth:
                likely *= chances[depth - 1]
                expected += likely
            share = self._times.of(depth, depth if is_told else 0) / self._times.alone_s
            yield _Choice(guess, depth, 0, expected / share)
            if may_fill and len(chances) > 2 * depth:
                yield self._filled(guess, chances, depth)

    def _is_told(self, guess: Guess) -> bool:
        """Whether it took a model's time."""
        return any(kind.drafter in self._told for kind in guess.kinds)

    def _may_fill(self, guess: Guess) -> bool:
        """Whether frames may go ahead: not where the last stage guesses, which would do little else then."""
        is_of_stage = any(kind.drafter == Drafting.MTP for kind in guess.kinds)
        return self._num_ahead is None and self._num_stages > 1 and not is_of_stage

    def _filled(self, guess: Guess, chances: Sequence[float], depth: int) -> _Choice:
        """What it is worth to have as many frames under way as the stages can work on at once.

        All goes well until the first wrong guess; then a whole traversal passes before the next token, and
        the frame that makes it has to wait for one that is void already.
        """
        each = depth + 1
        times, intervals = self._times, self._intervals
        at_once_s = intervals.alone_s or times.alone_s / (_HOPED * self._num_stages)
        num_ahead = min(MOST_AHEAD, ceil(times.alone_s / at_once_s), (len(chances) - depth) // each)
        through_s = times.of(depth, depth + num_ahead * each if self._is_told(guess) else 0)
        added_s = times.of(depth, 0) - times.alone_s
        interval_s = intervals.of(depth, 0) if intervals.is_known else at_once_s + added_s
        used = chances[: depth + num_ahead * each]
        chance = prod(used) ** (1 / max(1, len(used)))
        whole = chance**each
        num_frames = whole / (1 - whole)  # that are right to the last guess, before one that is not
        each_s = max(interval_s, through_s / (num_ahead + 1))
        time_s = through_s + num_frames * each_s + interval_s / 2
        return _Choice(guess, depth, num_ahead, times.alone_s / (1 - chance) / time_s)

    def _odds_of(self, kind: Kind) -> _Odds:
        return self._odds.setdefault(kind, _Odds(_DOUBTS * kind.hope, _DOUBTS))
