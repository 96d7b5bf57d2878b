"""The Upstream port in virtual time: a server that says made-up words at a steady pace, and fails on demand.

Owns the pace, the ways in which it fails, and the count of what reached it: a question that must not leave
the house shows in `received_bytes`. Must not know who asks, nor HTTP.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mesh.errors import MeshError, UpstreamBroken, UpstreamUnreachable
from mesh.upstream import (
    UpstreamCard,
    UpstreamEnd,
    UpstreamFinish,
    UpstreamPiece,
    UpstreamQuestion,
    UpstreamReasoning,
    UpstreamText,
    UpstreamUsage,
)
from simulator.library import word

Reply = Callable[[UpstreamQuestion], Sequence[str]]
"""What a server says to a question, token by token."""

_FEWEST_WORDS = 16
_NUM_WORDS = 65_536  # made-up words to draw from
_WORD_BYTES = 4  # of the digest, for one


@dataclass(frozen=True, slots=True)
class UpstreamPace:
    """How long a server takes."""

    first_token_s: float = 0.5
    """From the question to the first token."""
    token_s: float = 0.02
    """For each one that follows."""


def made_up(question: UpstreamQuestion) -> Sequence[str]:
    """Return 16 to 271 words that are always the same for a question and its seed."""
    text = "\n".join(f"{turn.role}:{turn.content}" for turn in question.messages)
    whole = f"{question.model}\n{question.sampling.seed}\n{text}".encode()
    num_words = _FEWEST_WORDS + hashlib.sha256(whole).digest()[0]
    drawn = hashlib.shake_256(whole).digest(num_words * _WORD_BYTES)
    starts = range(0, len(drawn), _WORD_BYTES)
    numbers = (int.from_bytes(drawn[start : start + _WORD_BYTES], "big") for start in starts)
    return [word(256 + number % _NUM_WORDS) for number in numbers]


class SimulatedUpstream:
    """The Upstream port for one server that is not there."""

    def __init__(self, card: UpstreamCard, pace: UpstreamPace | None = None, reply: Reply = made_up) -> None:
        self.is_up = True
        """Whether it can be reached. What it says at the moment ends with the next token when it is not."""
        self.dies_after: int | None = None
        """So many tokens each answer has before it breaks off; None: answers end as they should."""
        self.refusal: MeshError | None = None
        """What it answers instead of anything else; a UpstreamRefused says what it concerns."""
        self.thoughts: Sequence[str] = ()
        """What it thinks before each answer, token by token."""
        self.num_requests = 0
        """Questions that reached it; asking for its models is none."""
        self.num_open = 0
        """Answers that it is at now."""
        self.received_bytes = 0
        """Of the text of all questions that reached it."""
        self.sent_bytes = 0
        """Of the text of all answers."""
        self._card = card
        self._pace = pace or UpstreamPace()
        self._reply = reply
        self._is_closed = False

    @property
    def card(self) -> UpstreamCard:
        """What others may know of it."""
        return self._card

    async def chat(self, question: UpstreamQuestion) -> AsyncGenerator[UpstreamPiece]:
        """Ask, and yield the answer as it comes; see the port."""
        self._card.model(question.model)
        self._must_answer()
        prompt = [turn.content for turn in question.messages]
        with self._counted(sum(len(text.encode()) for text in prompt)):
            pieces, reason = self._pieces(question)
            for index, piece in enumerate(pieces):
                await self._next_token(index)
                self.sent_bytes += len(piece.text.encode())
                yield piece
            if self._dies_at(len(pieces)):
                await self._next_token(len(pieces))
        usage = UpstreamUsage(sum(len(text.split()) for text in prompt), len(pieces))
        yield UpstreamEnd(reason, usage)

    async def models(self) -> tuple[str, ...]:
        """The names that its models have there; see the port."""
        self._must_answer()
        if self.refusal:
            raise self.refusal
        return tuple(model.remote_name for model in self._card.models)

    async def is_reachable(self) -> bool:
        """Whether it is up; see the port."""
        return self.is_up and not self._is_closed

    async def close(self) -> None:
        """Be reachable no more; see the port."""
        self._is_closed = True

    def _must_answer(self) -> None:
        if not self.is_up or self._is_closed:
            raise UpstreamUnreachable(f"the upstream '{self._card.name}' does not answer")

    @contextmanager
    def _counted(self, num_bytes: int) -> Iterator[None]:
        self.num_requests += 1
        self.received_bytes += num_bytes
        self.num_open += 1
        try:
            if self.refusal:
                raise self.refusal
            yield
        finally:
            self.num_open -= 1

    def _pieces(
        self, question: UpstreamQuestion
    ) -> tuple[list[UpstreamReasoning | UpstreamText], UpstreamFinish]:
        """Return the answer, cut where the question wants it, and why it ends there."""
        whole: list[UpstreamReasoning | UpstreamText] = [UpstreamReasoning(text) for text in self.thoughts]
        whole += [UpstreamText(text) for text in self._reply(question)]
        is_cut = len(whole) > question.max_tokens
        return whole[: question.max_tokens], UpstreamFinish.LENGTH if is_cut else UpstreamFinish.STOP

    def _dies_at(self, index: int) -> bool:
        return not self.is_up or (self.dies_after is not None and index >= self.dies_after)

    async def _next_token(self, index: int) -> None:
        """Wait for a token; raise UpstreamBroken where it does not come."""
        await asyncio.sleep(self._pace.token_s if index else self._pace.first_token_s)
        if self._dies_at(index):
            text = f"the upstream '{self._card.name}' ended the connection before the answer was complete"
            raise UpstreamBroken(text)
