"""The answer of a demo as it comes: what is told of it, and whom it is time to kill.

Owns the order of events. Must not know how a device is killed or shown.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from mesh.messages import Piece, Routed
from mesh.now import now_s
from mesh.types import Recovery, Summary
from nodes.demo.kills import Kill, KillList
from nodes.demo.story import Ended, Killed, Placed, Recovered, Said, Show


class Events(Protocol):
    """An answer that can be followed: `mesh.client.Answer`."""

    def events(self) -> AsyncGenerator[Routed | Piece]:
        """Yield the route, then pieces; again a route after each loss."""

    @property
    def recoveries(self) -> tuple[Recovery, ...]:
        """Those so far."""

    @property
    def summary(self) -> Summary:
        """What is known when all events have come."""


class Hearing:
    """Listens to one answer and kills devices at their tokens."""

    def __init__(
        self, answer: Events, kills: Sequence[Kill], kill: Callable[[str], None], show: Show
    ) -> None:
        self._answer = answer
        self._kills = KillList(kills)
        self._kill = kill
        self._show = show
        self._num_recoveries = 0
        self._first_s: float | None = None
        self.text = ""
        self.reasoning = ""
        """What the model has thought before its answer."""

    @property
    def missed(self) -> tuple[Kill, ...]:
        """Devices whose token has not come."""
        return self._kills.left

    @property
    def first_s(self) -> float:
        """When the first piece came, by the clock of the loop; now, where none has."""
        return now_s() if self._first_s is None else self._first_s

    async def listen(self) -> None:
        """Take the answer to its end; raises what it raises."""
        async with aclosing(self._answer.events()) as events:
            async for event in events:
                self._take(event)
        self._tell_recoveries(self._answer.summary.recoveries)
        self._show(Ended(self._answer.summary))

    def _take(self, event: Routed | Piece) -> None:
        if isinstance(event, Routed):
            self._show(Placed(event.plan))
        # Before a piece, because how long a pause was is known when the piece after it comes.
        self._tell_recoveries(self._answer.recoveries)
        if isinstance(event, Piece):
            self._hear(event)

    def _hear(self, piece: Piece) -> None:
        said = Said(piece.text, len(piece.tokens), now_s(), piece.reasoning)
        self._first_s = said.at_s if self._first_s is None else self._first_s
        self.text += piece.text
        self.reasoning += piece.reasoning
        self._show(said)
        for kill in self._kills.heard(said.num_tokens):
            self._kill(kill.name)
            self._show(Killed(kill.name, self._kills.num_tokens))

    def _tell_recoveries(self, recoveries: tuple[Recovery, ...]) -> None:
        for recovery in recoveries[self._num_recoveries :]:
            self._show(Recovered(recovery))
        self._num_recoveries = max(self._num_recoveries, len(recoveries))
