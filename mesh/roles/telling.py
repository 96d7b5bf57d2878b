"""What the client of one answer is told while the answer is made: above all its text.

Owns the tokens whose text is not whole yet, and how long the client may take to accept a message. Must not
know how tokens are made, nor how the answer ends: that is the reply of `mesh.roles.gateway`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from mesh.errors import DeadlineExceeded
from mesh.link import Link
from mesh.messages import Piece, Routed
from mesh.ports import Pieces


@dataclass(slots=True)
class Telling:
    """One answer on its way to its client."""

    request_id: int
    link: Link
    pieces: Pieces
    within_s: float
    """How long the client may take to accept a piece."""
    pending: list[int] = field(default_factory=list)
    """Tokens that the client does not have: their text is not whole."""

    def skip(self, tokens: Sequence[int]) -> None:
        """Take up behind tokens whose text the client has."""
        for token in tokens:
            self.pieces.push(token)

    async def push(self, token: int) -> None:
        """Send the text that is whole with this token; raises as `tell`."""
        self.pending.append(token)
        await self._send(self.pieces.push(token))

    async def finish(self) -> None:
        """Send what text is left; raises as `tell`."""
        await self._send(self.pieces.finish())

    async def tell(self, message: Routed | Piece) -> None:
        """Send something; raise DeadlineExceeded where the client does not accept it for too long."""
        try:
            async with asyncio.timeout(self.within_s):
                await self.link.send(message)
        except TimeoutError as error:
            raise DeadlineExceeded("the client took no text for too long") from error

    async def _send(self, text: str) -> None:
        if text:
            await self.tell(Piece(self.request_id, text, tuple(self.pending)))
            self.pending.clear()
