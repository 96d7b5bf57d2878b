"""What of an answer the first stage is sent, and from where on.

Owns what stages have said of where their caches end, as far as it concerns the gateway: from where to send
on, and how much of the prompt nobody had to compute. Pure: openings, and what stages say, come in, frames go
out.

A session that begins like another is fed in the hope that the stages still have what both have in common: the
frames behind that follow its opening at once. The first stage's first word says whether the hope was right;
where it was not, what is under way is dropped there and sent again, with what is lacking before it.
"""

from __future__ import annotations

from mesh.logic.session import Session, frame_rows
from mesh.messages import Frame, Resume


class Feeding:
    """The feeding of one answer."""

    def __init__(self, session: Session, num_shared: int) -> None:
        """`num_shared` positions are hoped to be at the stages already."""
        self._session = session
        self.num_reused = num_shared
        """Positions that no stage had to compute, by what they have said so far."""
        self._fed_from: int | None = None
        """Stage 0 has all before it, by what it has said of this route; None until it has."""
        self._hoped_from: int | None = None
        """Frames are under way from there, in the hope that stage 0 has all before it; None once it spoke."""
        self._num_stages = 1
        self._row_s = 0.0

    def route(self, num_stages: int, row_s: float) -> None:
        """Frames take this way: so many stages, the slowest of which takes so long for a row of a prompt."""
        self._num_stages, self._row_s = num_stages, row_s

    def opened(self, *, is_first: bool) -> list[Frame]:
        """The route is opened; return what is sent at once: nothing where the stages have to speak first."""
        if not is_first:
            self._fed_from = self._hoped_from = None
            return []
        self._fed_from, self._hoped_from = self.num_reused, self.num_reused or None
        return self._frames_from(self.num_reused)

    def resumed(self, resume: Resume) -> list[Frame]:
        """A stage says where its cache ends; return what the first one is to be sent for it."""
        self.num_reused = min(self.num_reused, resume.position)
        if resume.index > 0:
            return []
        hoped_from, self._hoped_from = self._hoped_from, None
        if resume.position == hoped_from:
            return []  # it is under way
        self._fed_from = resume.position
        return self._frames_from(resume.position)

    def is_fed_to(self, position: int) -> bool:
        """Whether the first stage has, or is being sent, all before a position: the next frame may follow."""
        return self._fed_from is not None and position >= self._fed_from

    def _frames_from(self, position: int) -> list[Frame]:
        num_rows = self._session.position - position
        return self._session.frames_from(position, frame_rows(num_rows, self._num_stages, self._row_s))
