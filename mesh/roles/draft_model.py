"""A small model on the gateway's device that guesses for a large one.

Owns its session at this node's own worker: it is loaded, opened, fed with what has come, asked what may
follow, and closed. Must not know what a guess is worth, nor that it may be wrong. Whatever goes wrong here,
the answer goes on without it.

It draws with the answer's own sampling and seed: where both models think alike, both draw the same token at
any temperature.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from dataclasses import dataclass

from mesh.config import MAX_FRAME_POSITIONS
from mesh.errors import MeshError, NetworkError, Stalled
from mesh.logic.session import Session
from mesh.messages import CloseSession, Frame, OpenSession, Progress, Resume, SessionFailed, Token
from mesh.roles.deployer import Deployer, LoadFailed
from mesh.roles.peers import Peers
from mesh.types import Drafting, Hop, NodeRecord, Plan, Sampling, SessionId, TokenIds


@dataclass(frozen=True, slots=True)
class DraftMeans:
    """What it works with."""

    own: NodeRecord
    peers: Peers
    deployer: Deployer


_log = logging.getLogger(__name__)

_PATIENCE_S = 1.0  # for guesses: who takes longer is of no use


class DraftModel:
    """The guessing model of one answer."""

    def __init__(self, means: DraftMeans, plan: Plan, session: Session, sampling: Sampling) -> None:
        """Guess for `session` by a `plan` of one stage, here, with the answer's own sampling."""
        self.session_id = SessionId(_digest(session.session_id))
        """Of its own session."""
        self._means = means
        self._plan = plan
        self._session = session
        self._sampling = sampling
        self._epoch = 0
        """Of the answer's route when it began: what belongs to an older one is dropped."""
        self._num_fed = 0
        """Positions of the answer's text that it has been sent."""
        self._awaited: asyncio.Future[Token] | None = None
        self._failure: asyncio.Future[MeshError] | None = None
        """What is wrong with it, which ends it."""
        self._is_ready = False
        self._is_too_slow = False

    async def run(self) -> None:
        """Load and open it; it guesses from then on, until cancelled or something goes wrong.

        Once that is over it may be run again, by another route; one that took too long then does nothing.
        """
        if self._is_too_slow:
            return
        epoch = self._epoch = self._session.epoch
        failure = self._failure = asyncio.get_running_loop().create_future()
        try:
            await self._means.deployer.load(self._plan, self._plan.stages)
            await self._post(self._opening())
            known = self._session.history
            for start in range(0, len(known) - 1, MAX_FRAME_POSITIONS):
                ids = known[start : min(start + MAX_FRAME_POSITIONS, len(known) - 1)]
                await self._post(self._frame(start, ids))
            self._num_fed = len(known) - 1
            self._is_ready = True
            raise await failure
        except (LoadFailed, MeshError) as error:
            _log.warning("%s guesses no more: %s", self._plan.model.name, error)
        finally:
            self._is_ready = False
            with contextlib.suppress(NetworkError):
                await self._post(CloseSession(self.session_id, epoch))

    async def guess(self) -> None:
        """Tell the answer's speculation what may come next, where that is of use now.

        Returns when it has, or after a second without: who takes longer is not asked again.
        """
        speculation, history = self._session.speculation, self._session.history
        num_wanted = min(self._session.wants_guesses, self._plan.context - len(history))
        if not self._is_ready or speculation is None or num_wanted <= 0:
            return None
        self._awaited = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._post(self._frame(self._num_fed, history[self._num_fed :], num_wanted))
                token = await self._awaited
        except TimeoutError:
            self._is_too_slow = True
            return self._failed(Stalled("it takes too long"))
        except MeshError as error:
            return self._failed(error)
        self._num_fed = len(history)
        return speculation.told(Drafting.MODEL, (token.token, *token.guessed))

    def hear(self, message: Token | Resume | Progress | SessionFailed) -> None:
        """Take what the worker sends for its session."""
        if message.epoch != self._epoch:
            return
        if isinstance(message, SessionFailed):
            self._failed(message.error)
        elif isinstance(message, Token) and self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(message)

    def _failed(self, error: MeshError) -> None:
        self._is_ready = False
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(error)
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_exception(error)

    def _frame(self, start: int, ids: tuple[int, ...], num_wanted: int = 0) -> Frame:
        """Tokens of the text; `num_wanted`: those that are to be guessed behind them."""
        asks = num_wanted > 0
        return Frame(
            session_id=self.session_id,
            epoch=self._epoch,
            index=0,
            start=start,
            payload=TokenIds(ids),
            sample=asks,
            num_wanted=num_wanted - asks,
        )

    def _opening(self) -> OpenSession:
        own, (stage,) = self._means.own, self._plan.stages
        return OpenSession(
            session_id=self.session_id,
            epoch=self._epoch,
            route=(Hop(own.node_id, own.address, self._plan.key(stage)),),
            index=0,
            gateway=own.address,
            context=self._plan.context,
            sampling=self._sampling,
            known=0,
            gateway_id=own.node_id,
        )

    async def _post(self, message: OpenSession | Frame | CloseSession) -> None:
        await self._means.peers.post(self._means.own.address, message)


def _digest(session_id: SessionId) -> str:
    """A name of its own, the same wherever the answer goes on."""
    return hashlib.blake2b(f"draft/{session_id}".encode(), digest_size=8).hexdigest()
