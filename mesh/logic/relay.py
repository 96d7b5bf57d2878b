"""What one stage keeps of a session, and what it sends on.

Owns where the stage's cache ends, the rows that it made (so that a hop which takes the next one's place can
be given them), and how much of them the next hop has. Pure: what was computed comes in, what is to be sent
goes out. Must not know channels, nor how rows are computed.

A route that was opened anew begins with every stage saying where its cache ends (Resume). Whoever comes
before it sends on from there, out of what it keeps. Three cases that look alike are told apart:

- a frame starts before the end of the cache: the sender takes something back, so the cache and the rows are
  cut, and the next hop gets what follows from there;
- the next hop has less than was sent: it is new, or lost what was under way, and gets it again;
- the next hop has more than this stage, which is new itself and computes what others already know: only
  what lies beyond is sent.

Rows that are not kept any more (there is a limit to their bytes) have to be made again: then this stage
itself says that its cache ends where they begin, and the hop before it sends them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, takewhile

from mesh.config import MAX_FRAME_POSITIONS
from mesh.types import Ahead


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of positions [start, end) as bytes, ready for the next hop."""

    start: int
    num_rows: int
    data: bytes
    sample: bool
    """Whether the last stage draws the token after the last row."""
    drafts: tuple[int, ...] = ()
    """Guessed tokens: the last rows are theirs."""
    tokens: tuple[int, ...] = ()
    """Those of all rows, where the last stage is to guess by them."""
    num_wanted: int = 0
    """Tokens that it is to guess behind those that it draws."""
    ahead: Ahead | None = None
    """Where all rows are of guesses: what they follow."""

    @property
    def end(self) -> int:
        """The position after the last row."""
        return self.start + self.num_rows

    @property
    def guesses(self) -> Iterable[tuple[int, int]]:
        """Guessed tokens with their positions."""
        return enumerate(self.drafts, self.end - len(self.drafts))

    @property
    def sure_to(self) -> int:
        """Rows before it are not of guesses, or were guessed right."""
        return self.end - len(self.drafts) if self.ahead is None else self.ahead.verified_to


@dataclass(frozen=True, slots=True)
class Rewound:
    """The stage's cache ends at `position` now, and ended at `had` before."""

    position: int
    had: int


