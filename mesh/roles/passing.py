"""What places say to other nodes: rows to the next hop, tokens and failures to the gateway.

Owns the sending, and who is told of what. Must not know what a stage does with a session; that is
`mesh.roles.places`.
"""

from __future__ import annotations

import contextlib
from itertools import takewhile

from mesh.errors import MeshError, NetworkError, StageLost, retry_after_s
from mesh.logic.relay import Rewound, Rows
from mesh.messages import CloseSession, Frame, OpenSession, Progress, Resume, SessionFailed, Token
from mesh.roles.peers import Peers
from mesh.roles.place import Place, lost_hop
from mesh.types import Hidden, NodeId


class Passing:
    """The voice of one worker's sessions."""

    def __init__(self, node_id: NodeId, peers: Peers) -> None:
        self._node_id = node_id
        self._peers = peers

    async def pass_on(self, place: Place, message: OpenSession | Frame | CloseSession) -> None:
        """Send something to the next hop, where there is one; raise StageLost where that cannot be."""
        hop = place.next_hop
        if hop is None:
            return
        try:
            await self._peers.post(hop.address, message)
        except NetworkError as error:
            raise lost_hop(hop, error) from error

    async def send_on(self, place: Place, batch: list[Rows]) -> None:
        """Send rows to the next hop, each batch of them as one frame; raises as `pass_on`."""
        opening = place.opening
        for rows in batch:
            following = Frame(
                session_id=opening.session_id,
                epoch=opening.epoch,
                index=opening.index + 1,
                start=rows.start,
                payload=Hidden(rows.data),
                sample=rows.sample,
                drafts=rows.drafts,
                tokens=rows.tokens,
                num_wanted=rows.num_wanted,
                ahead=rows.ahead,
            )
            await self.pass_on(place, following)

    async def say(self, place: Place, rewound: Rewound) -> None:
        """Tell the hop before, and the gateway, where the cache ends."""
        opening = place.opening
        resume = Resume(opening.session_id, opening.epoch, opening.index, rewound.position, rewound.had)
        with contextlib.suppress(NetworkError):  # it is gone: whoever notices tells the gateway
            await place.upstream.send(resume)
        if opening.index > 0 and (
            place.upstream.node is None or place.upstream.node.address != opening.gateway
        ):
            await self.tell_gateway(opening, resume)

    async def tell_gateway(
        self, opening: OpenSession, message: Token | Resume | Progress | SessionFailed
    ) -> None:
        """Send something to the gateway of a session; that it is gone is noticed in other ways."""
        with contextlib.suppress(NetworkError):
            await self._peers.post(opening.gateway, message)

    async def repeat_tokens(self, place: Place, start: int) -> None:
        """Tell the gateway what was drawn from a position on: it may not have heard, or be another one."""
        opening = place.opening
        wanted = takewhile(lambda drawn: drawn[0] >= start, reversed(place.drawn.items()))
        for position, token in reversed(list(wanted)):
            await self.tell_gateway(opening, Token(opening.session_id, opening.epoch, position, token))

    def failure(self, message: OpenSession | Frame | Resume, error: MeshError) -> SessionFailed:
        """Put into a message what went wrong with one."""
        lost = NodeId(error.lost) if isinstance(error, StageLost) and error.lost else None
        own = self._node_id
        said = (error.code, str(error), lost, retry_after_s(error))
        return SessionFailed(message.session_id, message.epoch, own, *said)
