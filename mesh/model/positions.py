"""How far a cache is filled: position is the truth.

Owns the rules by which a frame's first position cuts a cache back, fits or does not. Must not know what a
cache holds.
"""

from __future__ import annotations

from mesh.errors import ContextExceeded, PositionGap


class Positions:
    """The filled positions of one cache, from 0 on."""

    def __init__(self, context: int) -> None:
        self.context = context
        """Positions that there may be."""
        self.length = 0
        """Positions that are filled."""

    def begin(self, start: int, num_tokens: int) -> None:
        """Cut back to `start` and make sure that a frame of rows fits behind it.

        Raises PositionGap when the cache ends before `start` and ContextExceeded when the frame would not
        fit; all is then as it was.
        """
        if start > self.length:
            raise PositionGap(
                f"the frame starts at position {start} but the cache ends at {self.length}; "
                "send the positions between them first"
            )
        if start + num_tokens > self.context:
            raise ContextExceeded(
                f"{start + num_tokens} positions do not fit the session's context of {self.context}; "
                "shorten the conversation or open it with a longer context"
            )
        self.length = start

    def finish(self, num_tokens: int) -> None:
        """Count the rows of the frame that began as filled."""
        self.length += num_tokens
