"""Which sessions should be gone, and since when.

Owns what is known of sessions from outside: to which request one belongs is told to the client. Of a session
that no client heard of, only this is sure: it is over when no request is under way. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mesh.types import SessionId
from simulator.asking import Asked


class Leftovers:
    """The sessions of one run."""

    def __init__(self) -> None:
        self._of_request: dict[int, list[SessionId]] = {}
        self._over_since_s: dict[SessionId, float] = {}
        """Of sessions that clients know; infinite while under way."""
        self._idle_since_s = 0.0

    def routed(self, asked: Asked, session_id: SessionId) -> None:
        """A client was told of the session that answers it."""
        self._of_request.setdefault(asked.script.number, []).append(session_id)
        self._over_since_s[session_id] = math.inf

    def ended(self, asked: Asked, now_s: float) -> None:
        """An attempt has ended, and its sessions with it."""
        for session_id in self._of_request.pop(asked.script.number, ()):
            self._over_since_s[session_id] = now_s

    def look(self, requests: Sequence[Asked]) -> None:
        """See whether anybody is asking; called now and then."""
        if any(asked.is_under_way for asked in requests):
            self._idle_since_s = math.inf
        else:
            self._idle_since_s = max((asked.ended_s or 0.0 for asked in requests), default=0.0)

    def over_since_s(self, session_id: SessionId) -> float:
        """Return since when a session should be gone; infinite where it may live."""
        return self._over_since_s.get(session_id, self._idle_since_s)