class Relay:
    """The state of one session at one stage."""

    def __init__(self) -> None:
        self.length = 0
        """Where the cache ends."""
        self.kept_bytes = 0
        """Of the rows that are kept."""
        self._kept: list[Rows] = []
        self._kept_from = 0
        """Rows before it were made, and are not kept."""
        self._sent_to: int | None = 0
        """The next hop has everything before it; None until it has said how much."""
        self._known: int | None = None
        """What the gateway knew when the route was opened anew; None as long as it never was."""
        self._awaited: int | None = None
        """Frames that start beyond it are old: the hop before was asked to send on from there."""
        self._sure_to = 0
        """Rows before it are not of guessed tokens, or were guessed right."""
        self._known_to: int | None = None
        """Where the last rows ended that were of known tokens; None where no rows are sent on."""

    @property
    def reached(self) -> int:
        """How far it has come for sure; rows of guessed tokens may be behind that."""
        return min(self.length, self._sure_to)

    def begin_with(self, length: int) -> None:
        """The cache begins with rows of another session: they are there, and were never made for this one."""
        self.length = self._kept_from = self._sure_to = length

    def reopen(self, known: int, newest: Sequence[int] = ()) -> Rewound:
        """The route exists anew: say where the cache ends, and wait for the next hop to say the same.

        The gateway has the tokens of rows before `known` - 1: sent again, they may go in one frame. From that
        row on each is to draw its token once more. `newest` are the last of the `known` tokens. Rows of
        guessed tokens that are not right by them are given up: the gateway may have come further since, by
        other routes.
        """
        self._sent_to, self._known = None, known
        self._verify(known - len(newest), newest)
        self._settle(min(self.length, self._sure_to))
        return self._await(self.length)

    def takes(self, start: int, ahead: Ahead | None = None) -> bool:
        """Whether a frame is to be computed: not if it was sent before this stage asked for earlier ones.

        One that is ahead of what is verified must follow what is here: else that was taken back meanwhile, or
        what it follows was lost on its way.
        """
        if ahead is not None:
            is_next = self._known_to in (None, ahead.known_to) and start == self.length
            return is_next and self._awaited is None
        if self._awaited is not None and start > self._awaited:
            return False
        self._awaited = None
        return True

    def computed(self, rows: Rows) -> list[Rows]:
        """Take what came out of a frame; return what the next hop is to be sent now, maybe nothing."""
        if rows.ahead is None:
            self._settle(rows.start)
            self._known_to = rows.sure_to
        self.length = rows.end
        self._sure_to = max(self._sure_to, rows.sure_to)
        self._keep(rows)
        return self._due()

    def advanced(self, length: int) -> None:
        """A frame went through the last stage, which sends no rows on; those before `length` are sure."""
        self.length = self._kept_from = self._sure_to = length

    def take_back(self, position: int) -> Rewound:
        """Ask for the rows from a position on once more, though they are there: what they led to is not."""
        return self._await(position)

    def resumed(self, position: int) -> list[Rows] | Rewound:
        """The next hop's cache ends there: return what it lacks, or that it is to be made anew."""
        self._sent_to = position
        if position >= self._kept_from:
            return self._due()
        rewound = self._await(position)
        self._cut(position)
        return rewound

    def forget(self) -> None:
        """Keep nothing of what was made so far, to save memory."""
        self._kept.clear()
        self.kept_bytes, self._kept_from = 0, self.length

    def _verify(self, start: int, tokens: Sequence[int]) -> None:
        """Tokens are known from a position on: guesses that are the same are right, up to one that is not."""
        guesses = chain.from_iterable(rows.guesses for rows in self._kept[self._first_guess :])
        for position, guess in guesses:
            if position < self._sure_to:
                continue
            if not 0 <= position - start < len(tokens) or tokens[position - start] != guess:
                return
            self._sure_to = position + 1

    def _settle(self, position: int) -> None:
        """What is before a position was guessed right, or was no guess; the rest is taken back."""
        for at in range(self._first_guess, len(self._kept)):
            self._kept[at] = replace(self._kept[at], drafts=(), ahead=None)
        if position < self.length:
            self._cut(position)

    @property
    def _first_guess(self) -> int:
        """Where among what is kept those rows begin that are of guesses, or followed by such."""
        at = len(self._kept)
        while at and self._kept[at - 1].drafts:
            at -= 1
        return at

    def _keep(self, rows: Rows) -> None:
        self._kept.append(rows)
        self.kept_bytes += len(rows.data)

    def _await(self, position: int) -> Rewound:
        self._awaited = position
        return Rewound(position, self.length)

    def _cut(self, position: int) -> None:
        """Take back all rows from a position on."""
        self.length, self._sure_to = position, min(self._sure_to, position)
        self._kept_from = min(self._kept_from, position)
        if self._sent_to is not None:
            self._sent_to = min(self._sent_to, position)
        while self._kept and self._kept[-1].end > position:
            last = self._kept.pop()
            self.kept_bytes -= len(last.data)
            if last.start < position:
                self._keep(_part(last, last.start, position))

    def _due(self) -> list[Rows]:
        """Return the rows that the next hop lacks, in as few frames as may be, and count them as sent.

        Guesses go whole, behind the known row before them, or not at all: a hop that has that row has had its
        token drawn, and what follows from that is on its way.
        """
        if self._sent_to is None or self._sent_to >= self.length:
            return []
        sent_to, guesses = self._sent_to, self._kept[self._first_guess :]
        if self._known is not None and any(rows.start < sent_to < rows.end for rows in guesses):
            return []
        self._sent_to = self.length
        # As a rule only the newest: so it is looked for from the end.
        lacking = takewhile(lambda rows: rows.end > sent_to, reversed(self._kept))
        wanted = [_part(rows, sent_to, rows.end) for rows in lacking][::-1]
        if self._known is None:
            return wanted
        settled = [rows for rows in wanted if not rows.drafts]
        return [*_in_frames(settled, self._known), *wanted[len(settled) :]]


def _part(rows: Rows, start: int, end: int) -> Rows:
    """Return the rows of [start, end) that are among these, as what is sure.

    The token is drawn only after the very last.
    """
    start = max(start, rows.start)
    if (start, end) == (rows.start, rows.end):
        return rows
    size = len(rows.data) // rows.num_rows
    data = rows.data[(start - rows.start) * size : (end - rows.start) * size]
    tokens = rows.tokens[start - rows.start : end - rows.start]
    asks = rows.sample and end == rows.end
    return Rows(start, end - start, data, asks, tokens=tokens, num_wanted=rows.num_wanted if asks else 0)


def _in_frames(parts: list[Rows], known: int) -> list[Rows]:
    """Join and cut rows that follow each other to frames of at most MAX_FRAME_POSITIONS.

    Only the one that ends at `known` asks for a token, and each row behind it, one by one.
    """
    frames: list[list[Rows]] = []
    num_rows = MAX_FRAME_POSITIONS
    for rows in chain.from_iterable(_cut_at(part, known) for part in parts):
        if rows.end > known or num_rows + rows.num_rows > MAX_FRAME_POSITIONS:
            frames.append([])
            num_rows = 0
        frames[-1].append(rows)
        num_rows += rows.num_rows
    joined = [_joined(frame) for frame in frames]
    asks = {rows.end for rows in parts[-1:] if rows.sample}
    return [replace(rows, sample=rows.end >= known or rows.end in asks) for rows in joined]


def _cut_at(rows: Rows, known: int) -> list[Rows]:
    """Cut rows into those up to a position, and each one behind it."""
    first = [_part(rows, rows.start, min(known, rows.end))] if rows.start < known else []
    return first + [_part(rows, at, at + 1) for at in range(max(known, rows.start), rows.end)]


def _joined(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    num_rows, last = sum(rows.num_rows for rows in parts), parts[-1]
    tokens = tuple(chain.from_iterable(rows.tokens for rows in parts))
    return Rows(
        start=parts[0].start,
        num_rows=num_rows,
        data=b"".join(rows.data for rows in parts),
        sample=last.sample,
        tokens=tokens if len(tokens) == num_rows else (),
        num_wanted=last.num_wanted,
    )
