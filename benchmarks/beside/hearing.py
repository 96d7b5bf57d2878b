"""What a client hears of an answer, and the rates that follow from it.

Owns the arithmetic: which tokens count, over which time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mesh.client import Answer
from mesh.errors import InternalError
from mesh.now import now_s


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer by the client's clock."""

    asked_s: float
    arrivals: tuple[tuple[float, int], ...]
    """When tokens came, and how many; at least one arrival."""

    @property
    def first_s(self) -> float:
        """When the first token came."""
        return self.arrivals[0][0]

    @property
    def last_s(self) -> float:
        """When the last token came."""
        return self.arrivals[-1][0]

    @property
    def first_token_s(self) -> float:
        """Seconds from the question to the first token."""
        return self.first_s - self.asked_s

    def num_between(self, after_s: float, until_s: float) -> int:
        """Tokens that came after one time and until another."""
        return sum(count for at_s, count in self.arrivals if after_s < at_s <= until_s)


async def hear(answer: Answer) -> Heard:
    """Listen to an answer; raise InternalError for one without a token, or what the answer raises."""
    asked_s = now_s()
    arrivals = [(now_s(), len(piece.tokens)) async for piece in answer if piece.tokens]
    if not arrivals:
        raise InternalError("an answer had no token; nothing could be measured")
    return Heard(asked_s, tuple(arrivals))


def decode_rate(heard: Heard) -> float:
    """Tokens a second after the first arrival; raise InternalError where nothing came after it."""
    return _rate(heard.num_between(heard.first_s, heard.last_s), heard.last_s - heard.first_s)


def joint_rate(answers: Sequence[Heard]) -> float:
    """Tokens a second of all answers together, from the last first token to the first end."""
    begins_s = max(heard.first_s for heard in answers)
    ends_s = min(heard.last_s for heard in answers)
    return _rate(sum(heard.num_between(begins_s, ends_s) for heard in answers), ends_s - begins_s)


def _rate(num_tokens: int, seconds: float) -> float:
    if seconds <= 0:
        raise InternalError("the answers were too short, or did not overlap; nothing could be measured")
    return num_tokens / seconds
