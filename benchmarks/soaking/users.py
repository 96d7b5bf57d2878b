"""Users who ask again and again, at random lengths; some give up in mid-answer, some before it begins.

Owns what is asked and what came of it. Each user has a generator of its own, so that the same seed gives the
same questions whoever is quicker.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field

from benchmarks.beside.prompts import Prompts
from mesh.client import Answer, Client
from mesh.errors import Busy, MeshError
from mesh.ports import TextCodec

_PROMPT_TOKENS = (30, 700)  # of any length between with the same weight for each doubling
_ANSWER_TOKENS = (1, 120)
_AGAIN = 0.2  # ask once more what was asked before
_GIVES_UP = 0.25  # in mid-answer
_GIVES_UP_AT_ONCE = 0.1  # within half a second, mostly before the first token
_AT_ONCE_S = 0.5
_BUSY_S = 1.0  # before asking again, where the refusal does not say


@dataclass(frozen=True, slots=True)
class Wish:
    """One question, and how long its user listens."""

    prompt: str
    max_tokens: int
    temperature: float
    seed: int
    most_tokens: int | None = None
    """The user leaves after so many; None: stays to the end."""
    most_s: float | None = None
    """The user leaves after so many seconds."""


@dataclass(slots=True)
class Tally:
    """What came of all that was asked."""

    num_answers: int = 0
    num_given_up: int = 0
    num_tokens: int = 0
    num_busy: int = 0
    """Refusals that said when to come again."""
    errors: list[str] = field(default_factory=list)

    @property
    def num_ended(self) -> int:
        """Questions that are over, and did not fail."""
        return self.num_answers + self.num_given_up


class Wishes:
    """One user's questions, one after the other."""

    def __init__(self, codec: TextCodec, rng: random.Random) -> None:
        self._prompts = Prompts(codec, rng)
        self._rng = rng
        self._last: str | None = None

    def next(self) -> Wish:
        """Draw the next question."""
        rng = self._rng
        if self._last is None or rng.random() >= _AGAIN:
            low, high = _PROMPT_TOKENS
            self._last = self._prompts.of_length(round(low * (high / low) ** rng.random()))
        max_tokens = rng.randint(*_ANSWER_TOKENS)
        mood, share = rng.random(), rng.random()
        return Wish(
            prompt=self._last,
            max_tokens=max_tokens,
            temperature=rng.choice((0.0, 0.8)),
            seed=rng.getrandbits(32),
            most_tokens=int(share * max_tokens) if mood < _GIVES_UP else None,
            most_s=share * _AT_ONCE_S if mood > 1 - _GIVES_UP_AT_ONCE else None,
        )


class User:
    """Asks for as long as it is let."""

    def __init__(self, wishes: Wishes, model: str, tally: Tally) -> None:
        self._wishes = wishes
        self._model = model
        self._tally = tally

    async def run(
        self, connected: Callable[[], AbstractAsyncContextManager[Client]], goes_on: Callable[[], bool]
    ) -> None:
        """Ask until told to stop, and hear the last answer; an error is noted, and this user's end."""
        while goes_on():
            try:
                async with connected() as client:
                    while goes_on():
                        await self._ask(client, self._wishes.next())
            except Busy as error:
                self._tally.num_busy += 1
                await asyncio.sleep(error.retry_after_s or _BUSY_S)
            except MeshError as error:
                return self._tally.errors.append(f"{error.code}: {error}")
        return None

    async def _ask(self, client: Client, wish: Wish) -> None:
        answer = client.chat(
            wish.prompt,
            model=self._model,
            max_tokens=wish.max_tokens,
            temperature=wish.temperature,
            seed=wish.seed,
        )
        is_heard = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wish.most_s):
                is_heard = await self._listen(answer, wish)
        self._tally.num_answers += is_heard
        self._tally.num_given_up += not is_heard

    async def _listen(self, answer: Answer, wish: Wish) -> bool:
        """Hear an answer; return whether to its end."""
        num_tokens = 0
        async with aclosing(answer.events()) as events:
            async for event in events:
                heard = len(getattr(event, "tokens", ()))
                num_tokens += heard
                self._tally.num_tokens += heard
                if wish.most_tokens is not None and num_tokens >= wish.most_tokens:
                    return False
        return True
