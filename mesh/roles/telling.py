"""What the client of one answer is told while the answer is made: above all its text.

Owns the tokens whose text is not whole yet, and how long the client may take to accept a message. Must not
know how tokens are made, nor how the answer ends: that is the reply of `mesh.roles.gateway`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from mesh.errors import DeadlineExceeded
from mesh.link import Link
from mesh.logic.thinking import Split, ThoughtSplitter
from mesh.messages import Decided, Piece, Routed
from mesh.now import now_s
from mesh.ports import Pieces


@dataclass(slots=True)
class Telling:
    """One answer on its way to its client."""

    request_id: int
    link: Link
    pieces: Pieces | None
    """None where the text comes from a server."""
    within_s: float
    """How long the client may take to accept a piece."""
    splitter: ThoughtSplitter = field(default_factory=ThoughtSplitter)
    """Tells what the model thinks from what it answers."""
    pending: list[int] = field(default_factory=list)
    """Tokens that the client does not have: their text is not whole."""
    every_s: float = 0.0
    """Text is told so often at most, the first at once."""
    has_text: bool = False
    """Whether the client has some of the answer, or of the thoughts before it: neither can be taken back."""
    _held: list[Split] = field(default_factory=list)
    """Text that waits for more to go with it."""
    _told_s: float = -inf

    def skip(self, tokens: Sequence[int]) -> None:
        """Take up behind tokens whose text the client has."""
        assert self.pieces is not None
        for token in tokens:
            self.splitter.take(self.pieces.push(token))

    @property
    def due_s(self) -> float:
        """When text that is held is to be flushed, by the loop's clock; never where none is.

        Later than the next token flushes it, which most likely comes before.
        """
        return self._told_s + 2 * self.every_s if self._held else inf

    async def push(self, token: int) -> None:
        """Send the text that is whole with this token, or hold it for a moment; raises as `tell`.

        Whoever calls this calls `flush` when it is due.
        """
        assert self.pieces is not None
        self.pending.append(token)
        split = self.splitter.take(self.pieces.push(token))
        if not split.is_empty:
            self._held.append(split)
            if now_s() >= self._told_s + self.every_s:
                await self.flush()

    async def flush(self) -> None:
        """Send what is held; raises as `tell`."""
        held = Split(
            "".join(each.reasoning for each in self._held), "".join(each.text for each in self._held)
        )
        self._held.clear()
        await self._send(held)

    async def say(self, text: str) -> None:
        """Send text that no tokens of the mesh made; raises as `tell`."""
        await self._send(self.splitter.take(text))

    async def think(self, text: str) -> None:
        """Send what is known to be thought, and made by no tokens of the mesh; raises as `tell`."""
        await self._send(Split(reasoning=text))

    async def finish(self) -> None:
        """Send what text is left; raises as `tell`."""
        left = self.pieces.finish() if self.pieces is not None else ""
        self._held += [self.splitter.take(left), self.splitter.finish()]
        await self.flush()

    async def tell(self, message: Decided | Routed | Piece) -> None:
        """Send something; raise DeadlineExceeded where the client does not accept it for too long."""
        try:
            async with asyncio.timeout(self.within_s):
                await self.link.send(message)
        except TimeoutError as error:
            raise DeadlineExceeded("the client took no text for too long") from error

    async def _send(self, split: Split) -> None:
        if not split.is_empty:
            self.has_text, self._told_s = True, now_s()
            tokens = tuple(self.pending)
            self.pending.clear()
            await self.tell(Piece(self.request_id, split.text, tokens, split.reasoning))
