"""The order of work at one worker: which frames run together, and who is next.

Owns the work that waits, by session, and the choice among it. Pure: work comes in, turns come out. Must not
know what a frame holds nor how long it takes; how many rows it has, and how many rows may run at once, it is
told.

- What waits for one session is done in the order in which it came.
- What is no frame (opening, closing, resuming) is cheap and goes before all frames of other sessions.
- Frames of few rows, the next token of somebody who reads along, go together and first. Where longer ones
  wait too, the two kinds take turns: so a token waits for one part of a prompt at most, and a prompt for one
  batch of tokens.
- A long frame is cut: one turn takes as many rows as may run at once, and the rest waits for its next turn.
- Who was served least recently is first; who came while others were served goes before them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from mesh.types import SessionId, StageKey

T = TypeVar("T")

FEW_ROWS = 8
"""Up to so many rows a frame counts as short: a token, a guess at some, the end of a prompt."""

LEAST_ROWS = 16
"""So many rows of a long frame run at once at least, however slow the device: fewer cost nearly as much."""

MOST_ROWS = 512
"""And so many rows at most in one batch: what is gained beyond is little, and memory for it is not."""

_MOST_SHORT_ROWS = 64  # in one batch: tokens must not become a long batch themselves


@dataclass(frozen=True, slots=True)
class Size:
    """Where a frame runs, and how many rows it has."""

    stage: StageKey
    num_rows: int


@dataclass(frozen=True, slots=True)
class Alone(Generic[T]):
    """A turn: one piece of work that is no frame, or a frame of which nothing is known."""

    item: T


@dataclass(frozen=True, slots=True)
class Portion(Generic[T]):
    """Rows [start, end) of a frame, counted from its first."""

    item: T
    start: int
    end: int
    num_rows: int
    """Of the whole frame."""


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """A turn: frames, or parts of them, of different sessions at one stage."""

    stage: StageKey
    portions: tuple[Portion[T], ...]


Turn = Alone[T] | Batch[T]


@dataclass(slots=True)
class _Waiting(Generic[T]):
    number: int
    item: T
    is_frame: bool
    num_bytes: int
    size: Size | None = None
    done: int = 0
    """Rows that have had their turn."""

    @property
    def num_rows(self) -> int:
        return self.size.num_rows - self.done if self.size else 0


class Line(Generic[T]):
    """The work that waits at one worker."""

    def __init__(self, size_of: Callable[[T], Size | None], most_rows: Callable[[StageKey], int]) -> None:
        """`size_of` tells a frame's size when its turn may come, None where it is not known.

        `most_rows` tells how many rows of long frames may run at once at a stage; it is kept between
        LEAST_ROWS and MOST_ROWS.
        """
        self._size_of = size_of
        self._most_rows = most_rows
        self._queues: dict[SessionId, deque[_Waiting[T]]] = {}
        """By session, from the one that is next to the one that is last."""
        self._served: list[SessionId] = []
        """Whose turn it is now: they go behind those who came meanwhile."""
        self._others: dict[int, None] = {}
        """Numbers of what waits and is no frame."""
        self._last: deque[tuple[int, T]] = deque()
        self._num_added = 0
        self._were_short = False
        self.num_frames = 0
        """How many frames wait."""
        self.num_bytes = 0
        """What all that waits for sessions holds."""

    def __len__(self) -> int:
        return len(self._others) + self.num_frames + len(self._last)

    def add(self, session_id: SessionId, item: T, *, is_frame: bool, num_bytes: int = 0) -> None:
        """Take work for a session, to be done after what waits for it already."""
        self._num_added += 1
        waiting = _Waiting(self._num_added, item, is_frame, num_bytes)
        self._queues.setdefault(session_id, deque()).append(waiting)
        self._count(waiting, 1)

    def add_last(self, item: T) -> None:
        """Take work of no session, to be done after all that waits now and is no frame."""
        self._num_added += 1
        self._last.append((self._num_added, item))

    def discard(self, session_id: SessionId, is_void: Callable[[T], bool]) -> None:
        """Forget frames of a session that nobody wants any more, also the rest of one that was cut."""
        for waiting in [w for w in self._queues.get(session_id, ()) if w.is_frame and is_void(w.item)]:
            self._remove(session_id, waiting)

    def num_waiting(self, session_id: SessionId) -> int:
        """How many frames of a session wait."""
        return sum(waiting.is_frame for waiting in self._queues.get(session_id, ()))

    def take(self) -> Turn[T] | None:
        """Return what is to be done next; None where nothing waits."""
        self._move_served_back()
        if self._last and (not self._others or next(iter(self._others)) > self._last[0][0]):
            return Alone(self._last.popleft()[1])
        heads = self._heads()
        alone = [(head.number, session_id) for session_id, head in heads.items() if head.size is None]
        if alone:
            return Alone(self._pop(min(alone)[1]))
        return self._batch(heads) if heads else None

    def _move_served_back(self) -> None:
        for session_id in self._served:
            if (queue := self._queues.pop(session_id, None)) is not None:
                self._queues[session_id] = queue
        self._served = []

    def _heads(self) -> dict[SessionId, _Waiting[T]]:
        heads = {session_id: queue[0] for session_id, queue in self._queues.items()}
        for head in heads.values():
            if head.is_frame and head.size is None:
                head.size = self._size_of(head.item)
        return heads

    def _batch(self, heads: dict[SessionId, _Waiting[T]]) -> Batch[T]:
        short = {of: head for of, head in heads.items() if head.num_rows <= FEW_ROWS}
        long = {of: head for of, head in heads.items() if of not in short}
        self._were_short = bool(short) and not (long and self._were_short)
        stage = _stage_of_first(short if self._were_short else long)
        portions: list[Portion[T]] = []
        if not self._were_short:
            room = min(MOST_ROWS, max(LEAST_ROWS, self._most_rows(stage)))
            portions += self._together(long, stage, room)
        # Tokens that came since their last turn go along with a part of a prompt: they would wait for it.
        portions += self._together(short, stage, _MOST_SHORT_ROWS)
        return Batch(stage, tuple(portions))

    def _together(self, heads: dict[SessionId, _Waiting[T]], stage: StageKey, room: int) -> list[Portion[T]]:
        """Take from the heads, in this order, what runs at a stage and has room."""
        portions: list[Portion[T]] = []
        for session_id, head in heads.items():
            num_rows = min(head.num_rows, room)
            is_sliver = num_rows < min(head.num_rows, LEAST_ROWS)
            if head.size is None or head.size.stage != stage or is_sliver:
                continue
            portions.append(Portion(head.item, head.done, head.done + num_rows, head.size.num_rows))
            room -= num_rows
            self._served.append(session_id)
            head.done += num_rows
            if not head.num_rows:
                self._pop(session_id)
        return portions

    def _pop(self, session_id: SessionId) -> T:
        waiting = self._queues[session_id][0]
        self._remove(session_id, waiting)
        return waiting.item

    def _remove(self, session_id: SessionId, waiting: _Waiting[T]) -> None:
        queue = self._queues[session_id]
        if queue[0] is waiting:
            queue.popleft()
        else:
            queue.remove(waiting)
        if not queue:
            del self._queues[session_id]
        self._count(waiting, -1)

    def _count(self, waiting: _Waiting[T], by: int) -> None:
        self.num_bytes += by * waiting.num_bytes
        if waiting.is_frame:
            self.num_frames += by
        elif by > 0:
            self._others[waiting.number] = None
        else:
            del self._others[waiting.number]


def _stage_of_first(heads: dict[SessionId, _Waiting[T]]) -> StageKey:
    return next(head.size.stage for head in heads.values() if head.size)
