"""The turns of one worker: what came for it, and what of that is done next.

Owns the queue before the order of work, and its bounds. Which turn is the next is decided in
`mesh.logic.batching`. Must not know what is done in a turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mesh.inbox import Inbox
from mesh.link import Link
from mesh.logic.batching import Alone, Batch, Line, Portion, Size
from mesh.messages import CloseSession, Frame, OpenSession, Resume
from mesh.types import Hidden, Payload, SessionId, StageKey, TokenIds

_QUEUE = 256  # messages that were not put in order yet; beyond it links are not read
_MOST_BYTES = 64 * 2**20  # of frames in order: of a large model some 8,000 positions; then links wait
_MOST_WAITING = 4096  # messages in order: so many tokens' frames come from nobody
_TOKEN_BYTES = 4

WorkMessage = OpenSession | Frame | CloseSession | Resume


@dataclass(frozen=True, slots=True)
class Work:
    """A message for a session, and the link over which it came."""

    message: WorkMessage
    upstream: Link


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """Nothing more comes over a link; done after what came, so that no session is opened after it."""

    link: Link


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Nobody has taken up a session again."""

    session_id: SessionId


Piece = Work | LinkClosed | Abandoned


class Turns:
    """The work of one worker, in order."""

    def __init__(self, size_of: Callable[[Frame], Size | None], most_rows: Callable[[StageKey], int]) -> None:
        """`size_of` and `most_rows`: see `mesh.logic.batching.Line`."""
        self._inbox: Inbox[Piece] = Inbox(_QUEUE)
        self._line: Line[Piece] = Line(lambda piece: _size(piece, size_of), most_rows)

    async def put(self, piece: Piece) -> None:
        """Take work; waits while too much of it waits."""
        await self._inbox.put(piece)

    def put_nowait(self, piece: Piece) -> None:
        """Take work at once, beyond the bounds if need be."""
        self._inbox.put_nowait(piece)

    async def next(self) -> Alone[Piece] | Batch[Piece]:
        """Wait for the next turn."""
        while True:
            self._put_in_order()
            if (turn := self._line.take()) is not None:
                return turn
            self._add(await self._inbox.get())

    def num_waiting(self, session_id: SessionId) -> int:
        """How many frames of a session wait, those aside that came during this turn."""
        return self._line.num_waiting(session_id)

    @property
    def num_frames(self) -> int:
        """How many frames wait."""
        return self._line.num_frames

    def _put_in_order(self) -> None:
        while len(self._line) < _MOST_WAITING and self._line.num_bytes < _MOST_BYTES:
            if (piece := self._inbox.get_nowait()) is None:
                return
            self._add(piece)

    def _add(self, piece: Piece) -> None:
        match piece:
            case Work(Frame() as frame):
                num_bytes = _num_bytes(frame.payload)
                if not frame.is_ahead:
                    self._line.discard(frame.session_id, lambda waiting: _replaces(frame, waiting))
                self._line.add(frame.session_id, piece, is_frame=True, num_bytes=num_bytes)
            case Work(message):
                if isinstance(message, CloseSession):
                    self._line.discard(message.session_id, lambda waiting: _ends(message, waiting))
                self._line.add(message.session_id, piece, is_frame=False)
            case Abandoned(session_id):
                self._line.add(session_id, piece, is_frame=False)
            case LinkClosed():
                self._line.add_last(piece)


def parts_of(batch: Batch[Piece]) -> list[tuple[Work, Frame]]:
    """Return the frames of a batch, or the parts of them that are to run now, each with what it came as."""
    return [
        (portion.item, _part(portion.item.message, portion))
        for portion in batch.portions
        if isinstance(portion.item, Work) and isinstance(portion.item.message, Frame)
    ]


def _part(frame: Frame, portion: Portion[Piece]) -> Frame:
    """Return some rows of a frame; the token is drawn after the very last row alone."""
    if (portion.start, portion.end) == (0, portion.num_rows):
        return frame
    return replace(
        frame,
        start=frame.start + portion.start,
        payload=_cut(frame.payload, portion),
        sample=frame.sample and portion.end == portion.num_rows,
        tokens=frame.tokens[portion.start : portion.end],
    )


def _cut(payload: Payload, portion: Portion[Piece]) -> Payload:
    match payload:
        case TokenIds(ids):
            return TokenIds(ids[portion.start : portion.end])
        case Hidden(data):
            size = len(data) // portion.num_rows
            # What is left of a payload of no whole rows goes with the last part, which is refused for it.
            end = portion.end * size if portion.end < portion.num_rows else len(data)
            return Hidden(data[portion.start * size : end])


def _size(piece: Piece, size_of: Callable[[Frame], Size | None]) -> Size | None:
    match piece:
        case Work(Frame() as frame):
            return size_of(frame)
        case _:
            return None


def _ends(closing: CloseSession, piece: Piece) -> bool:
    """Whether a frame need not be computed, because its session is over."""
    return isinstance(piece, Work) and piece.message.epoch <= closing.epoch


def _replaces(frame: Frame, piece: Piece) -> bool:
    """Whether a frame that waits went ahead in the hope of what has not come: another follows there."""
    waiting = piece.message if isinstance(piece, Work) else None
    if not isinstance(waiting, Frame) or (waiting.epoch, waiting.index) != (frame.epoch, frame.index):
        return False
    return waiting.is_ahead and waiting.start >= frame.start


def _num_bytes(payload: Payload) -> int:
    match payload:
        case TokenIds(ids):
            return _TOKEN_BYTES * len(ids)
        case Hidden(data):
            return len(data)
